import type {Clock} from '../shared/clock.js';
import {alreadyExists, unavailable} from '../shared/errors.js';
import {type Instant, instant} from '../shared/ids.js';
import type {Log} from '../shared/log.js';
import type {NodeIdentity, NodeRecord, NodeReport} from '../shared/observation.js';
import type {AgentHello, AgentMessage, CoordinatorMessage} from '../shared/wire/agent.js';
import {MalformedMessageError} from '../shared/wire/common.js';
import {actingFence} from './acting.js';
import type {ClusterState} from './clusterState.js';
import {noteExits} from './core/exits.js';
import type {NodeView} from './core/snapshot.js';
import type {FencedStore} from './fencedStore.js';
import type {Journal} from './journal.js';
import type {Leadership} from './ports.js';
import {AgentSession} from './session.js';
import {Topic} from './wake.js';

export interface SessionsParts {
  readonly state: ClusterState;
  readonly fenced: FencedStore;
  readonly leadership: Leadership;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  /** As agents are told. */
  readonly coordinatorVersion: string;
}

/** A view of a node with its moments by the monotonic clock, so that setting the wall clock makes nobody lost. */
type Heard = Omit<NodeView, 'lastSeenAt' | 'exitsSeenAt'> & {
  readonly lastSeenMs: number;
  readonly exitsSeenMs: ReadonlyMap<string, number>;
};

const NO_EXITS: ReadonlyMap<string, number> = new Map();

/**
 * The agents that speak to this leader. Each node has one session: a newer one of the same agent, known by its outbox, replaces the older;
 * another agent under the same id is turned away for as long as the first one speaks. What nodes say is kept here alone, not in the store: a
 * new leader hears it anew.
 */
export class Sessions {
  private readonly live = new Map<string, AgentSession>();
  /** What nodes said to this leader, those that are silent now included. */
  private readonly heard = new Map<string, Heard>();
  /** Per node, how far its outbox was acknowledged. */
  private readonly acknowledged = new Map<string, {readonly outboxId: string; readonly sequence: number}>();
  /** Outboxes of agents whose node id was taken, told once each. */
  private readonly turnedAway = new Set<string>();
  private readonly topic = new Topic();
  /** Monotonic, later by the lapses since. */
  private ledSinceMs: number;
  /** Monotonic; undefined: no lapse is known of. */
  private lapsedAtMs: number | undefined;
  /** The revision of the fence that was held last. */
  private leader: number | undefined;

  constructor(readonly parts: SessionsParts) {
    this.ledSinceMs = parts.clock.monotonic();
    parts.leadership.onChange(() => this.noteLeadership());
    this.noteLeadership();
  }

  /** Every node that has a record or a session. */
  nodeViews(): ReadonlyMap<string, NodeView> {
    const views = new Map<string, NodeView>();
    for (const [nodeId, {value: record}] of this.parts.state.nodes)
      views.set(nodeId, this.viewed(this.heard.get(nodeId) ?? this.unheard(record)));
    for (const [nodeId, heard] of this.heard) if (!views.has(nodeId)) views.set(nodeId, this.viewed(heard));
    return views;
  }

  /** One node alone, if it has spoken to this leader. */
  viewOf(nodeId: string): ReadonlyMap<string, NodeView> {
    const heard = this.heard.get(nodeId);
    return new Map(heard === undefined ? [] : [[nodeId, this.viewed(heard)]]);
  }

  /** Calls back when a node came, went, or reported something else. Returns how to stop that. */
  onChange(listener: () => void): () => void {
    return this.topic.subscribe(listener);
  }

  /**
   * Serves one agent's session: yields what it shall be told, until it hangs up or `signal` aborts. Throws a DomainError when the agent
   * should go elsewhere or come again: not the leader, replaced by a newer session, another agent has its node id, malformed message.
   */
  async *serve(messages: AsyncIterable<AgentMessage>, signal: AbortSignal): AsyncGenerator<CoordinatorMessage> {
    const incoming = messages[Symbol.asyncIterator]();
    const first = await untilAborted(incoming.next(), signal);
    if (first === undefined || first.done) return;
    if (first.value.kind !== 'hello') throw new MalformedMessageError('message', 'must be a hello: the agent speaks first');
    const {hello} = first.value;
    const fence = actingFence(this.parts.leadership, this.parts.state);
    if (fence === undefined) throw unavailable('this coordinator does not lead now');

    this.refuseDouble(hello);
    await this.storeNode(hello.identity);
    const session = this.open(hello, signal);
    try {
      const {coordinatorVersion} = this.parts;
      yield {kind: 'welcome', leaderGeneration: fence.revision, coordinatorVersion, acknowledged: this.acknowledgedTo(hello)};
      yield* session.talk(incoming);
    } finally {
      this.close(hello.identity.nodeId, session);
    }
  }

  /** What a session hears from its agent. */
  noteReport(identity: NodeIdentity, report: NodeReport): void {
    const nowMs = this.parts.clock.monotonic();
    const {nodeId} = identity;
    const exitsSeenMs = noteExits(this.heard.get(nodeId)?.exitsSeenMs ?? NO_EXITS, report, nowMs);
    this.heard.set(nodeId, {record: identity, connected: true, lastSeenMs: nowMs, report, exitsSeenMs});
    this.topic.publish();
  }

