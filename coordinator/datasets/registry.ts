import {basename, dirname, isAbsolute} from 'node:path';
import type {Clock} from '../../shared/clock.js';
import type {DatasetProblem, DatasetRecord} from '../../shared/dataset.js';
import {alreadyExists, type FieldProblem, invalid, isUnavailable} from '../../shared/errors.js';
import {isValidId} from '../../shared/ids.js';
import {errorChain, type Log} from '../../shared/log.js';
import {Backoff} from '../backoff.js';
import type {ClusterState} from '../clusterState.js';
import type {FencedStore} from '../fencedStore.js';
import type {ObjectStore} from '../ports.js';
import {type BuiltDataset, buildDataset} from './build.js';
import {isSkippable, ProblemLog, problem} from './problems.js';
import {findSourceFiles, type SourceFiles} from './sourceFiles.js';

export interface RegistryParts {
  readonly state: ClusterState;
  readonly store: FencedStore;
  readonly objects: ObjectStore;
  readonly clock: Clock;
  readonly log: Log;
}

export interface CreateDataset {
  readonly id?: string;
  readonly source: string;
  readonly requestId: string;
  /** Undefined: no matter, where the source is registered already; else as if false. */
  readonly skipBadSamples?: boolean;
}

interface Scan {
  readonly done: number;
  readonly total: number;
}

/**
 * Registers data sets. `create` writes a record in state `registering` and answers; `run` finds such records, scans and shards their
 * source, and writes what came of it. A coordinator that takes over finds the same records and starts their scans again.
 */
export class DatasetRegistry {
  private readonly scans = new Map<string, Scan>();
  /** By id, how often in a row registering it was tried in vain. */
  private readonly failures = new Map<string, number>();

  constructor(private readonly parts: RegistryParts) {}

  /** How far the scan of a data set is, while this process is at it. */
  scan(id: string): Scan | undefined {
    return this.scans.get(id);
  }

  /**
   * The data set of a data.yaml: that of the same request, or of the same source unchanged, or a new one. Throws INVALID_ARGUMENT when
   * the source as a whole will not do, and ALREADY_EXISTS when `id` is another data set's. Looking at all files of a large one takes
   * minutes: once the caller has gone, as `signal` tells, it throws and stores nothing.
   */
  async create(request: CreateDataset, signal: AbortSignal): Promise<DatasetRecord> {
    const known = this.createdBy(request.requestId);
    if (known !== undefined) return known;
    if (request.id !== undefined && !isValidId(request.id)) {
      throw invalid({path: 'dataset_id', message: 'must be 1 to 63 lower-case letters, digits, "-" or "."'});
    }
    const files = await this.sourceFiles(request.source, signal);
    signal.throwIfAborted();
    const same = this.sameAsBefore(request, files);
    return same ?? this.store(request, files);
  }

  /** Scans what is to be registered, one data set at a time, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.parts.clock);
    for await (const _ of this.parts.state.changes(signal)) {
      for (let next = this.nextToRegister(); next !== undefined && !signal.aborted; next = this.nextToRegister()) {
        try {
          await this.register(next, signal);
          this.failures.delete(next.id);
          backoff.reset();
        } catch (error) {
          if (signal.aborted) return;
          // That this process does not lead, or that the store does not answer, says nothing about the data set.
          if (!isUnavailable(error)) this.failures.set(next.id, this.failuresOf(next) + 1);
          if (backoff.isFirst)
            this.parts.log.warn('registering a data set failed; trying again', {dataset: next.id, error: errorChain(error)});
          await backoff.wait(signal);
        }
      }
    }
  }

  private async sourceFiles(source: string, signal: AbortSignal): Promise<SourceFiles> {
    if (!isAbsolute(source)) throw invalid({path: 'source', message: `${source} must be an absolute path on the coordinator's machine`});
    const files = await findSourceFiles(source, signal);
    if ('splits' in files) return files;
    throw invalid(...fieldsOf(files.problems));
  }

  /** Without a word about bad samples, one that is ready is better than one that may yet fail, and a whole one than one that lacks some. */
  private sameAsBefore({id, source, skipBadSamples}: CreateDataset, {fingerprint}: SourceFiles): DatasetRecord | undefined {
    const same = [...this.parts.state.datasets.values()]
      .map(({value}) => value)
      .filter(
        record =>
          record.source === source &&
          record.fingerprint === fingerprint &&
          (skipBadSamples === undefined || record.skipBadSamples === skipBadSamples) &&
          record.status.state !== 'failed' &&
          (id === undefined || record.id === id),
      );
    const rank = ({status, skipBadSamples}: DatasetRecord): number => 2 * Number(status.state !== 'ready') + Number(skipBadSamples);
    return same.sort((a, b) => rank(a) - rank(b))[0];
  }

