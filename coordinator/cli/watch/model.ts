import type {EndCode} from '../../../shared/endReason.js';
import {type Attempt, type Job, type JobEvent, JobState, type WatchJobResponse} from '../../../shared/gen/tenfold/v1/job.js';
import {foldProgress, NO_PROGRESS, type Progress} from '../../../shared/progress.js';
import {type RankEvent, rankEventSchema} from '../../../shared/trainerContract.js';

/** What a watcher knows of a job, folded from the updates of WatchJob. Pure: the view draws it, the session feeds it. */
export interface WatchModel {
  /** Undefined until the first update. */
  readonly job: Job | undefined;
  readonly progress: Progress;
  /** What the agents say while they prepare an attempt, by node. */
  readonly staging: ReadonlyMap<string, string>;
  /** Warnings that were already told, so that a thousand broken images do not scroll everything away. */
  readonly warningsTold: ReadonlySet<string>;
  /** Since when the coordinator has not answered; undefined while it does. Unix milliseconds. */
  readonly awaySince: number | undefined;
}

export const NOTHING_KNOWN: WatchModel = {
  job: undefined,
  progress: NO_PROGRESS,
  staging: new Map(),
  warningsTold: new Set(),
  awaySince: undefined,
};

export type EpochEvent = Extract<RankEvent, {type: 'epoch'}>;
export type EvaluationEvent = Extract<RankEvent, {type: 'evaluation'}>;

/** What is worth a line of its own that stays. */
export type News =
  | {readonly kind: 'state'; readonly job: Job}
  | {readonly kind: 'attemptEnded'; readonly attempt: Attempt}
  | {readonly kind: 'resumed'; readonly attempt: number; readonly step: number; readonly epoch: number}
  | {readonly kind: 'batch'; readonly batch: number; readonly deviceBatch: number}
  | {readonly kind: 'epoch'; readonly event: EpochEvent; readonly epochs: number}
  | {readonly kind: 'evaluation'; readonly event: EvaluationEvent}
  | {readonly kind: 'warning'; readonly message: string; readonly rank: number};

export interface Observation {
  readonly model: WatchModel;
  readonly news: readonly News[];
}

/** The model after one more update, and what is new in it. */
export function observe(model: WatchModel, update: WatchJobResponse['update']): Observation {
  if (update?.$case === 'job') return observeJob(model, update.value);
  if (update?.$case === 'event') return observeEvent(model, update.value);
  return {model, news: []};
}

function observeJob(model: WatchModel, job: Job): Observation {
  const before = model.job;
  const news: News[] = endedBetween(before, job).map(attempt => ({kind: 'attemptEnded', attempt}));
  if (before?.state !== job.state || waitsForOther(before, job)) news.push({kind: 'state', job});
  const isStaged = job.attempts.length !== before?.attempts.length;
  return {model: {...model, job, staging: isStaged ? new Map() : model.staging}, news};
}

/** Ends that are those of the job as well, which is told itself. */
const ENDS_OF_JOBS: readonly string[] = ['completed', 'cancelled'] satisfies EndCode[];

/** Attempts that ended while we watched. Those that had ended before are history: `tenfold explain` tells it. */
function endedBetween(before: Job | undefined, job: Job): Attempt[] {
  if (before === undefined) return [];
  const open = new Set(before.attempts.filter(attempt => attempt.endReason === undefined).map(attempt => attempt.number));
  const known = before.attempts.length;
  const ended = job.attempts.filter(({endReason}) => endReason !== undefined && !ENDS_OF_JOBS.includes(endReason.code));
  return ended.filter(({number}) => open.has(number) || number > known);
}

/** By code, since messages count down seconds. What staging waits for changes with every file, and is shown live only. */
function waitsForOther(before: Job | undefined, job: Job): boolean {
  if (job.waitingFor.length === 0 || job.state === JobState.JOB_STATE_STAGING) return false;
  const reasons = (of: Job | undefined): string => [of?.queuePosition, ...(of?.waitingFor ?? []).map(({code}) => code)].join(' ');
  return reasons(before) !== reasons(job);
}

function observeEvent(model: WatchModel, said: JobEvent): Observation {
  const event = rankEventOf(said);
  if (event === undefined) return {model, news: []};
  const progress = foldProgress(model.progress, said, event);
  const folded = progress === model.progress ? model : {...model, progress};
  switch (event.type) {
    case 'epoch':
      return {model: folded, news: [{kind: 'epoch', event, epochs: Math.max(progress.epochs, event.epoch)}]};
    case 'evaluation':
      return {model: folded, news: [{kind: 'evaluation', event}]};
    case 'resumed':
      if (said.rank !== 0) return {model: folded, news: []};
      return {model: folded, news: [{kind: 'resumed', attempt: said.attempt, step: event.step, epoch: event.cursor.epoch}]};
    case 'batch':
      return {model: folded, news: [{kind: 'batch', batch: event.batch, deviceBatch: event.device_batch}]};
    case 'staged':
      return {model: {...folded, staging: new Map(folded.staging).set(said.node, event.message)}, news: []};
    case 'warning': {
      if (model.warningsTold.has(event.code)) return {model: folded, news: []};
      const warningsTold = new Set(model.warningsTold).add(event.code);
      return {model: {...folded, warningsTold}, news: [{kind: 'warning', message: event.message, rank: said.rank}]};
    }
    default:
      return {model: folded, news: []};
  }
}

/** The event as the trainer's contract has it; undefined for one of another version. */
export function rankEventOf(said: JobEvent): RankEvent | undefined {
  const parsed = rankEventSchema.safeParse({...said.data, type: said.type, t: said.time?.getTime() ?? 0});
  return parsed.success ? parsed.data : undefined;
}

/** The model while the coordinator is away, or (undefined) back. */
export function withAway(model: WatchModel, awaySince: number | undefined): WatchModel {
  return {...model, awaySince};
}
