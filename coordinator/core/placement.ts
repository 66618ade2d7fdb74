import type {AttemptPlan, GenerationPlan, RankPlacement} from '../../shared/attemptPlan.js';
import type {Instant} from '../../shared/ids.js';
import {activeAttempt} from '../../shared/job.js';
import {isLoopback} from '../../shared/loopback.js';
import type {Device, DeviceKind, NodeReport} from '../../shared/observation.js';
import {remains} from './attempt.js';
import {bestLinked, slowestLink} from './links.js';
import {isStopping, presence} from './presence.js';
import type {Policy, Snapshot} from './snapshot.js';

/**
 * Where a gang goes: whole or not at all; on as few nodes as will do, of one device model if there is one that has room; within a node on
 * the devices that are linked best. Ranks are numbered node by node, so that neighbours in the ring sit on one host. A node by whose fault
 * earlier attempts of the job ended is left out for as long as the others have room. All choices are deterministic.
 */

/** What a node offers at the moment. */
export interface Offer {
  readonly nodeId: string;
  readonly hostname: string;
  readonly address: string;
  readonly devices: readonly Device[];
  /** Ports that may become a rendezvous. */
  readonly ports: readonly number[];
}

export interface Gang {
  readonly ranks: readonly RankPlacement[];
  readonly rendezvous: AttemptPlan['rendezvous'];
  /** Why here, for people. */
  readonly reason: string;
}

export type Placing =
  | {readonly kind: 'fits'; readonly gang: Gang}
  | {readonly kind: 'noRoom'; readonly free: number}
  /** There is room, but none of its nodes holds a port that rank 0 could listen on. */
  | {readonly kind: 'noPort'; readonly nodeId: string}
  /** There is room, but over several hosts, of which none but itself reaches this node. */
  | {readonly kind: 'unreachable'; readonly nodeId: string; readonly address: string};

/** Of nodes by whose fault attempts of the job ended, the numbers of those attempts. */
type Failures = ReadonlyMap<string, readonly number[]>;
const NO_FAILURES: Failures = new Map();

/** Places a gang of `count` on what is offered, as far as possible on other nodes than those of `failures`. */
export function placeGang(count: number, offers: readonly Offer[], failures: Failures = NO_FAILURES): Placing {
  const rest = worstFirst(failures).reduce((left, nodeId) => {
    const others = left.filter(offer => offer.nodeId !== nodeId);
    return placeOn(count, others).kind === 'fits' ? others : left;
  }, offers);
  const placing = placeOn(count, rest);
  if (placing.kind !== 'fits') return placing;
  const {gang} = placing;
  return {kind: 'fits', gang: {...gang, reason: [gang.reason, ...explainFailures(failures, offers, rest, gang)].join('; ')}};
}

/** The node that failed most often first; of those that failed equally often the one that failed last. */
function worstFirst(failures: Failures): string[] {
  return [...failures].sort(([, a], [, b]) => b.length - a.length || b.at(-1)! - a.at(-1)!).map(([nodeId]) => nodeId);
}

function explainFailures(failures: Failures, offers: readonly Offer[], rest: readonly Offer[], gang: Gang): string[] {
  return [...failures].flatMap(([nodeId, attempts]) => {
    const failed = attempts.length === 1 ? `attempt ${attempts[0]} failed` : `${attempts.length} attempts failed`;
    if (gang.ranks.some(rank => rank.nodeId === nodeId)) return `${failed} on ${nodeId}, but nothing better has room`;
    const isLeftOut = offers.some(offer => offer.nodeId === nodeId && offer.devices.length > 0 && !rest.includes(offer));
    return isLeftOut ? `${nodeId} is left out, for ${failed} there` : [];
  });
}

function placeOn(count: number, offers: readonly Offer[]): Placing {
  const possible = reachableGroups(offers).map(group => chooseShares(count, group));
  const shares = possible.filter(each => each !== undefined).sort((a, b) => a.length - b.length)[0];
  if (shares === undefined) return whyNowhere(count, offers);
  const ordered = rankOrder(shares);
  const head = ordered[0]!.offer;
  if (head.ports.length === 0) return {kind: 'noPort', nodeId: head.nodeId};
  const rendezvous = {host: head.address, port: Math.min(...head.ports)};
  return {kind: 'fits', gang: {ranks: numberRanks(ordered), rendezvous, reason: explainChoice(count, ordered)}};
}

/** What is still offered once `gang` has its devices and its port. */
export function withoutGang(offers: readonly Offer[], gang: Gang): Offer[] {
  return offers.map(offer => {
    const taken = new Set(gang.ranks.filter(rank => rank.nodeId === offer.nodeId).map(rank => rank.deviceId));
    const isHead = gang.ranks[0]!.nodeId === offer.nodeId;
    return {
      ...offer,
      devices: offer.devices.filter(device => !taken.has(device.id)),
      ports: isHead ? offer.ports.filter(port => port !== gang.rendezvous.port) : offer.ports,
    };
  });
}

