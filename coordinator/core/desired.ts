import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {activeAttempt} from '../../shared/job.js';
import type {Snapshot} from './snapshot.js';

/**
 * Everything that shall run on a node, ordered by job. What an agent runs and is not named here it ends.
 *
 * A running attempt is not asked of a node that has reported without it: that node lost its ranks, and starting them again would put two
 * lives into one generation (L5).
 */
export function desired(snapshot: Snapshot, nodeId: string): GenerationPlan[] {
  const report = snapshot.nodes.get(nodeId)?.report ?? null;
  return [...snapshot.plans.values()]
    .filter(plan => plan.ranks.some(placement => placement.nodeId === nodeId))
    .filter(plan => {
      const job = snapshot.jobs.get(plan.jobId)?.value;
      if (job === undefined || job.cancelRequestedAt !== null || activeAttempt(job)?.number !== plan.attempt) return false;
      if (job.status.phase === 'staging' || report === null) return true;
      return report.attempts.some(observed => observed.jobId === plan.jobId && observed.generation === plan.generation);
    })
    .sort((a, b) => (a.jobId < b.jobId ? -1 : 1));
}
