import type {GenerationPlan} from '../attemptPlan.js';
import type {ArtifactRecord, CheckpointRecord} from '../checkpoint.js';
import type {JournaledEvent} from '../event.js';
import * as pb from '../gen/tenfold/v1/job.js';
import type {AttemptRecord, JobRecord} from '../job.js';
import type {JobSpec} from '../jobSpec.js';
import {imagesPerSecond, type Progress} from '../progress.js';
import {
  checkpointPolicyCandidate,
  checkpointPolicyToProto,
  checkpointToProto,
  endReasonToProto,
  fileDigestToProto,
  modelToProto,
  rankPlacementToProto,
} from './common.js';

/** Messages of JobService as the domain's types, and back. */

/**
 * The YAML form of a spec that came over the wire, as yet unchecked: absent fields are absent, so that `parseJobSpec` fills in its
 * defaults and reports problems by the paths that users know.
 */
export function jobSpecCandidate(spec: pb.JobSpec): Record<string, unknown> {
  return withoutAbsent({
    name: spec.displayName || undefined,
    project: spec.project || undefined,
    priority: spec.priority,
    data: spec.data || undefined,
    model: spec.model && withoutAbsent({arch: spec.model.arch || undefined, nc: spec.model.nc}),
    train: spec.train,
    resources: spec.resources && withoutAbsent({gpus: spec.resources.gpus || undefined}),
    checkpoint: checkpointPolicyCandidate(spec.checkpoint),
    policy: spec.restarts && {restarts: withoutAbsent({...spec.restarts})},
  });
}

function withoutAbsent(object: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

export function jobSpecToProto(spec: JobSpec): pb.JobSpec {
  return {
    displayName: spec.name ?? '',
    project: spec.project,
    priority: spec.priority,
    data: spec.data,
    model: modelToProto(spec.model),
    train: spec.train,
    resources: {gpus: spec.resources.gpus},
    checkpoint: checkpointPolicyToProto(spec.checkpoint),
    restarts: {...spec.policy.restarts},
  };
}

type AttemptPlace = Pick<GenerationPlan, 'generation' | 'ranks'>;

/** What is known of a job beside its record. */
export interface JobOutlook {
  /** Revision of the record's last change. */
  readonly modRevision: number;
  /** Everything that blocks it; empty unless it is queued or recovering. */
  readonly waitingFor: readonly pb.Reason[];
  /** 1 is next; 0 unless it is queued or recovering. */
  readonly queuePosition: number;
  readonly progress: pb.Progress | undefined;
  /** An attempt's plan; undefined when it is no longer known. */
  planOf(attempt: number): AttemptPlace | undefined;
}

export function jobToProto(job: JobRecord, outlook: JobOutlook): pb.Job {
  const ended = job.status.phase === 'ended' ? job.status : undefined;
  return {
    name: `jobs/${job.id}`,
    spec: jobSpecToProto(job.spec),
    state: jobStateOf(job),
    etag: String(outlook.modRevision),
    createTime: new Date(job.createdAt),
    startTime: dateOrAbsent(job.attempts[0]?.createdAt),
    endTime: dateOrAbsent(ended?.at),
    cancelRequested: job.cancelRequestedAt !== null,
    waitingFor: [...outlook.waitingFor],
    queuePosition: outlook.queuePosition,
    attempts: job.attempts.map(attempt => attemptToProto(attempt, outlook.planOf(attempt.number))),
    endReason: ended && endReasonToProto(ended.reason),
    progress: outlook.progress,
  };
}

export function jobStateOf(job: JobRecord): pb.JobState {
  switch (job.status.phase) {
    case 'queued':
      return pb.JobState.JOB_STATE_QUEUED;
    case 'staging':
      return pb.JobState.JOB_STATE_STAGING;
    case 'running':
      return pb.JobState.JOB_STATE_RUNNING;
    case 'recovering':
      return pb.JobState.JOB_STATE_RECOVERING;
    case 'ended':
      return OUTCOMES[job.status.outcome];
  }
}

const OUTCOMES = {
  succeeded: pb.JobState.JOB_STATE_SUCCEEDED,
  failed: pb.JobState.JOB_STATE_FAILED,
  cancelled: pb.JobState.JOB_STATE_CANCELLED,
} as const;

/** Whether a state is final. */
export function isFinal(state: pb.JobState): boolean {
  return Object.values(OUTCOMES).some(outcome => outcome === state);
}

/** `QUEUED`, `RUNNING`, …: the state as people write it. */
export function jobStateName(state: pb.JobState): string {
  return pb.jobStateToJSON(state).replace('JOB_STATE_', '');
}

function attemptToProto(attempt: AttemptRecord, plan: AttemptPlace | undefined): pb.Attempt {
  return {
    number: attempt.number,
    generation: BigInt(plan?.generation ?? 0),
    ranks: (plan?.ranks ?? []).map(rankPlacementToProto),
    createTime: new Date(attempt.createdAt),
    endTime: dateOrAbsent(attempt.endedAt),
    endReason: attempt.endReason === null ? undefined : endReasonToProto(attempt.endReason),
    startStep: BigInt(attempt.startStep),
    placementReason: attempt.placementReason,
  };
}

function dateOrAbsent(ms: number | null | undefined): Date | undefined {
  return ms === null || ms === undefined ? undefined : new Date(ms);
}

export function progressToProto(progress: Progress): pb.Progress {
  return {
    epoch: progress.epoch,
    epochs: progress.epochs,
    batch: progress.batch,
    batches: progress.batches,
    step: BigInt(progress.step),
    losses: [...(progress.loss ?? [])],
    imagesPerSecond: imagesPerSecond(progress),
    rankImagesPerSecond: Object.fromEntries(progress.rankImagesPerSecond),
    metrics: progress.metrics && {
      precision: progress.metrics.precision,
      recall: progress.metrics.recall,
      map50: progress.metrics.map50,
      map5095: progress.metrics.map50_95,
    },
    bestMap5095: progress.best?.map50_95 ?? 0,
    etaSeconds: progress.etaSeconds ?? 0,
    valDone: progress.val?.done ?? 0,
    valTotal: progress.val?.total ?? 0,
  };
}

export function eventToProto(journaled: JournaledEvent): pb.JobEvent {
  const {type, t, ...data} = journaled.event;
  return {
    sequence: BigInt(journaled.sequence),
    time: new Date(t),
    attempt: journaled.attempt,
    rank: journaled.rank,
    node: `nodes/${journaled.nodeId}`,
    type,
    data,
  };
}

/** Newest first, as the API lists them. */
export function checkpointsToProto(jobId: string, checkpoints: readonly CheckpointRecord[]): pb.Checkpoint[] {
  return [...checkpoints].sort((a, b) => b.step - a.step).map(record => checkpointToProto(jobId, record));
}

export function artifactToProto(jobId: string, artifact: ArtifactRecord): pb.Artifact {
  return {name: `jobs/${jobId}/artifacts/${artifact.file.name}`, file: fileDigestToProto(artifact.file), attempt: artifact.attempt};
}
