import type {RankEvent} from './trainerContract.js';

/** How far a training is, folded from the events of its ranks. Pure: the coordinator and the watchers' terminals fold the same. */

/** One part of a loss, with its gain: which there are depends on the model's family. */
export interface LossItem {
  readonly name: string;
  readonly value: number;
}

export interface Metrics {
  readonly precision: number;
  readonly recall: number;
  readonly map50: number;
  readonly map50_95: number;
}

export interface Progress {
  readonly attempt: number;
  /** From 1; 0 until a rank has taken a step. */
  readonly epoch: number;
  readonly epochs: number;
  /** Batches of this epoch that are done, of `batches`. */
  readonly batch: number;
  readonly batches: number;
  /** Optimizer steps since the start of the job. */
  readonly step: number;
  /** Rank 0's, of its newest step. */
  readonly loss: readonly LossItem[] | undefined;
  readonly rankImagesPerSecond: ReadonlyMap<number, number>;
  /** Images validated, while a validation is under way. */
  readonly val: {readonly done: number; readonly total: number} | undefined;
  /** Of the newest validated epoch. */
  readonly metrics: Metrics | undefined;
  readonly best: (Metrics & {readonly epoch: number}) | undefined;
  /** Undefined until enough was seen to tell. */
  readonly etaSeconds: number | undefined;
  readonly pace: Pace;
}

/** What the estimate of the end is made from; times are the trainer's own, in Unix milliseconds. */
interface Pace {
  /** Where the current measurement began: the first step seen of this attempt, or the end of the epoch before. */
  readonly since: {readonly t: number; readonly epoch: number; readonly batch: number} | undefined;
  /** Of a whole epoch with its validation, once one was seen. */
  readonly epochMs: number | undefined;
}

export const NO_PROGRESS: Progress = {
  attempt: 0,
  epoch: 0,
  epochs: 0,
  batch: 0,
  batches: 0,
  step: 0,
  loss: undefined,
  rankImagesPerSecond: new Map(),
  val: undefined,
  metrics: undefined,
  best: undefined,
  etaSeconds: undefined,
  pace: {since: undefined, epochMs: undefined},
};

/** The progress after one more event. Late words of attempts that are over change nothing. */
export function foldProgress(before: Progress, origin: {readonly attempt: number; readonly rank: number}, event: RankEvent): Progress {
  if (origin.attempt < before.attempt) return before;
  const progress = origin.attempt > before.attempt ? anew(before, origin.attempt) : before;
  switch (event.type) {
    case 'step':
      return origin.rank === 0
        ? afterStep(withRate(progress, 0, event.images_per_s), event)
        : withRate(progress, origin.rank, event.images_per_s);
    case 'val':
      return {...progress, val: {done: event.done, total: event.total}};
    case 'epoch':
      return afterEpoch(progress, event);
    case 'exited':
      return {...progress, rankImagesPerSecond: new Map(), val: undefined, etaSeconds: undefined};
    default:
      return progress;
  }
}

/** Another attempt: the figures stay until newer ones come, its pace is measured anew. */
function anew(progress: Progress, attempt: number): Progress {
  return {
    ...progress,
    attempt,
    rankImagesPerSecond: new Map(),
    val: undefined,
    etaSeconds: undefined,
    pace: {since: undefined, epochMs: progress.pace.epochMs},
  };
}

function withRate(progress: Progress, rank: number, rate: number): Progress {
  return {...progress, rankImagesPerSecond: new Map(progress.rankImagesPerSecond).set(rank, rate)};
}

function afterStep(progress: Progress, event: Extract<RankEvent, {type: 'step'}>): Progress {
  const {epoch, epochs, batch, batches, step, loss} = event;
  const since = progress.pace.since ?? {t: event.t, epoch, batch};
  const pace = {...progress.pace, since};
  return {...progress, epoch, epochs, batch, batches, step, loss, val: undefined, pace, etaSeconds: eta(pace, event)};
}

function eta({since, epochMs}: Pace, {epoch, epochs, batch, batches, t}: Extract<RankEvent, {type: 'step'}>): number | undefined {
  const epochsLeft = epochs - epoch + 1 - batch / batches;
  if (epochMs !== undefined) return (epochsLeft * epochMs) / 1000;
  if (since === undefined || since.epoch !== epoch || batch <= since.batch) return undefined;
  const batchMs = (t - since.t) / (batch - since.batch);
  return (epochsLeft * batches * batchMs) / 1000;
}

function afterEpoch(progress: Progress, event: Extract<RankEvent, {type: 'epoch'}>): Progress {
  const {epoch, t} = event;
  const metrics = event.metrics ?? undefined;
  const {since} = progress.pace;
  const sawWhole = since !== undefined && since.epoch === epoch && since.batch <= 1;
  const epochMs = sawWhole ? smoothed(progress.pace.epochMs, t - since.t) : progress.pace.epochMs;
  const epochsLeft = Math.max(0, progress.epochs - epoch);
  return {
    ...progress,
    epoch,
    batch: progress.batches,
    val: undefined,
    metrics: metrics ?? progress.metrics,
    best: event.best && metrics ? {...metrics, epoch} : progress.best,
    pace: {since: {t, epoch: epoch + 1, batch: 0}, epochMs},
    etaSeconds: epochMs === undefined ? progress.etaSeconds : (epochsLeft * epochMs) / 1000,
  };
}

function smoothed(before: number | undefined, now: number): number {
  return before === undefined ? now : (before + now) / 2;
}

/** Of all ranks together. */
export function imagesPerSecond(progress: Progress): number {
  let sum = 0;
  for (const rate of progress.rankImagesPerSecond.values()) sum += rate;
  return sum;
}
