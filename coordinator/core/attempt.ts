import type {GenerationPlan, RankPlacement} from '../../shared/attemptPlan.js';
import {planNodes} from '../../shared/attemptPlan.js';
import {type EndReason, endReason, isEcho, isOfNode, rootCause} from '../../shared/endReason.js';
import {type Instant, instant} from '../../shared/ids.js';
import type {AttemptRecord} from '../../shared/job.js';
import {isOfPlan, type NodeReport, type ObservedAttempt} from '../../shared/observation.js';
import {exitKey, STAGING} from './exits.js';
import {earliest, presence} from './presence.js';
import type {Policy, Snapshot} from './snapshot.js';

/**
 * What happened to one attempt, judged from what its nodes report.
 *
 * Every rank is sighted on its own first (`sight`). An attempt fails with its first failed rank, for a gang cannot go on without one; the
 * only question is the reason to record. A rank that lost its peer is an echo: it waits until every other rank has had its say, though not
 * for ever (`Policy.echoGraceMs`). A plain cause waits for nothing, since recovery does.
 */
export type Verdict =
  /** Staging or training. */
  | {readonly outcome: 'goesOn'; readonly lookAgainAt?: Instant}
  /** Every rank has taken its first step. */
  | {readonly outcome: 'stepping'}
  /** Every rank is done, and every file is uploaded. `reason` is rank 0's. */
  | {readonly outcome: 'completed'; readonly reason: EndReason}
  /** `since`: when the failure was first seen; long ago when it is not an exit, so that nothing waits on its account. */
  | (Failure & {readonly outcome: 'failed'; readonly since: Instant});

interface Failure {
  readonly cause: EndReason;
  /** The node by whose fault it was, if it was a node's. */
  readonly failedNode?: string;
}

const LONG_AGO = instant(0);

/** What is known of one rank. */
type Sighting =
  /** On a node that is here, not started yet. */
  | {readonly state: 'preparing'}
  | {readonly state: 'starting' | 'running'}
  | {readonly state: 'done'; readonly reason: EndReason; readonly pendingUploads: number}
  | {readonly state: 'failed'; readonly reason: EndReason; readonly since: Instant; readonly nodeId: string}
  /** Its node does not speak now. `spoke`: it did earlier, to this leader. */
  | {readonly state: 'silent'; readonly lostAt: Instant; readonly spoke: boolean; readonly nodeId: string};

/** Judges the attempt of `plan`; `wasRunning`: all its ranks had taken a step before. */
export function judgeAttempt(plan: GenerationPlan, wasRunning: boolean, snapshot: Snapshot, now: Instant, policy: Policy): Verdict {
  const sightings = plan.ranks.map(placement => sight(placement, plan, wasRunning, snapshot, now, policy));
  const failures = sightings.filter(sighting => sighting.state === 'failed');
  if (failures.length > 0) return judgeFailure(failures, sightings, now, policy);
  if (!wasRunning && sightings.every(sighting => sighting.state === 'running' || sighting.state === 'done')) return {outcome: 'stepping'};
  const head = sightings[0];
  if (head?.state === 'done' && sightings.every(sighting => sighting.state === 'done' && sighting.pendingUploads === 0))
    return {outcome: 'completed', reason: head.reason};
  return {outcome: 'goesOn', lookAgainAt: earliest(sightings.map(sighting => (sighting.state === 'silent' ? sighting.lostAt : undefined)))};
}

function judgeFailure(
  failures: readonly (Sighting & {state: 'failed'})[],
  all: readonly Sighting[],
  now: Instant,
  policy: Policy,
): Verdict {
  const reasons = failures.map(failure => failure.reason);
  const cause = rootCause(reasons.filter(reason => !isEcho(reason.code))) ?? rootCause(reasons)!;
  const since = instant(Math.min(...failures.map(failure => failure.since)));
  const nodeId = failures.find(failure => failure.reason === cause)!.nodeId;
  if (isPlain(cause)) return {outcome: 'failed', ...blamed(cause, nodeId), since};
  const graceEndsAt = instant(since + policy.echoGraceMs);
  if (now < graceEndsAt && !all.every(hasHadItsSay)) return {outcome: 'goesOn', lookAgainAt: graceEndsAt};
  return {outcome: 'failed', ...explainedBySilence(blamed(cause, nodeId), all), since};
}

function isPlain({code, fault}: EndReason): boolean {
  return code === 'agent_stopped' || (fault !== 'none' && !isEcho(code));
}

/** A node that spoke to this leader and fell silent is itself the likely cause; one that has not spoken yet may still tell more. */
function hasHadItsSay(sighting: Sighting): boolean {
  return sighting.state === 'failed' || sighting.state === 'done' || (sighting.state === 'silent' && sighting.spoke);
}

function explainedBySilence(echo: Failure, all: readonly Sighting[]): Failure {
  const silent = all.find(sighting => sighting.state === 'silent');
  if (silent?.state !== 'silent' || echo.cause.fault === 'none') return echo;
  return blamed(endReason('node_lost', `node ${silent.nodeId} went away (${echo.cause.message})`), silent.nodeId);
}

function blamed(cause: EndReason, nodeId: string): Failure {
  return isOfNode(cause.code) ? {cause, failedNode: nodeId} : {cause};
}

