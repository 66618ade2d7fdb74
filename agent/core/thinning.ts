import type {RankEvent} from '../../shared/trainerContract.js';

/**
 * What an outbox keeps while the coordinator is away for long. The ledger and everything that decides anything (`consumed`, `epoch`,
 * `checkpoint`, `artifact`, `end`, …) is always kept. Progress and log lines, of which the newest says most, are thinned when the outbox is
 * half full, and dropped when it is full.
 */
export interface ThinningPolicy {
  /** Bytes that wait for acknowledgement at which thinning begins. */
  readonly thinAtBytes: number;
  /** At which progress and log lines are no longer kept. */
  readonly fullAtBytes: number;
  /** While thinning, one of each kind by rank in so many ms. */
  readonly intervalMs: number;
}

const THINNABLE: ReadonlySet<RankEvent['type']> = new Set(['step', 'val', 'log', 'bad_event']);

/** When an event of each source was last kept (monotonic, ms), and how many were not since the last notice. */
export interface ThinningState {
  readonly lastKept: ReadonlyMap<string, number>;
  readonly dropped: number;
}

export const NOTHING_THINNED: ThinningState = {lastKept: new Map(), dropped: 0};

/** Whether an event of `source` (one rank of one attempt) is kept, with `pendingBytes` waiting at `now` (monotonic, ms). */
export function thin(
  state: ThinningState,
  source: string,
  type: RankEvent['type'],
  pendingBytes: number,
  now: number,
  policy: ThinningPolicy,
): {readonly keep: boolean; readonly state: ThinningState} {
  if (!THINNABLE.has(type) || pendingBytes < policy.thinAtBytes) return {keep: true, state};
  const key = `${source} ${type}`;
  const keptAt = state.lastKept.get(key) ?? Number.NEGATIVE_INFINITY;
  const keep = pendingBytes < policy.fullAtBytes && now - keptAt >= policy.intervalMs;
  if (!keep) return {keep, state: {...state, dropped: state.dropped + 1}};
  return {keep, state: {...state, lastKept: new Map(state.lastKept).set(key, now)}};
}
