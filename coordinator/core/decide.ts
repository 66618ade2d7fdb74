import type {Instant} from '../../shared/ids.js';
import type {Decision, Policy, Snapshot} from './snapshot.js';

export interface Deliberation {
  /** At most one a job: each is one transaction, after which the loop looks again. */
  readonly decisions: readonly Decision[];
  /** When to decide anew even if nothing changes until then: a deadline that some decision waits for. */
  readonly lookAgainAt?: Instant;
}

/** Everything the cluster should do next, judged only from `snapshot`. */
export function decide(_snapshot: Snapshot, _now: Instant, _policy: Policy): Deliberation {
  return {decisions: []};
}