function sight(
  {rank, nodeId}: RankPlacement,
  plan: GenerationPlan,
  wasRunning: boolean,
  snapshot: Snapshot,
  now: Instant,
  policy: Policy,
): Sighting {
  const view = snapshot.nodes.get(nodeId);
  const node = presence(view, now, policy);
  const since = (key: number): Instant => view?.exitsSeenAt.get(exitKey(plan, key)) ?? now;
  if (node.kind === 'here') {
    const shown = shownIn(node.report, plan, rank);
    if (shown !== undefined) return withPlace(shown, rank, nodeId, since);
    if (!wasRunning) return {state: 'preparing'};
    return {state: 'failed', reason: endReason('rank_missing', `node ${nodeId} came back without rank ${rank}`), since: LONG_AGO, nodeId};
  }
  const last = node.kind === 'silent' && node.lastReport !== null ? shownIn(node.lastReport, plan, rank) : undefined;
  if (last?.state === 'failed' || (last?.state === 'done' && last.pendingUploads === 0)) return withPlace(last, rank, nodeId, since);
  if (node.kind === 'silent') return {state: 'silent', lostAt: node.lostAt, spoke: node.lastReport !== null, nodeId};
  const silence = `node ${nodeId} was silent for ${Math.round(policy.nodeTimeoutMs / 1000)} s`;
  return {state: 'failed', reason: endReason('node_lost', silence), since: LONG_AGO, nodeId};
}

/** What a report says of one rank; undefined when it does not know the rank. */
type Shown =
  | {readonly state: 'starting' | 'running'}
  | {readonly state: 'done'; readonly reason: EndReason; readonly pendingUploads: number}
  | {readonly state: 'failed'; readonly reason: EndReason; readonly key: number};

function shownIn(report: NodeReport, plan: GenerationPlan, rank: number): Shown | undefined {
  const attempt = observedAttempt(report, plan);
  if (attempt?.stage.phase === 'failed') return {state: 'failed', reason: attempt.stage.reason, key: STAGING};
  const observed = attempt?.ranks.find(candidate => candidate.rank === rank);
  if (attempt === undefined || observed === undefined) return undefined;
  if (observed.state !== 'exited') return {state: observed.state};
  if (observed.reason.code === 'completed') return {state: 'done', reason: observed.reason, pendingUploads: attempt.pendingUploads};
  return {state: 'failed', reason: observed.reason, key: rank};
}

function withPlace(shown: Shown, rank: number, nodeId: string, since: (key: number) => Instant): Sighting {
  if (shown.state !== 'failed') return shown;
  const who = shown.key === STAGING ? `node ${nodeId}` : `rank ${rank} on ${nodeId}`;
  return {state: 'failed', reason: {...shown.reason, message: `${who}: ${shown.reason.message}`}, since: since(shown.key), nodeId};
}

function observedAttempt(report: NodeReport, plan: GenerationPlan): ObservedAttempt | undefined {
  return report.attempts.find(observed => isOfPlan(observed, plan));
}

/** Whether processes of an attempt are left on a node. */
export type Remains =
  | {readonly kind: 'gone'}
  /** Shown alive, or about to be started; `until`: then the plan has certainly arrived, and absence from the report is proof. */
  | {readonly kind: 'alive'; readonly nodeId: string; readonly until?: Instant}
  /** The node does not speak. What it ran may be alive until it is given up. */
  | {readonly kind: 'unknown'; readonly nodeId: string; readonly until: Instant};

/** What is left of an attempt, node by node in the order of the plan. */
export function remains(plan: GenerationPlan, record: AttemptRecord, snapshot: Snapshot, now: Instant, policy: Policy): Remains[] {
  return planNodes(plan).map(nodeId => remainsOnNode(plan, record, nodeId, snapshot, now, policy));
}

function remainsOnNode(
  plan: GenerationPlan,
  record: AttemptRecord,
  nodeId: string,
  snapshot: Snapshot,
  now: Instant,
  policy: Policy,
): Remains {
  const node = presence(snapshot.nodes.get(nodeId), now, policy);
  if (node.kind === 'lost') return {kind: 'gone'};
  const report = node.kind === 'here' ? node.report : node.lastReport;
  const observed = report === null ? undefined : observedAttempt(report, plan);
  if (observed !== undefined && isOver(observed, plan, nodeId)) return {kind: 'gone'};
  if (node.kind === 'silent') return {kind: 'unknown', nodeId, until: node.lostAt};
  if (observed !== undefined) return {kind: 'alive', nodeId};
  const deliveredBy = instant(record.createdAt + policy.planDeliveryMs);
  // A moment that is yet to come was noted by a clock that ran ahead of this one; to wait for it could take hours.
  const isDelivered = record.runningAt !== null || record.createdAt > now || now >= deliveredBy;
  return isDelivered ? {kind: 'gone'} : {kind: 'alive', nodeId, until: deliveredBy};
}

function isOver(observed: ObservedAttempt, plan: GenerationPlan, nodeId: string): boolean {
  if (observed.stage.phase === 'failed') return observed.ranks.every(rank => rank.state === 'exited');
  const planned = plan.ranks.filter(placement => placement.nodeId === nodeId);
  return planned.every(({rank}) => observed.ranks.some(seen => seen.rank === rank && seen.state === 'exited'));
}

/** What a node that is here reports of an attempt. */
export interface NodeProgress {
  readonly nodeId: string;
  readonly observed: ObservedAttempt;
}

/** The reports on an attempt, of those of its nodes that are here. */
export function progressByNode(plan: GenerationPlan, snapshot: Snapshot, now: Instant, policy: Policy): NodeProgress[] {
  return planNodes(plan).flatMap(nodeId => {
    const node = presence(snapshot.nodes.get(nodeId), now, policy);
    const observed = node.kind === 'here' ? observedAttempt(node.report, plan) : undefined;
    return observed === undefined ? [] : [{nodeId, observed}];
  });
}
