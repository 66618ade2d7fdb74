import type {AttemptPlan} from '../../shared/attemptPlan.js';
import {activeAttempt, type JobRecord} from '../../shared/job.js';
import type {Snapshot} from './snapshot.js';

/**
 * The laws, judged apart from the code that should keep them. Production asserts `judgePlacement` on every plan; tests and the simulator
 * run `judgeSnapshot` on every state and `judgeTransition` on every change.
 */
export interface Violation {
  readonly law: 'L4' | 'L5' | 'L8' | 'gang';
  readonly message: string;
}

/** Throws when a plan is not fit to be written. */
export function judgePlacement(plan: AttemptPlan, snapshot: Snapshot): void {
  const violations = [...judgePlan(plan, snapshot), ...judgeRoom(plan, snapshot)];
  if (violations.length > 0) throw new Error(`plan of ${name(plan)}: ${violations.map(violation => violation.message).join('; ')}`);
}

/** Whether a plan is a whole gang in itself: ranks in order, node by node, each device once, the rendezvous on rank 0's node. */
export function judgePlan(plan: AttemptPlan, snapshot: Snapshot): Violation[] {
  const wanted = snapshot.jobs.get(plan.jobId)?.value.spec.resources.gpus;
  const problems: string[] = [];
  if (plan.ranks.length !== wanted) problems.push(`has ${plan.ranks.length} ranks where ${wanted} were asked for`);
  if (plan.ranks.some((placement, i) => placement.rank !== i)) problems.push('its ranks are not 0, 1, …');
  if (new Set(plan.ranks.map(deviceKey)).size !== plan.ranks.length) problems.push('it has a device twice');
  if (!isNodeByNode(plan)) problems.push('its ranks do not go node by node, or local ranks do not go 0, 1, …');
  for (const {nodeId, deviceId} of plan.ranks) {
    const record = snapshot.nodes.get(nodeId)?.record;
    if (!record?.devices.some(device => device.id === deviceId)) problems.push(`there is no device ${deviceId} on node ${nodeId}`);
  }
  if (snapshot.nodes.get(plan.ranks[0]!.nodeId)?.record.address !== plan.rendezvous.host)
    problems.push("the rendezvous is not on rank 0's node");
  const committed = snapshot.checkpoints.get(plan.jobId) ?? [];
  if (plan.startFrom !== null && !committed.some(checkpoint => checkpoint.step === plan.startFrom?.step))
    problems.push(`step ${plan.startFrom.step} is no committed checkpoint`);
  return problems.map(message => ({law: 'gang', message}));
}

function isNodeByNode(plan: AttemptPlan): boolean {
  const finished = new Set<string>();
  return plan.ranks.every(({nodeId, localRank}, i) => {
    const previous = plan.ranks[i - 1];
    if (previous?.nodeId === nodeId) return localRank === previous.localRank + 1;
    if (previous !== undefined) finished.add(previous.nodeId);
    return localRank === 0 && !finished.has(nodeId);
  });
}

/** Whether what a new plan takes is free: no other active plan names it, and nothing is seen alive there. */
function judgeRoom(plan: AttemptPlan, snapshot: Snapshot): Violation[] {
  const taken = new Map<string, string>();
  for (const other of activePlans(snapshot)) for (const placement of other.ranks) taken.set(deviceKey(placement), name(other));
  for (const [nodeId, {report}] of snapshot.nodes) {
    for (const attempt of report?.attempts ?? [])
      for (const rank of attempt.ranks)
        if (rank.state !== 'exited') taken.set(deviceKey({nodeId, deviceId: rank.deviceId}), `a live rank of ${name(attempt)}`);
  }
  return plan.ranks
    .filter(placement => taken.has(deviceKey(placement)))
    .map(placement => ({law: 'L5', message: `${deviceKey(placement)} is held by ${taken.get(deviceKey(placement))}`}));
}

/** Laws that hold of every state. */
export function judgeSnapshot(snapshot: Snapshot): Violation[] {
  return [...judgeDevices(snapshot), ...activePlans(snapshot).flatMap(plan => judgePlan(plan, snapshot)), ...judgeFinal(snapshot)];
}

/** L5: no device in two plans. */
function judgeDevices(snapshot: Snapshot): Violation[] {
  const holders = new Map<string, string>();
  const violations: Violation[] = [];
  for (const plan of activePlans(snapshot)) {
    for (const key of plan.ranks.map(deviceKey)) {
      const other = holders.get(key);
      if (other !== undefined) violations.push({law: 'L5', message: `${key} is in the plans of ${other} and ${name(plan)}`});
      holders.set(key, name(plan));
    }
  }
  return violations;
}

/** A job that has ended has no attempt left open. */
function judgeFinal(snapshot: Snapshot): Violation[] {
  const jobs = [...snapshot.jobs.values()].map(({value}) => value);
  return jobs
    .filter(job => job.status.phase === 'ended' && job.attempts.some(attempt => attempt.endedAt === null))
    .map(job => ({law: 'L8', message: `${job.id} has ended with an open attempt`}));
}

/** Laws that hold of every change from one state to a later one. */
export function judgeTransition(before: Snapshot, after: Snapshot): Violation[] {
  return [...before.jobs].flatMap(([id, {value}]) => {
    const next = after.jobs.get(id)?.value;
    return next === undefined ? [] : [...judgeJobTransition(value, next), ...judgePlanTransition(id, before, after)];
  });
}

function judgeJobTransition(before: JobRecord, after: JobRecord): Violation[] {
  const violations: Violation[] = [];
  if (before.status.phase === 'ended' && JSON.stringify(before) !== JSON.stringify(after))
    violations.push({law: 'L8', message: `${before.id} changed after its end`});
  const rewritten = before.attempts.some(
    (attempt, i) => attempt.endedAt !== null && JSON.stringify(attempt) !== JSON.stringify(after.attempts[i]),
  );
  if (rewritten || after.attempts.length < before.attempts.length)
    violations.push({law: 'L8', message: `${before.id} rewrote an attempt that had ended`});
  if (after.attempts.some((attempt, i) => attempt.number !== i + 1))
    violations.push({law: 'L4', message: `the attempts of ${after.id} are not numbered 1, 2, …`});
  if (before.cancelRequestedAt !== null && after.cancelRequestedAt === null)
    violations.push({law: 'L8', message: `the cancel of ${before.id} was forgotten`});
  return violations;
}

/** L4: a later attempt has a greater generation, and a plan never changes. */
function judgePlanTransition(id: string, before: Snapshot, after: Snapshot): Violation[] {
  const [old, next] = [before.plans.get(id), after.plans.get(id)];
  if (old === undefined || next === undefined) return [];
  if (next.attempt === old.attempt && JSON.stringify(next) !== JSON.stringify(old))
    return [{law: 'L4', message: `the plan of ${name(old)} changed`}];
  if (next.attempt > old.attempt && next.generation <= old.generation)
    return [{law: 'L4', message: `${name(next)} has generation ${next.generation}, not above ${old.generation}`}];
  return [];
}

function activePlans(snapshot: Snapshot) {
  return [...snapshot.plans.values()].filter(plan => {
    const job = snapshot.jobs.get(plan.jobId)?.value;
    return job !== undefined && activeAttempt(job)?.number === plan.attempt;
  });
}

function deviceKey({nodeId, deviceId}: {readonly nodeId: string; readonly deviceId: string}): string {
  return `${nodeId}/${deviceId}`;
}

function name({jobId, attempt}: {readonly jobId: string; readonly attempt: number}): string {
  return `${jobId}/${attempt}`;
}
