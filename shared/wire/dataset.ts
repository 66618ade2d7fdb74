import type {DatasetProblem, DatasetRecord, DatasetSplit} from '../dataset.js';
import * as pb from '../gen/tenfold/v1/dataset.js';

/** Messages of DatasetService. */

/** What is known of a data set beside its record. */
export interface DatasetOutlook {
  readonly modRevision: number;
  /** While it is being registered. */
  readonly scan: {readonly done: number; readonly total: number} | undefined;
}

/** How many problems a message carries; their numbers by code are always complete. */
const PROBLEMS_SHOWN = 100;

export function datasetToProto(dataset: DatasetRecord, outlook: DatasetOutlook): pb.Dataset {
  const {status} = dataset;
  const isReady = status.state === 'ready';
  const problems = status.state === 'registering' ? [] : status.problems;
  const counts = status.state === 'registering' ? {} : status.problemCounts;
  return {
    name: `datasets/${dataset.id}`,
    state: STATES[status.state],
    source: dataset.source,
    classNames: isReady ? status.classNames : [],
    splits: isReady ? status.splits.map(splitToProto) : [],
    createTime: new Date(dataset.createdAt),
    imagesScanned: BigInt(outlook.scan?.done ?? 0),
    imagesTotal: BigInt(outlook.scan?.total ?? 0),
    problems: problems.slice(0, PROBLEMS_SHOWN).map(problemToProto),
    problemCounts: Object.fromEntries(Object.entries(counts).map(([code, count]) => [code, BigInt(count)])),
    indexDigest: isReady ? status.indexDigest : '',
    etag: String(outlook.modRevision),
  };
}

const STATES = {
  registering: pb.DatasetState.DATASET_STATE_REGISTERING,
  ready: pb.DatasetState.DATASET_STATE_READY,
  failed: pb.DatasetState.DATASET_STATE_FAILED,
} as const;

function splitToProto(split: DatasetSplit): pb.DatasetSplit {
  return {
    name: split.name,
    samples: BigInt(split.samples),
    boxes: BigInt(split.boxes),
    backgrounds: BigInt(split.backgrounds),
    bytes: BigInt(split.bytes),
    shards: split.shards,
  };
}

function problemToProto(problem: DatasetProblem): pb.DatasetProblem {
  const severity = problem.severity === 'error' ? pb.Severity.SEVERITY_ERROR : pb.Severity.SEVERITY_WARNING;
  return {code: problem.code, severity, file: problem.file, line: problem.line, message: problem.message};
}

/** `REGISTERING`, `READY`, `FAILED`. */
export function datasetStateName(state: pb.DatasetState): string {
  return pb.datasetStateToJSON(state).replace('DATASET_STATE_', '');
}