export function devicesIn(offers: readonly Offer[]): number {
  return offers.reduce((sum, offer) => sum + offer.devices.length, 0);
}

function whyNowhere(count: number, offers: readonly Offer[]): Placing {
  const shutIn = devicesIn(offers) < count ? undefined : offers.find(isShutIn);
  if (shutIn === undefined) return {kind: 'noRoom', free: devicesIn(offers)};
  return {kind: 'unreachable', nodeId: shutIn.nodeId, address: shutIn.address};
}

/** Nodes whose ranks can all reach each other: a loopback address means another host on each host. */
function reachableGroups(offers: readonly Offer[]): (readonly Offer[])[] {
  const shutIn = offers.filter(isShutIn);
  if (shutIn.length === 0) return [offers];
  const hosts = [...new Set(shutIn.map(({hostname}) => hostname))];
  return [offers.filter(offer => !isShutIn(offer)), ...hosts.map(host => offers.filter(({hostname}) => hostname === host))];
}

/** Whether other hosts cannot reach the node. */
function isShutIn({address, devices}: Offer): boolean {
  return devices.length > 0 && isLoopback(address);
}

/** How many devices of which node. */
interface Share {
  readonly offer: Offer;
  readonly devices: readonly Device[];
}

/** One model's devices if they will do, else a mixture: the slowest one sets the pace of a gang. */
function chooseShares(count: number, offers: readonly Offer[]): Share[] | undefined {
  const models = [...new Set(offers.flatMap(offer => offer.devices.map(device => device.model)))].sort();
  const pure = models.map(model =>
    chooseNodes(
      count,
      offers.map(offer => onlyModel(offer, model)),
    ),
  );
  const found = pure.filter(shares => shares !== undefined).sort((a, b) => a.length - b.length)[0];
  return found ?? chooseNodes(count, offers);
}

function onlyModel(offer: Offer, model: string): Offer {
  return {...offer, devices: offer.devices.filter(device => device.model === model)};
}

/**
 * The fewest nodes that have room for `count`: the biggest first, and for what remains the tightest one that will do, so that big holes
 * stay for big gangs.
 */
function chooseNodes(count: number, offers: readonly Offer[]): Share[] | undefined {
  if (devicesIn(offers) < count) return undefined;
  const biggestFirst = [...offers].sort((a, b) => b.devices.length - a.devices.length || compareIds(a, b));
  const shares: Share[] = [];
  for (let missing = count; missing > 0; ) {
    const left = biggestFirst.filter(offer => !shares.some(share => share.offer === offer));
    const tightest = left.filter(offer => offer.devices.length >= missing).sort(byFreeThenId)[0];
    const offer = tightest ?? left[0]!;
    const devices = bestLinked(offer.devices, Math.min(missing, offer.devices.length));
    shares.push({offer, devices});
    missing -= devices.length;
  }
  return shares;
}

function byFreeThenId(a: Offer, b: Offer): number {
  return a.devices.length - b.devices.length || compareIds(a, b);
}

function compareIds(a: Offer, b: Offer): number {
  return a.nodeId < b.nodeId ? -1 : 1;
}

/** Biggest share first; but rank 0, and with it the rendezvous, on a node that holds a port. */
function rankOrder(shares: readonly Share[]): Share[] {
  const ordered = [...shares].sort((a, b) => b.devices.length - a.devices.length || compareIds(a.offer, b.offer));
  const head = ordered.find(share => share.offer.ports.length > 0);
  return head === undefined ? ordered : [head, ...ordered.filter(share => share !== head)];
}

function numberRanks(shares: readonly Share[]): RankPlacement[] {
  const places = shares.flatMap(({offer, devices}) =>
    devices.map((device, localRank) => ({nodeId: offer.nodeId, deviceId: device.id, localRank})),
  );
  return places.map((place, rank) => ({rank, ...place}));
}

function explainChoice(count: number, shares: readonly Share[]): string {
  const what = countDevices(count, shares[0]!.devices[0]!.kind);
  if (shares.length > 1) {
    const each = shares.map(({offer, devices}) => `${offer.nodeId} ${devices.length}`).join(', ');
    return `${what} over ${shares.length} nodes (${each}): ${shares.length === 2 ? 'no single one has' : 'fewer do not have'} room`;
  }
  const {offer, devices} = shares[0]!;
  const link = slowestLink(devices);
  return count === 1
    ? `${what} on ${offer.nodeId}`
    : `${what} on one node, ${offer.nodeId}${link === undefined ? '' : `, linked by ${link}`}`;
}

