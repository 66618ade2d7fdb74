import type {GenerationPlan} from '../shared/attemptPlan.js';
import type {CheckpointManifest, FileDigest} from '../shared/checkpoint.js';
import type {EndReason} from '../shared/endReason.js';
import type {EventOrigin} from '../shared/event.js';
import type {RankEvent, TrainerCommand, TrainerEvent} from '../shared/trainerContract.js';
import type {AttemptLaunch, RankLaunch} from './core/launch.js';
import type {LocalAttempt, StagedFiles} from './core/localAttempt.js';
import type {ProcessExit} from './core/observe.js';

/** What the agent's loop needs from outside. Adapters fulfil these; tests bring their own. */

/** Where the words of one rank go. The next is only read when the promise of the one before has resolved. */
export interface RankSink {
  event(event: TrainerEvent, json: string): Promise<void>;
  badEvent(line: string, message: string): Promise<void>;
  log(stream: 'stdout' | 'stderr', line: string): Promise<void>;
}

export interface RunningTrainer {
  /** As the host sees it. */
  readonly pid: number;
  /** Resolves when the process and its children are gone and all they said has gone to the sink. `stderr`: its last lines. */
  readonly ended: Promise<{readonly exit: ProcessExit; readonly stderr: string}>;
  signal(signal: 'SIGTERM' | 'SIGKILL'): void;
  command(command: TrainerCommand): void;
}

export interface Trainers {
  /** Rejects when the process could not be made. */
  start(launch: RankLaunch, sink: RankSink): Promise<RunningTrainer>;
}

/** Staging cannot succeed, for the reason given. */
export class StagingFailedError extends Error {
  override readonly name = 'StagingFailedError';

  constructor(
    readonly reason: EndReason,
    options?: ErrorOptions,
  ) {
    super(reason.message, options);
  }
}

export interface Staging {
  /**
   * Brings the data set and the checkpoint of a plan here, verified, however often the link breaks. What it brought stays until
   * `release`. Throws `StagingFailedError`, or the signal's reason.
   */
  stage(plan: GenerationPlan, folder: string, progress: (message: string) => void, signal: AbortSignal): Promise<StagedFiles>;
  release(plan: GenerationPlan): void;
}

/** What is to be brought to the coordinator. */
export type Upload =
  | {readonly kind: 'checkpoint'; readonly manifest: CheckpointManifest; readonly dir: string}
  | {readonly kind: 'artifact'; readonly file: FileDigest; readonly path: string};

export interface Uploads {
  /** `listener` is called whenever `pending` of a plan may have changed. */
  onChange(listener: (plan: GenerationPlan) => void): void;
  /** Queues an upload durably, and takes hold of its files as they are now. */
  add(plan: GenerationPlan, folder: string, upload: Upload): Promise<void>;
  /** Goes on with what an earlier agent left in the folder. */
  resume(plan: GenerationPlan, folder: string): Promise<void>;
  /** Files that are still to be uploaded. */
  pending(plan: GenerationPlan): number;
  /** Drops what is left and resolves when nothing is under way. */
  abandon(plan: GenerationPlan): Promise<void>;
}

/** The folders of attempts, and what must be known of them after the agent was killed. */
export interface AttemptFolders {
  pathOf(plan: GenerationPlan): string;
  create(plan: GenerationPlan): Promise<void>;
  /** Remembers durably that ranks may be running from now on, and writes the files that they read. */
  recordLaunch(plan: GenerationPlan, launch: AttemptLaunch): Promise<void>;
  recordExit(plan: GenerationPlan, rank: number, reason: EndReason): Promise<void>;
  remove(plan: GenerationPlan): Promise<void>;
  /**
   * The attempts of an earlier agent that had got as far as starting ranks; all those ranks have ended. The others are cleared away, and what
   * cannot be understood is put aside.
   */
  recover(): Promise<LocalAttempt[]>;
}

export interface RendezvousPorts {
  held(): readonly number[];
  /** Gives a port to a rank that is about to listen on it, and holds another one. */
  release(port: number): Promise<void>;
  /** The rank that a port was given to is gone. */
  reclaim(port: number): void;
}

export interface EventLog {
  append(origin: EventOrigin, type: RankEvent['type'], json: string): void;
  /** Resolves when all that was appended is on disk. */
  flush(): Promise<void>;
}