  noteAcknowledged({identity, outboxId}: AgentHello, sequence: number): void {
    this.acknowledged.set(identity.nodeId, {outboxId, sequence});
  }

  private open(hello: AgentHello, signal: AbortSignal): AgentSession {
    // Another may have come while the record was written.
    this.refuseDouble(hello);
    const {nodeId} = hello.identity;
    const older = this.live.get(nodeId);
    const session = new AgentSession(hello, this, signal);
    this.live.set(nodeId, session);
    older?.replace();
    this.parts.log.info(older === undefined ? 'node connected' : 'node connected anew; its older session ends', {node: nodeId});
    this.noteReport(hello.identity, hello.report);
    return session;
  }

  /** Two agents that take turns as one node would each end the other's ranks, and start them a second time (L5). */
  private refuseDouble({identity: {nodeId}, outboxId}: AgentHello): void {
    const holder = this.live.get(nodeId);
    if (holder === undefined || holder.hello.outboxId === outboxId || !holder.isWell) return;
    const {hostname} = holder.hello.identity;
    const advice =
      'another agent needs a node id of its own (--node-id); one that lost its data folder gets in once the older one has ended';
    const message = `nodes/${nodeId} is taken: an agent on ${hostname} is connected as ${nodeId}; ${advice}`;
    if (!this.turnedAway.has(outboxId))
      this.parts.log.warn('an agent is turned away: another is connected as its node', {node: nodeId, hostname});
    this.turnedAway.add(outboxId);
    throw alreadyExists('node', `nodes/${nodeId}`, message);
  }

  private close(nodeId: string, session: AgentSession): void {
    session.end();
    if (this.live.get(nodeId) !== session) return;
    this.live.delete(nodeId);
    const heard = this.heard.get(nodeId);
    if (heard !== undefined) this.heard.set(nodeId, {...heard, connected: false, lastSeenMs: this.parts.clock.monotonic()});
    this.parts.log.info('node disconnected', {node: nodeId});
    this.topic.publish();
  }

  private acknowledgedTo({identity, outboxId}: AgentHello): number {
    const known = this.acknowledged.get(identity.nodeId);
    return known?.outboxId === outboxId ? known.sequence : 0;
  }

  /** Writes the node's record, when it differs from what is stored. */
  private async storeNode(record: NodeRecord): Promise<void> {
    const {state, fenced} = this.parts;
    const value = JSON.stringify(record);
    if (JSON.stringify(state.nodes.get(record.nodeId)?.value) === value) return;
    const key = state.keys.node(record.nodeId);
    await fenced.commit({what: `storing node ${record.nodeId}`, comparisons: [], operations: [{kind: 'put', key, value}]});
  }

  private unheard(record: NodeRecord): Heard {
    return {record, connected: false, lastSeenMs: this.ledSinceMs, report: null, exitsSeenMs: NO_EXITS};
  }

  /** As decisions and people see it: moments of the wall clock, as far back from now as they were. */
  private viewed({lastSeenMs, exitsSeenMs, ...view}: Heard): NodeView {
    const {clock} = this.parts;
    const bootMs = clock.now() - clock.monotonic();
    const wall = (ms: number): Instant => instant(Math.round(bootMs + ms));
    return {...view, lastSeenAt: wall(lastSeenMs), exitsSeenAt: new Map([...exitsSeenMs].map(([exit, ms]) => [exit, wall(ms)]))};
  }

  /**
   * Told when leadership was won, lapsed, or came back. A lapse is left out of the silence of nodes: nobody was let in meanwhile. What they
   * said last holds on through it. A new leader, even if it is the same process again, knows of silent nodes only that they exist: in between
   * they may have spoken to another.
   */
  private noteLeadership(): void {
    const fence = this.parts.leadership.fence();
    const nowMs = this.parts.clock.monotonic();
    if (fence === undefined) {
      this.lapsedAtMs ??= nowMs;
      return;
    }
    if (fence.revision === this.leader) this.forgiveLapse(nowMs);
    else {
      this.ledSinceMs = nowMs;
      for (const nodeId of [...this.heard.keys()]) if (!this.live.has(nodeId)) this.heard.delete(nodeId);
    }
    this.leader = fence.revision;
    this.lapsedAtMs = undefined;
  }

  /** Only the silence of the lapse: were all of it forgiven, a dead node would be waited for for as long as lapses come often. */
  private forgiveLapse(nowMs: number): void {
    if (this.lapsedAtMs === undefined) return;
    const lapseMs = nowMs - this.lapsedAtMs;
    // Those who fell silent during the lapse have been silent for less than it.
    const forgiven = (sinceMs: number): number => Math.min(nowMs, sinceMs + lapseMs);
    this.ledSinceMs = forgiven(this.ledSinceMs);
    for (const [nodeId, heard] of [...this.heard])
      if (!this.live.has(nodeId)) this.heard.set(nodeId, {...heard, lastSeenMs: forgiven(heard.lastSeenMs)});
  }
}

/** Undefined when `signal` aborts first: an agent that vanished before it spoke would else be waited for for ever. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  let onAbort = (): void => undefined;
  const aborted = new Promise<undefined>(resolve => {
    onAbort = () => resolve(undefined);
    signal.addEventListener('abort', onAbort, {once: true});
  });
  try {
    return await Promise.race([promise, aborted]);
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
