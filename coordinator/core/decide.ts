import {assertNever} from '../../shared/assertNever.js';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {type EndReason, endReason} from '../../shared/endReason.js';
import {type Instant, instant} from '../../shared/ids.js';
import {type AttemptRecord, activeAttempt, type JobRecord} from '../../shared/job.js';
import {judgeAttempt, progressByNode, remains, type Verdict} from './attempt.js';
import {judgePlacement} from './invariants.js';
import type {Gang} from './placement.js';
import {planFor} from './plan.js';
import {earliest, presence} from './presence.js';
import {considerQueue, isToBeRestarted} from './queue.js';
import {endedAttempts, mayRestart} from './restart.js';
import type {Decision, Policy, Snapshot} from './snapshot.js';
import {whyUnusable} from './validate.js';

export interface Deliberation {
  /** At most one a job: each is one transaction, after which the loop looks again. */
  readonly decisions: readonly Decision[];
  /** Jobs that could not be decided about. The others do not suffer for them. */
  readonly bugs: readonly Bug[];
  /** When to decide anew even if nothing changes until then: a deadline that some decision waits for. */
  readonly lookAgainAt?: Instant;
}

/** A job whose records contradict each other: never to be expected. */
export interface Bug {
  readonly jobId: string;
  readonly error: unknown;
}

/** Everything the cluster should do next, judged only from `snapshot`. */
export function decide(snapshot: Snapshot, now: Instant, policy: Policy): Deliberation {
  const steps = [...settleJobs(snapshot, now, policy), ...placeWaiting(snapshot, now, policy)];
  return {
    decisions: steps.flatMap(step => step.decision ?? []),
    bugs: steps.flatMap(step => step.bug ?? []),
    lookAgainAt: earliest(steps.map(step => step.lookAgainAt)),
  };
}

/** What comes of one job: a decision, or when to look again, or neither; or it cannot be told. */
interface Step {
  readonly decision?: Decision;
  readonly lookAgainAt?: Instant;
  readonly bug?: Bug;
}

const NOTHING: Step = {};

function stepOf({id: jobId}: JobRecord, judge: () => Step): Step {
  try {
    return judge();
  } catch (error) {
    return {bug: {jobId, error}};
  }
}

function settleJobs(snapshot: Snapshot, now: Instant, policy: Policy): Step[] {
  const jobs = [...snapshot.jobs.values()].map(({value}) => value).sort((a, b) => (a.id < b.id ? -1 : 1));
  return jobs.map(job => stepOf(job, () => settle(job, snapshot, now, policy)));
}

function settle(job: JobRecord, snapshot: Snapshot, now: Instant, policy: Policy): Step {
  if (job.status.phase === 'ended') return NOTHING;
  if (job.cancelRequestedAt !== null) return endOnceGone(job, 'cancelled', endReason('cancelled'), snapshot, now, policy);
  switch (job.status.phase) {
    case 'queued':
      return settleQueued(job, snapshot);
    case 'staging':
    case 'running':
      return settleActive(job, snapshot, now, policy);
    case 'recovering':
      return settleRecovering(job, snapshot, now, policy);
    default:
      return assertNever(job.status);
  }
}

/** A job whose data set turned out unusable will never start. */
function settleQueued(job: JobRecord, snapshot: Snapshot): Step {
  const dataset = snapshot.datasets.get(job.datasetId)?.value;
  if (dataset?.status.state !== 'failed') return NOTHING;
  const reason = endReason('dataset_failed', whyUnusable(dataset.id, dataset.status));
  return {decision: {kind: 'endJob', jobId: job.id, outcome: 'failed', endReason: reason}};
}

function settleActive(job: JobRecord, snapshot: Snapshot, now: Instant, policy: Policy): Step {
  const attempt = activeAttempt(job);
  const plan = snapshot.plans.get(job.id);
  if (attempt === undefined || plan?.attempt !== attempt.number)
    throw new Error(`job ${job.id} is ${job.status.phase} without the plan of its attempt`);
  const verdict = judgeAttempt(plan, attempt.runningAt !== null, snapshot, now, policy);
  switch (verdict.outcome) {
    case 'goesOn':
      return {lookAgainAt: verdict.lookAgainAt};
    case 'stepping':
      return {decision: {kind: 'markRunning', jobId: job.id, attempt: attempt.number}};
    case 'completed':
      return {decision: {kind: 'endJob', jobId: job.id, outcome: 'succeeded', endReason: verdict.reason}};
    case 'failed':
      return mayRestart(job, endedAttempts(job), verdict.cause)
        ? {decision: endAttempt(job, attempt, verdict)}
        : failForGood(job, attempt, plan, verdict, snapshot, now, policy);
    default:
      return assertNever(verdict);
  }
}

