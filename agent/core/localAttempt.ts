import type {GenerationPlan, RankPlacement} from '../../shared/attemptPlan.js';
import type {EndReason} from '../../shared/endReason.js';

/** Where the inputs of an attempt lie on this node once they are all here and verified. */
export interface StagedFiles {
  /** The data set's index. */
  readonly indexPath: string;
  /** The folder of its shards, each named by its digest. */
  readonly shardsDir: string;
  /** The checkpoint's folder; null: the attempt starts from the beginning. */
  readonly resumeDir: string | null;
}

/** Why the agent itself ends a rank. */
export type EndingCause = 'unwanted' | 'agentStopping';

/** That a rank was told to end: how, and when (monotonic, ms). */
export interface Ending {
  readonly signal: 'SIGTERM' | 'SIGKILL';
  readonly at: number;
  readonly cause: EndingCause;
}

/**
 * One rank on this node.
 *
 *     starting -> running -> exited
 *             \--------------^
 *
 * `starting` begins when the process is about to be made (its pid is 0 until it exists), `running` with its first optimizer step.
 */
export type LocalRank = {readonly rank: number; readonly deviceId: string} & (
  | {
      readonly state: 'starting' | 'running';
      /** As the host sees it. */
      readonly pid: number;
      readonly ending: Ending | null;
      /** What its `end` event said. */
      readonly lastWords: string;
    }
  | {readonly state: 'exited'; readonly reason: EndReason}
);

/** What has become of one attempt on this node: facts only. What to do about them is judged by `reconcile`. */
export interface LocalAttempt {
  readonly plan: GenerationPlan;
  readonly stage:
    | {readonly phase: 'fetching'; readonly message: string}
    | {readonly phase: 'ready'; readonly files: StagedFiles}
    | {readonly phase: 'failed'; readonly reason: EndReason};
  /** Empty until they were started; from then on all of this node's, in the order of rank. */
  readonly ranks: readonly LocalRank[];
  /** Checkpoint and artifact files that are still to be uploaded. */
  readonly pendingUploads: number;
  /** Its remains are being cleared away. */
  readonly forgetting: boolean;
}

/** Names an attempt on this node; the generation alone would not tell attempts of two clusters apart. Safe as a folder name. */
export function attemptKey(plan: Pick<GenerationPlan, 'jobId' | 'attempt' | 'generation'>): string {
  return `${plan.jobId}.${plan.attempt}.${plan.generation}`;
}

/** The ranks that a plan gives to a node, in the order of rank. */
export function placementsOn(plan: Pick<GenerationPlan, 'ranks'>, nodeId: string): RankPlacement[] {
  return plan.ranks.filter(placement => placement.nodeId === nodeId).sort((a, b) => a.rank - b.rank);
}

export function isAlive(rank: LocalRank): boolean {
  return rank.state !== 'exited';
}

/** Whether all ranks of this node did what they were for. */
export function endedWell(attempt: LocalAttempt): boolean {
  return attempt.ranks.length > 0 && attempt.ranks.every(rank => rank.state === 'exited' && rank.reason.code === 'completed');
}
