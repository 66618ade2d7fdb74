import type {NodeReport, ObservedAttempt} from '../../shared/observation.js';

/** Stands for the node's staging where a rank's number is asked for. */
export const STAGING = -1;

/** Names one rank of one attempt (or its staging on the node) in `NodeView.exitsSeenAt`. */
export function exitKey(attempt: Pick<ObservedAttempt, 'jobId' | 'generation'>, rank: number): string {
  return `${attempt.jobId}/${attempt.generation}/${rank}`;
}

/**
 * The exits that `report` shows, each with when it was first seen, by whatever clock `now` is of: the next value of `NodeView.exitsSeenAt`.
 * Exits that the node has forgotten are forgotten here too.
 */
export function noteExits<T extends number>(seen: ReadonlyMap<string, T>, report: NodeReport, now: T): Map<string, T> {
  const next = new Map<string, T>();
  for (const attempt of report.attempts) {
    const ended = attempt.ranks.filter(({state}) => state === 'exited').map(({rank}) => rank);
    if (attempt.stage.phase === 'failed') ended.push(STAGING);
    for (const key of ended.map(rank => exitKey(attempt, rank))) next.set(key, seen.get(key) ?? now);
  }
  return next;
}
