import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {Instant} from '../../shared/ids.js';
import type {JobRecord} from '../../shared/job.js';
import type {DeviceKind} from '../../shared/observation.js';
import {remains} from './attempt.js';
import {
  capacity,
  clusterKind,
  countDevices,
  devicesIn,
  freeOffers,
  type Gang,
  lostGpuNodes,
  type Offer,
  type Placing,
  placeGang,
  withoutGang,
} from './placement.js';
import {earliest, isStopping, presence} from './presence.js';
import {endedAttempts, failuresByNode, fruitlessInARow, mayRestart, restartDueAt} from './restart.js';
import type {Policy, Snapshot} from './snapshot.js';

/**
 * Who starts next, and why the others do not.
 *
 * First those that were interrupted (a crash should not cost a job the place it had), then by priority, then first come, first served. The
 * order is strict: a job that does not fit holds back all behind it, for without knowing how long jobs run, letting small ones pass would
 * starve a big gang for ever. Four kinds of jobs step aside instead, since holding back would serve nobody: those whose data set is not
 * ready, those that the cluster as it is could not hold even if it were empty, those whose pause before the next attempt has not passed,
 * and those whose record the store refuses. A node that fell silent a moment ago still counts as part of the cluster.
 *
 * Decisions and explanations both come from here, so they cannot contradict each other.
 */
export interface QueueEntry {
  readonly job: JobRecord;
  /** 1 is next. */
  readonly position: number;
  readonly standing: Standing;
}

export type Standing =
  | {readonly kind: 'starts'; readonly gang: Gang}
  | {readonly kind: 'waits'; readonly reasons: readonly Reason[]; readonly lookAgainAt?: Instant};

/** Something that blocks a job: a stable code, and a sentence for people. */
export interface Reason {
  readonly code: ReasonCode;
  readonly message: string;
}

export type ReasonCode =
  | 'dataset_missing'
  | 'dataset_registering'
  | 'restart_delay'
  | 'processes_ending'
  | 'record_refused'
  | 'no_nodes'
  | 'cluster_too_small'
  | 'not_enough_free'
  | 'node_silent'
  | 'node_stopping'
  | 'no_rendezvous_port'
  | 'unreachable_address'
  | 'behind'
  /** Of an attempt under way: fetching, or files still to be uploaded at its end. */
  | 'staging'
  | 'uploading';

/** Everyone who waits, in order, each with what comes of it now. */
export function considerQueue(snapshot: Snapshot, now: Instant, policy: Policy): QueueEntry[] {
  const whole = capacity(snapshot, now, policy);
  let free = freeOffers(snapshot, now, policy);
  let blocker: JobRecord | undefined;
  const entries: QueueEntry[] = [];
  for (const job of waitingInOrder(snapshot)) {
    const standing = consider(job, {snapshot, now, policy, whole, free, blocker});
    if (standing.kind === 'starts') free = withoutGang(free, standing.gang);
    else if (blocker === undefined && holdsItsPlace(job, standing.reasons, whole)) blocker = job;
    entries.push({job, position: entries.length + 1, standing});
  }
  return entries;
}

/** Jobs that may be placed as soon as there is room, the next one first. */
export function waitingInOrder(snapshot: Snapshot): JobRecord[] {
  return [...snapshot.jobs.values()]
    .map(({value}) => value)
    .filter(mayBePlaced)
    .sort(compareJobs);
}

function mayBePlaced(job: JobRecord): boolean {
  if (job.cancelRequestedAt !== null) return false;
  return job.status.phase === 'queued' || (job.status.phase === 'recovering' && isToBeRestarted(job));
}

/** Whether a recovering job gets another attempt, rather than its end. */
export function isToBeRestarted(job: JobRecord): boolean {
  const ended = endedAttempts(job);
  const reason = ended.at(-1)?.endReason;
  return reason != null && mayRestart(job, ended.slice(0, -1), reason);
}

