import type {Instant} from '../../shared/ids.js';
import type {NodeReport, ObservedAttempt} from '../../shared/observation.js';

/** Names one rank of one attempt in `NodeView.exitsSeenAt`. */
export function exitKey(attempt: Pick<ObservedAttempt, 'jobId' | 'generation'>, rank: number): string {
  return `${attempt.jobId}/${attempt.generation}/${rank}`;
}

/**
 * The exits that `report` shows, each with when it was first seen: the next value of `NodeView.exitsSeenAt`. Exits that the node has
 * forgotten are forgotten here too.
 */
export function noteExits(seen: ReadonlyMap<string, Instant>, report: NodeReport, now: Instant): Map<string, Instant> {
  const next = new Map<string, Instant>();
  for (const attempt of report.attempts) {
    for (const {rank, state} of attempt.ranks) {
      const key = exitKey(attempt, rank);
      if (state === 'exited') next.set(key, seen.get(key) ?? now);
    }
  }
  return next;
}