/**
 * A failure that no attempt follows. The other ranks mostly end by themselves a moment later, and files may still be on their way: both
 * get some time. What still runs after that is ended with the attempt; the job ends once it is gone.
 */
function failForGood(
  job: JobRecord,
  attempt: AttemptRecord,
  plan: GenerationPlan,
  verdict: Verdict & {outcome: 'failed'},
  snapshot: Snapshot,
  now: Instant,
  policy: Policy,
): Step {
  const isGone = remains(plan, attempt, snapshot, now, policy).every(node => node.kind === 'gone');
  const patience = isGone ? policy.finalUploadsMs : policy.echoGraceMs;
  const waitsFor = isGone ? progressByNode(plan, snapshot, now, policy).some(({observed}) => observed.pendingUploads > 0) : true;
  const until = instant(verdict.since + patience);
  if (waitsFor && now < until) return {lookAgainAt: until};
  return isGone
    ? {decision: {kind: 'endJob', jobId: job.id, outcome: 'failed', endReason: finalReason(job, verdict.cause)}}
    : {decision: endAttempt(job, attempt, verdict)};
}

function endAttempt(
  {id: jobId}: JobRecord,
  {number: attempt}: AttemptRecord,
  {cause, failedNode}: Verdict & {outcome: 'failed'},
): Decision {
  return {kind: 'endAttempt', jobId, attempt, endReason: cause, failedNode};
}

/** Placing it anew is the queue's business; here it ends if that will not be. */
function settleRecovering(job: JobRecord, snapshot: Snapshot, now: Instant, policy: Policy): Step {
  if (isToBeRestarted(job)) return NOTHING;
  const cause = job.attempts.at(-1)?.endReason ?? endReason('internal', `attempt ${job.attempts.length} ended without a reason`);
  return endOnceGone(job, 'failed', finalReason(job, cause), snapshot, now, policy);
}

/** Ends a job when none of its processes is left, so that a final state means free devices. Nodes that are away have until they are lost. */
function endOnceGone(
  job: JobRecord,
  outcome: 'failed' | 'cancelled',
  reason: EndReason,
  snapshot: Snapshot,
  now: Instant,
  policy: Policy,
): Step {
  const plan = snapshot.plans.get(job.id);
  const attempt = job.attempts.find(candidate => candidate.number === plan?.attempt);
  const left = plan === undefined || attempt === undefined ? [] : remains(plan, attempt, snapshot, now, policy);
  const waiting = left.filter(node => node.kind !== 'gone');
  if (waiting.length > 0) return {lookAgainAt: earliest(waiting.map(node => node.until))};
  return {decision: {kind: 'endJob', jobId: job.id, outcome, endReason: reason}};
}

/** Says so when it is the restart budget that makes a failure final. */
function finalReason(job: JobRecord, cause: EndReason): EndReason {
  const {infra} = job.spec.policy.restarts;
  if (cause.fault !== 'infra') return cause;
  const budget = infra === 0 ? 'policy.restarts.infra allows no restart' : `policy.restarts.infra allows ${infra}, and all are used`;
  return {...cause, message: `${cause.message}; ${budget}`};
}

function placeWaiting(snapshot: Snapshot, now: Instant, policy: Policy): Step[] {
  const entries = considerQueue(snapshot, now, policy);
  const steps = entries.map(({job, standing}): Step => {
    if (standing.kind === 'waits') return {lookAgainAt: standing.lookAgainAt};
    return stepOf(job, () => place(job, standing.gang, snapshot));
  });
  return entries.some(({standing}) => standing.kind === 'waits') ? [...steps, {lookAgainAt: nextLoss(snapshot, now, policy)}] : steps;
}

function place(job: JobRecord, gang: Gang, snapshot: Snapshot): Step {
  const plan = planFor(job, gang, snapshot);
  judgePlacement(plan, snapshot);
  return {decision: {kind: 'place', jobId: job.id, plan, reason: gang.reason}};
}

/** When a silent node will count as lost: then the cluster is smaller, and who holds back whom may change. */
function nextLoss(snapshot: Snapshot, now: Instant, policy: Policy): Instant | undefined {
  const nodes = [...snapshot.nodes.values()].map(view => presence(view, now, policy));
  return earliest(nodes.map(node => (node.kind === 'silent' ? node.lostAt : undefined)));
}