  private async store(request: CreateDataset, {fingerprint}: SourceFiles): Promise<DatasetRecord> {
    for (;;) {
      const id = request.id ?? this.freeId(stemOf(request.source), request.source);
      const record: DatasetRecord = {
        id,
        source: request.source,
        requestId: request.requestId,
        fingerprint,
        skipBadSamples: request.skipBadSamples ?? false,
        createdAt: this.parts.clock.now(),
        status: {state: 'registering'},
      };
      const replaced = await this.replaceFailed(record);
      if (replaced !== undefined) return replaced;
      const key = this.parts.state.keys.dataset(id);
      const created = await this.parts.store.createOnce({
        what: `creating datasets/${id}`,
        requestId: request.requestId,
        id,
        absent: key,
        operations: [{kind: 'put', key, value: JSON.stringify(record)}],
      });
      if (created !== undefined) return this.parts.state.datasets.get(created)?.value ?? record;
      if (request.id !== undefined) {
        throw alreadyExists(
          'dataset',
          `datasets/${id}`,
          `datasets/${id} exists already, from another source or an older state of it; choose another id`,
        );
      }
    }
  }

  /** A data set that could not be registered gives its place to the next try from the same source. */
  private async replaceFailed(record: DatasetRecord): Promise<DatasetRecord | undefined> {
    const {datasets, keys} = this.parts.state;
    const old = datasets.get(record.id)?.value;
    if (old?.status.state !== 'failed' || old.source !== record.source) return undefined;
    return this.parts.store.update(
      `registering datasets/${record.id} again`,
      keys.dataset(record.id),
      () => datasets.get(record.id),
      current => (current.status.state === 'failed' ? record : undefined),
    );
  }

  /** `cells`, `cells-2`, …: the first that is free, or that a failed try of the same source holds. */
  private freeId(stem: string, source: string): string {
    for (let n = 1; ; n++) {
      const id = n === 1 ? stem : `${stem}-${n}`;
      const holder = this.parts.state.datasets.get(id)?.value;
      if (holder === undefined) {
        if (!this.parts.state.has(this.parts.state.keys.dataset(id))) return id;
      } else if (holder.status.state === 'failed' && holder.source === source) return id;
    }
  }

  private createdBy(requestId: string): DatasetRecord | undefined {
    const id = this.parts.state.createdBy(requestId);
    return id === undefined ? undefined : this.parts.state.datasets.get(id)?.value;
  }

  private nextToRegister(): DatasetRecord | undefined {
    const waiting = [...this.parts.state.datasets.values()].map(({value}) => value).filter(({status}) => status.state === 'registering');
    // One that fails lets the others go first.
    return waiting.sort((a, b) => this.failuresOf(a) - this.failuresOf(b) || a.createdAt - b.createdAt)[0];
  }

  private failuresOf({id}: DatasetRecord): number {
    return this.failures.get(id) ?? 0;
  }

