import type {AttemptPlan, GenerationPlan} from '../../shared/attemptPlan.js';
import type {CheckpointRecord} from '../../shared/checkpoint.js';
import type {DatasetRecord} from '../../shared/dataset.js';
import type {EndReason} from '../../shared/endReason.js';
import type {Instant} from '../../shared/ids.js';
import type {JobRecord} from '../../shared/job.js';
import type {NodeRecord, NodeReport} from '../../shared/observation.js';

/** A record as it lies in the store; `modRevision` guards what is decided upon it. */
export interface Versioned<T> {
  readonly value: T;
  readonly modRevision: number;
}

/** A node as the leader knows it now: its record, and what its session last said. */
export interface NodeView {
  readonly record: NodeRecord;
  /** Whether its session is open now. */
  readonly connected: boolean;
  /** When it last said something; when this leader took over, if it has not yet. */
  readonly lastSeenAt: Instant;
  /** Null until it has spoken to this leader. What it said last, if it is silent now. */
  readonly report: NodeReport | null;
  /** When this leader first saw each exited rank of `report` (`noteExits` keeps it). It bounds how long an echo waits for its cause. */
  readonly exitsSeenAt: ReadonlyMap<string, Instant>;
}

/** Everything that decisions are made from. */
export interface Snapshot {
  readonly jobs: ReadonlyMap<string, Versioned<JobRecord>>;
  /** Of each job, the plan of its newest attempt. */
  readonly plans: ReadonlyMap<string, GenerationPlan>;
  readonly nodes: ReadonlyMap<string, NodeView>;
  readonly datasets: ReadonlyMap<string, Versioned<DatasetRecord>>;
  /** Of each job, its committed checkpoints, oldest first. */
  readonly checkpoints: ReadonlyMap<string, readonly CheckpointRecord[]>;
  /** Jobs whose next attempt the store refused, with the revision that their record had: they step aside until it is another. */
  readonly refused?: ReadonlyMap<string, number>;
}

/** Settings that decisions depend on. */
export interface Policy {
  /** How long a node may be silent before its attempts are given up. */
  readonly nodeTimeoutMs: number;
  /** How long after a GPU host was last heard of its jobs still wait for a GPU, instead of going to the CPU slots that are left. */
  readonly gpuReturnMs: number;
  /** How long a rank that lost its peer waits for the report that says what befell the peer. Longer than it takes to notice a dead link. */
  readonly echoGraceMs: number;
  /** How long a new plan may be on its way to an agent: until then its absence from a report proves nothing. */
  readonly planDeliveryMs: number;
  /** How long a job that failed for good waits for its files still to be uploaded. */
  readonly finalUploadsMs: number;
}

export const DEFAULT_POLICY: Policy = {
  nodeTimeoutMs: 30_000,
  gpuReturnMs: 600_000,
  echoGraceMs: 3_500,
  planDeliveryMs: 1_000,
  finalUploadsMs: 30_000,
};

/**
 * One change that the leader shall make, with the reason for it. Each is one transaction, guarded by the job's `modRevision`, so that a
 * decision made from an old snapshot is refused and simply made again.
 */
export type Decision =
  /** Writes the plan and the job's new attempt together. */
  | {readonly kind: 'place'; readonly jobId: string; readonly plan: AttemptPlan; readonly reason: string}
  /** All ranks have taken a step. */
  | {readonly kind: 'markRunning'; readonly jobId: string; readonly attempt: number}
  /** The attempt is over and another one is due: the job is recovering. */
  | {
      readonly kind: 'endAttempt';
      readonly jobId: string;
      readonly attempt: number;
      readonly endReason: EndReason;
      /** The node by whose fault it ended, if it was a node's. */
      readonly failedNode?: string;
    }
  | {
      readonly kind: 'endJob';
      readonly jobId: string;
      readonly outcome: 'succeeded' | 'failed' | 'cancelled';
      readonly endReason: EndReason;
    };
