import {type Cursor, compareCursors} from '../../shared/checkpoint.js';
import {permutation, rankPositions, type Sharing} from './sampleOrder.js';

/** The ledger (L3): which samples were consumed, told from the ranks' `consumed` events. */

/** One `consumed` event: the ids that `rank` took from the positions [from, to) of the epoch's permutation. */
export interface Consumed {
  readonly rank: number;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  readonly ids: readonly number[];
}

export const FIRST_CURSOR: Cursor = {epoch: 1, offset: 0};

/**
 * How far one rank's events reach without a gap, once `event` is known as well; `samples` of the data set make an epoch. Events come in
 * order, so one that does not join on is not counted.
 */
export function advance(reached: Cursor, event: Pick<Consumed, 'epoch' | 'from' | 'to'>, samples: number): Cursor {
  if (event.epoch !== reached.epoch || event.from > reached.offset || event.to <= reached.offset) return reached;
  return event.to >= samples ? {epoch: event.epoch + 1, offset: 0} : {epoch: event.epoch, offset: event.to};
}

/**
 * Up to where an attempt's events tell, from every one of its ranks, what was consumed since `start`. A checkpoint may be committed only
 * when its cursor is not beyond this; else the history that it belongs to would have holes.
 */
export function coveredUpTo(
  events: readonly Pick<Consumed, 'rank' | 'epoch' | 'from' | 'to'>[],
  worldSize: number,
  samples: number,
  start: Cursor = FIRST_CURSOR,
): Cursor {
  const reached = Array.from({length: worldSize}, () => start);
  for (const event of events) {
    const before = reached[event.rank];
    if (before !== undefined) reached[event.rank] = advance(before, event, samples);
  }
  return reached.reduce(earlier);
}

function earlier(a: Cursor, b: Cursor): Cursor {
  return compareCursors(b, a) < 0 ? b : a;
}

/** What an attempt says it consumed, and where it started. */
export interface AttemptHistory extends Sharing {
  readonly number: number;
  readonly start: Cursor;
  readonly events: readonly Consumed[];
}

export interface EpochLedger {
  readonly epoch: number;
  /** Ids that were consumed in the committed history, each with how often. */
  readonly counts: ReadonlyMap<number, number>;
  /** Positions of the epoch that the committed history reaches. */
  readonly reached: number;
  /** Ids that should have been consumed by then and were not. */
  readonly missing: readonly number[];
  /** Ids consumed more often than once. */
  readonly repeated: readonly number[];
  /** Ids consumed where the epoch's order has another. */
  readonly misplaced: readonly number[];
}

/**
 * The committed history, epoch by epoch. Of an attempt counts what lies from where it started up to where a later one started, the earliest
 * of them: what it did beyond that was thrown away with it. (Mostly that is the next attempt; but after a checkpoint that proved bad, the
 * one after the next starts further back.) Of the last attempt counts what lies before `end`: for a job that is done the cursor after its
 * last epoch, else that of its newest checkpoint.
 */
export function committedLedger(
  attempts: readonly AttemptHistory[],
  end: Cursor,
  {seed, samples}: {readonly seed: number; readonly samples: number},
): EpochLedger[] {
  const taken = committedPicks(attempts, end);
  const lastEpoch = end.offset > 0 ? end.epoch : end.epoch - 1;
  return Array.from({length: lastEpoch}, (_, i) => i + 1).map(epoch => {
    const reached = epoch < end.epoch ? samples : end.offset;
    return auditEpoch(epoch, taken.get(epoch) ?? [], permutation(seed, epoch, samples), reached);
  });
}

/** Whether every sample up to where the history reaches was consumed exactly once, in its place. */
export function isExact(ledger: EpochLedger): boolean {
  return ledger.missing.length === 0 && ledger.repeated.length === 0 && ledger.misplaced.length === 0;
}

/** A sample taken at a position of an epoch. */
interface Taken {
  readonly position: number;
  readonly id: number;
}

function committedPicks(attempts: readonly AttemptHistory[], end: Cursor): Map<number, Taken[]> {
  const ordered = [...attempts].sort((a, b) => a.number - b.number);
  const byEpoch = new Map<number, Taken[]>();
  ordered.forEach((attempt, i) => {
    const until = [...ordered.slice(i + 1).map(({start}) => start), end].reduce(earlier);
    for (const event of attempt.events) {
      const picks = picksOf(event, attempt).filter(({position}) => isWithin({epoch: event.epoch, offset: position}, attempt.start, until));
      const ofEpoch = byEpoch.get(event.epoch) ?? [];
      for (const pick of picks) ofEpoch.push(pick);
      byEpoch.set(event.epoch, ofEpoch);
    }
  });
  return byEpoch;
}

/** An event whose ids do not fit its range has its ids laid at position -1, where they count as misplaced. */
function picksOf(event: Consumed, sharing: Sharing): Taken[] {
  const positions = rankPositions(event.rank, event.from, event.to, sharing);
  return event.ids.map((id, i) => ({id, position: positions.length === event.ids.length ? positions[i]! : -1}));
}

function isWithin(cursor: Cursor, start: Cursor, until: Cursor): boolean {
  return cursor.offset < 0 || (compareCursors(cursor, start) >= 0 && compareCursors(cursor, until) < 0);
}

function auditEpoch(epoch: number, picks: readonly Taken[], order: readonly number[], reached: number): EpochLedger {
  const counts = new Map<number, number>();
  for (const {id} of picks) counts.set(id, (counts.get(id) ?? 0) + 1);
  return {
    epoch,
    counts,
    reached,
    missing: order.slice(0, reached).filter(id => !counts.has(id)),
    repeated: [...counts].filter(([, count]) => count > 1).map(([id]) => id),
    misplaced: picks.filter(({position, id}) => order[position] !== id).map(({id}) => id),
  };
}