function compareJobs(a: JobRecord, b: JobRecord): number {
  const interrupted = (job: JobRecord): number => (job.status.phase === 'recovering' ? 0 : 1);
  return (
    interrupted(a) - interrupted(b) ||
    b.spec.priority - a.spec.priority ||
    a.createdAt - b.createdAt ||
    (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  );
}

interface Circumstances {
  readonly snapshot: Snapshot;
  readonly now: Instant;
  readonly policy: Policy;
  readonly whole: readonly Offer[];
  readonly free: readonly Offer[];
  /** A job ahead that holds back all behind it. */
  readonly blocker: JobRecord | undefined;
}

function consider(job: JobRecord, at: Circumstances): Standing {
  const placing = placeGang(job.spec.resources.gpus, at.free, failuresByNode(job));
  const ending = endingOf(job, at);
  const dueAt = restartDueAt(job, at.now);
  const reasons = [
    ...datasetReasons(job, at.snapshot),
    ...ending.map(node => ({
      code: 'processes_ending' as const,
      message: `processes of its last attempt are still ending on ${node.nodeId}`,
    })),
    ...(at.now < dueAt ? [delayReason(job, at.now, dueAt)] : []),
    ...refusalReasons(job, at.snapshot),
    ...roomReasons(job, placing, at),
    ...(at.blocker === undefined ? [] : [behindReason(at.blocker, at)]),
  ];
  if (placing.kind === 'fits' && reasons.length === 0) return {kind: 'starts', gang: placing.gang};
  return {kind: 'waits', reasons, lookAgainAt: earliest([at.now < dueAt ? dueAt : undefined, ...ending.map(node => node.until)])};
}

/** What a free device does not help against. */
const STEP_ASIDE: ReadonlySet<ReasonCode> = new Set<ReasonCode>([
  'dataset_missing',
  'dataset_registering',
  'restart_delay',
  'record_refused',
]);

/** Whether the jobs behind `job` must wait for it. */
function holdsItsPlace(job: JobRecord, reasons: readonly Reason[], whole: readonly Offer[]): boolean {
  const {kind} = placeGang(job.spec.resources.gpus, whole);
  if (kind === 'noRoom' || kind === 'unreachable') return false;
  return !reasons.some(reason => STEP_ASIDE.has(reason.code));
}

function datasetReasons(job: JobRecord, snapshot: Snapshot): Reason[] {
  const dataset = snapshot.datasets.get(job.datasetId)?.value;
  if (dataset === undefined) return [{code: 'dataset_missing', message: `there is no data set ${job.datasetId}`}];
  if (dataset.status.state === 'ready') return [];
  return [{code: 'dataset_registering', message: `data set ${job.datasetId} is still being registered`}];
}

/** Nodes that are here and on which the last attempt is not proven gone. Nodes that are away are no reason to wait: others may do. */
function endingOf(job: JobRecord, {snapshot, now, policy}: Circumstances) {
  const plan: GenerationPlan | undefined = snapshot.plans.get(job.id);
  const record = job.attempts.find(attempt => attempt.number === plan?.attempt);
  if (plan === undefined || record === undefined) return [];
  return remains(plan, record, snapshot, now, policy).filter(node => node.kind === 'alive');
}

function delayReason(job: JobRecord, now: Instant, dueAt: Instant): Reason {
  const tries = fruitlessInARow(job);
  const blame = tries === 1 ? 'the last attempt' : `the last ${tries} attempts`;
  return {code: 'restart_delay', message: `next attempt in ${Math.ceil((dueAt - now) / 1000)} s, for ${blame} ended before the first step`};
}

function refusalReasons({id}: JobRecord, {jobs, refused}: Snapshot): Reason[] {
  const revision = refused?.get(id);
  if (revision === undefined || revision !== jobs.get(id)?.modRevision) return [];
  return [{code: 'record_refused', message: 'its record has grown too large for the store: cancel it, and submit it anew'}];
}

function roomReasons(job: JobRecord, placing: ReturnType<typeof placeGang>, {snapshot, now, policy, whole}: Circumstances): Reason[] {
  if (placing.kind === 'fits') return [];
  if (placing.kind === 'noPort')
    return [{code: 'no_rendezvous_port', message: `node ${placing.nodeId} holds no port for a rendezvous yet`}];
  if (whole.length === 0) return [{code: 'no_nodes', message: 'no node is connected'}];
  const kind = clusterKind(snapshot, now, policy);
  const needs = `needs ${countDevices(job.spec.resources.gpus, kind)}`;
  if (devicesIn(whole) < job.spec.resources.gpus)
    return [
      {code: 'cluster_too_small', message: `${needs}, the connected nodes have ${devicesIn(whole)}${lostGpus(snapshot, now, policy)}`},
    ];
  const hope = placeGang(job.spec.resources.gpus, whole);
  if (hope.kind === 'unreachable') return [unreachableReason(needs, hope)];
  if (placing.kind === 'unreachable') return [unreachableReason(needs, placing)];
  return [{code: 'not_enough_free', message: `${needs}, ${placing.free} free`}, ...absenceReasons(whole, kind, {snapshot, now, policy})];
}

/** Nodes that belong to the cluster and offer nothing now. */
function absenceReasons(
  whole: readonly Offer[],
  kind: DeviceKind,
  {snapshot, now, policy}: Pick<Circumstances, 'snapshot' | 'now' | 'policy'>,
): Reason[] {
  return whole.flatMap(({nodeId, devices}): Reason[] => {
    const node = presence(snapshot.nodes.get(nodeId), now, policy);
    const name = `node ${nodeId} with ${countDevices(devices.length, kind)}`;
    if (node.kind === 'silent') return [{code: 'node_silent', message: `${name} is not connected`}];
    if (node.kind === 'here' && isStopping(node.report)) return [{code: 'node_stopping', message: `the agent of ${name} is stopping`}];
    return [];
  });
}

function lostGpus(snapshot: Snapshot, now: Instant, policy: Policy): string {
  const lost = lostGpuNodes(snapshot, now, policy);
  if (lost.length === 0) return '';
  return lost.length === 1 ? `; node ${lost[0]} with GPUs is lost` : `; nodes ${lost.join(', ')} with GPUs are lost`;
}

function unreachableReason(needs: string, {nodeId, address}: Extract<Placing, {kind: 'unreachable'}>): Reason {
  const why = `node ${nodeId} has the address ${address}, which no other host can reach`;
  return {code: 'unreachable_address', message: `${needs} on several hosts, but ${why}: start its agent with --node-address`};
}

function behindReason(blocker: JobRecord, {snapshot, now, policy}: Circumstances): Reason {
  const devices = countDevices(blocker.spec.resources.gpus, clusterKind(snapshot, now, policy));
  return {code: 'behind', message: `${blocker.id} is ahead and waits for ${devices}`};
}
