import {assertNever} from '../../shared/assertNever.js';
import type {AttemptPlan} from '../../shared/attemptPlan.js';
import type {EndReason} from '../../shared/endReason.js';
import type {Instant} from '../../shared/ids.js';
import {type AttemptRecord, activeAttempt, type JobRecord} from '../../shared/job.js';
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
  const before = snapshot.jobs.get(decision.jobId);
  if (before === undefined) throw new Error(`${decision.kind} for unknown job ${decision.jobId}`);
  if (before.value.status.phase === 'ended') throw new Error(`${decision.kind} for job ${decision.jobId}, which has ended (L8)`);
  const job = changed(before.value, decision, now);
  const changes = {job, jobModRevision: before.modRevision};
  return decision.kind === 'place' ? {...changes, plan: decision.plan} : changes;
}

function changed(job: JobRecord, decision: Decision, now: Instant): JobRecord {
  switch (decision.kind) {
    case 'place':
      return placed(job, decision.plan, decision.reason, now);
    case 'markRunning':
      return {
        ...withActive(job, decision, attempt => ({...attempt, runningAt: now})),
        status: {phase: 'running', attempt: decision.attempt},
      };
    case 'endAttempt':
      return {
        ...withActive(job, decision, attempt => ({...closed(attempt, decision.endReason, now), failedNode: decision.failedNode})),
        status: {phase: 'recovering', after: decision.attempt},
      };
    case 'endJob':
      return {
        ...job,
        attempts: job.attempts.map(attempt => (attempt.endedAt === null ? closed(attempt, decision.endReason, now) : attempt)),
        status: {phase: 'ended', outcome: decision.outcome, reason: decision.endReason, at: now},
      };
    default:
      return assertNever(decision);
  }
}

function placed(job: JobRecord, plan: AttemptPlan, reason: string, now: Instant): JobRecord {
  if (activeAttempt(job) !== undefined || plan.attempt !== job.attempts.length + 1)
    throw new Error(`attempt ${plan.attempt} of job ${job.id}, which is ${job.status.phase} after ${job.attempts.length} attempts`);
  const attempt: AttemptRecord = {
    number: plan.attempt,
    createdAt: now,
    runningAt: null,
    endedAt: null,
    endReason: null,
    startStep: plan.startFrom?.step ?? 0,
    placementReason: reason,
  };
  return {...job, attempts: [...job.attempts, attempt], status: {phase: 'staging', attempt: plan.attempt}};
}

function closed(attempt: AttemptRecord, reason: EndReason, now: Instant): AttemptRecord {
  return {...attempt, endedAt: now, endReason: reason};
}

function withActive(
  job: JobRecord,
  decision: {readonly kind: string; readonly attempt: number},
  change: (attempt: AttemptRecord) => AttemptRecord,
): JobRecord {
  if (activeAttempt(job)?.number !== decision.attempt)
    throw new Error(`${decision.kind} for attempt ${decision.attempt} of job ${job.id}, which is ${job.status.phase}`);
  return {...job, attempts: job.attempts.map(attempt => (attempt.number === decision.attempt ? change(attempt) : attempt))};
}