  private async register(record: DatasetRecord, signal: AbortSignal): Promise<void> {
    const {state, store, log} = this.parts;
    store.fence();
    try {
      const built = await this.build(record, signal).catch((error: unknown) => this.givenUp(record, error, signal));
      log.info('data set scanned', {dataset: record.id, state: built.state});
      await store.update(
        `registering datasets/${record.id}`,
        state.keys.dataset(record.id),
        () => state.datasets.get(record.id),
        current =>
          current.fingerprint === record.fingerprint && current.status.state === 'registering' ? {...current, status: built} : undefined,
      );
    } finally {
      this.scans.delete(record.id);
    }
  }

  private async build(record: DatasetRecord, signal: AbortSignal): Promise<DatasetRecord['status']> {
    const files = await findSourceFiles(record.source, signal);
    if (!('splits' in files)) return failedBy(files.problems);
    if (files.fingerprint !== record.fingerprint) return failedBy([changedMeanwhile(record)]);
    const built = await buildDataset(files, this.parts.objects, {
      skipBadSamples: record.skipBadSamples,
      baseFolder: dirname(record.source),
      onProgress: (done, total) => this.scans.set(record.id, {done, total}),
      signal,
    });
    if (!built.ok) return statusOf(built);
    const after = await findSourceFiles(record.source, signal);
    const isSame = 'splits' in after && after.fingerprint === record.fingerprint;
    return isSame ? statusOf(built) : failedBy([changedMeanwhile(record)]);
  }

  /**
   * What becomes of a data set that cannot be built. Throws the error again when it may pass: this process does not lead, or the store or
   * a disk does not answer, which is believed so many times.
   */
  private givenUp(record: DatasetRecord, error: unknown, signal: AbortSignal): DatasetRecord['status'] {
    if (signal.aborted || isUnavailable(error) || this.failuresOf(record) + 1 < TRIES) throw error;
    this.parts.log.error('a data set cannot be registered', {dataset: record.id, error});
    return failedBy([problem('registration_failed', record.source, 0, `${errorChain(error)}; add it again once that is mended`)]);
  }
}

/** How often registering a data set is tried before it has failed. */
const TRIES = 5;

function failedBy(found: readonly DatasetProblem[]): DatasetRecord['status'] {
  const log = new ProblemLog();
  for (const each of found) log.add(each);
  return {state: 'failed', problems: log.problems, problemCounts: log.counts};
}

/** The shards would be those of other files than the fingerprint says, and later changes would go unnoticed. */
function changedMeanwhile({source}: DatasetRecord): DatasetProblem {
  return problem('changed_meanwhile', source, 0, 'its files changed while it was being registered; add it again once they are all there');
}

/** More would not fit into the status of a call. */
const FIELDS_TOLD = 10;

/** What keeps the whole set from being taken comes first. */
function fieldsOf(problems: readonly DatasetProblem[]): FieldProblem[] {
  const sorted = [...problems].sort((a, b) => Number(isSkippable(a)) - Number(isSkippable(b)));
  const told = sorted.slice(0, FIELDS_TOLD).map(({code, file, message}) => ({path: 'source', message: `${file}: ${message} (${code})`}));
  const rest = problems.length - told.length;
  return rest > 0 ? [...told, {path: 'source', message: `and ${rest} more problems`}] : told;
}

function statusOf(built: BuiltDataset): DatasetRecord['status'] {
  const problems = built.log.problems;
  const problemCounts = built.log.counts;
  if (!built.ok) return {state: 'failed', problems, problemCounts};
  const {classNames, splits, indexDigest} = built;
  return {state: 'ready', classNames: [...classNames], splits: [...splits], indexDigest, problems, problemCounts};
}

/** An id for people: the name of the data.yaml's folder, or of the file itself when it is called otherwise. */
function stemOf(source: string): string {
  const file = basename(source).replace(/\.ya?ml$/i, '');
  const name = ['data', 'dataset'].includes(file.toLowerCase()) ? basename(dirname(source)) : file;
  const stem = name
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/\.{2,}/g, '.')
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '')
    .slice(0, 56);
  return isValidId(stem) ? stem : 'dataset';
}