/** `2 GPUs`, `1 CPU slot`. */
export function countDevices(count: number, kind: DeviceKind): string {
  return `${count} ${kind === 'cuda' ? 'GPU' : 'CPU slot'}${count === 1 ? '' : 's'}`;
}

/**
 * What jobs of this cluster run on. CPU slots stand in for GPUs only where no node has one: a job that waits for a GPU should not find
 * itself on a CPU, a hundred times slower, because all GPUs are taken, or their hosts start anew. But records of nodes stay for ever, so
 * those that stay away count no longer: one that once had a GPU would keep all jobs from the CPU slots that are left.
 */
export function clusterKind(snapshot: Snapshot, now: Instant, policy: Policy): DeviceKind {
  if (lostGpuNodes(snapshot, now, policy).length > 0) return 'cuda';
  const all = notLost(snapshot, now, policy).flatMap(([, {record}]) => record.devices);
  return all.length === 0 || all.some(device => device.kind === 'cuda') ? 'cuda' : 'cpu';
}

/** Nodes with GPUs that are lost, but may come back soon. */
export function lostGpuNodes(snapshot: Snapshot, now: Instant, policy: Policy): string[] {
  return [...snapshot.nodes]
    .filter(([, view]) => presence(view, now, policy).kind === 'lost' && now < view.lastSeenAt + policy.gpuReturnMs)
    .filter(([, {record}]) => record.devices.some(device => device.kind === 'cuda'))
    .map(([nodeId]) => nodeId)
    .sort();
}

/** Everything that the nodes not lost would offer if nothing ran: what a gang may hope for. */
export function capacity(snapshot: Snapshot, now: Instant, policy: Policy): Offer[] {
  const kind = clusterKind(snapshot, now, policy);
  return notLost(snapshot, now, policy).map(([nodeId, {record}]) => ({
    nodeId,
    hostname: record.hostname,
    address: record.address,
    devices: record.devices.filter(device => device.kind === kind),
    ports: [],
  }));
}

/** What can be placed on now: of nodes that are here and stay, the devices that neither a plan nor a live process holds, and the ports no plan names. */
export function freeOffers(snapshot: Snapshot, now: Instant, policy: Policy): Offer[] {
  const held = heldByPlans(snapshot, now, policy);
  return capacity(snapshot, now, policy).flatMap(offer => {
    const node = presence(snapshot.nodes.get(offer.nodeId), now, policy);
    if (node.kind !== 'here' || isStopping(node.report)) return [];
    const busy = devicesWithProcesses(node.report);
    return {
      ...offer,
      devices: offer.devices.filter(device => !busy.has(device.id) && !held.devices.has(placeKey(offer.nodeId, device.id))),
      ports: node.report.rendezvousPorts.filter(port => !held.ports.has(placeKey(offer.nodeId, String(port)))),
    };
  });
}

/** By id. */
function notLost(snapshot: Snapshot, now: Instant, policy: Policy) {
  return [...snapshot.nodes].filter(([, view]) => presence(view, now, policy).kind !== 'lost').sort(([a], [b]) => (a < b ? -1 : 1));
}

function placeKey(nodeId: string, what: string): string {
  return `${nodeId}/${what}`;
}

function devicesWithProcesses(report: NodeReport): Set<string> {
  const ranks = report.attempts.flatMap(attempt => attempt.ranks);
  return new Set(ranks.filter(rank => rank.state !== 'exited').map(rank => rank.deviceId));
}

/** What active plans hold, and what plans of ended attempts hold until their processes are proven gone. */
function heldByPlans(snapshot: Snapshot, now: Instant, policy: Policy): {devices: Set<string>; ports: Set<string>} {
  const devices = new Set<string>();
  const ports = new Set<string>();
  for (const plan of snapshot.plans.values()) {
    const heldRanks = ranksHeld(plan, snapshot, now, policy);
    for (const rank of heldRanks) devices.add(placeKey(rank.nodeId, rank.deviceId));
    if (heldRanks.some(({rank}) => rank === 0)) ports.add(placeKey(plan.ranks[0]!.nodeId, String(plan.rendezvous.port)));
  }
  return {devices, ports};
}

function ranksHeld(plan: GenerationPlan, snapshot: Snapshot, now: Instant, policy: Policy): readonly RankPlacement[] {
  const job = snapshot.jobs.get(plan.jobId)?.value;
  if (job === undefined || job.status.phase === 'ended') return [];
  if (activeAttempt(job)?.number === plan.attempt) return plan.ranks;
  const record = job.attempts.find(attempt => attempt.number === plan.attempt);
  if (record === undefined) return [];
  const left = remains(plan, record, snapshot, now, policy).flatMap(node => (node.kind === 'gone' ? [] : node.nodeId));
  return plan.ranks.filter(rank => left.includes(rank.nodeId));
}
