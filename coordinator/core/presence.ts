import {type Instant, instant} from '../../shared/ids.js';
import type {NodeReport} from '../../shared/observation.js';
import type {NodeView, Policy} from './snapshot.js';

/**
 * How a node stands with this leader. `silent` is no verdict: its ranks may well be alive, and its last report, if any, still holds for
 * what had ended by then. `lost`: silent for so long that its attempts are given up.
 */
export type Presence =
  | {readonly kind: 'here'; readonly report: NodeReport}
  | {readonly kind: 'silent'; readonly lostAt: Instant; readonly lastReport: NodeReport | null}
  | {readonly kind: 'lost'};

export function presence(view: NodeView | undefined, now: Instant, policy: Policy): Presence {
  if (view === undefined) return {kind: 'lost'};
  if (view.connected && view.report !== null) return {kind: 'here', report: view.report};
  const lostAt = instant(view.lastSeenAt + policy.nodeTimeoutMs);
  return now >= lostAt ? {kind: 'lost'} : {kind: 'silent', lostAt, lastReport: view.report};
}

/**
 * Whether an agent is on its way out, and starts nothing any more: it tells of the ranks that it ended for that until it has gone, and when
 * it is back until their attempts have ended.
 */
export function isStopping(report: NodeReport): boolean {
  return report.attempts.some(({ranks}) => ranks.some(rank => rank.state === 'exited' && rank.reason.code === 'agent_stopped'));
}

/** The earliest of some moments, of which any may be unknown. */
export function earliest(moments: readonly (Instant | undefined)[]): Instant | undefined {
  const known = moments.filter(moment => moment !== undefined);
  return known.length === 0 ? undefined : instant(Math.min(...known));
}
