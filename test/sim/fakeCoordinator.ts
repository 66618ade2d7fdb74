import type {Deliberation, decide} from '../../coordinator/core/decide.js';
import type {desired} from '../../coordinator/core/desired.js';
import {noteExits} from '../../coordinator/core/exits.js';
import {type Consumed, coveredUpTo, FIRST_CURSOR} from '../../coordinator/core/ledger.js';
import {DEFAULT_POLICY, type NodeView, type Snapshot} from '../../coordinator/core/snapshot.js';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {type Cursor, compareCursors} from '../../shared/checkpoint.js';
import type {NodeReport} from '../../shared/observation.js';
import type {Chance, VirtualClock} from './clock.js';
import type {FakeAgent, OutboxEntry} from './fakeAgent.js';
import type {Records} from './records.js';
import {SAMPLES} from './trainers.js';

/** What decides: the real core, or a broken one to prove that the simulator would notice. */
export interface Core {
  readonly decide: typeof decide;
  readonly desired: typeof desired;
}

/** A coordinator in memory around the real core: sessions, the loop, and the journal of consumed samples. It can die and be followed. */
export class FakeCoordinator {
  isUp = true;
  /** While it lasts, no transaction goes through. */
  isStoreDown = false;
  /** Of each job and attempt, what its ranks consumed; on disk, so it outlives the coordinator. */
  readonly journal = new Map<string, Consumed[]>();
  private readonly highWater = new Map<string, number>();
  private readonly agents = new Map<string, {readonly agent: FakeAgent; readonly session: number}>();
  private views = new Map<string, NodeView>();
  private readonly lastSent = new Map<string, string>();
  private isAwake = false;
  private isDeciding = false;
  private alarmAt: number | undefined;
  private reign = 1;

  constructor(
    private readonly core: Core,
    private readonly records: Records,
    private readonly clock: VirtualClock,
    private readonly chance: Chance,
    private readonly afterCommit: () => void,
  ) {}

  die(downMs: number): void {
    this.isUp = false;
    this.reign++;
    for (const {agent} of this.agents.values()) agent.loseCoordinator();
    this.agents.clear();
    this.clock.after(downMs, () => this.takeOver());
  }

  /** A new leader knows the nodes from the records; none has spoken to it. */
  private takeOver(): void {
    this.isUp = true;
    this.isAwake = false;
    this.isDeciding = false;
    this.alarmAt = undefined;
    this.lastSent.clear();
    const silent = (view: NodeView): NodeView => ({
      ...view,
      connected: false,
      report: null,
      lastSeenAt: this.clock.now(),
      exitsSeenAt: new Map(),
    });
    this.views = new Map([...this.views].map(([nodeId, view]) => [nodeId, silent(view)]));
    this.wake();
  }

  hello(agent: FakeAgent, session: number, report: NodeReport): void {
    const {nodeId} = agent.identity;
    const before = this.views.get(nodeId)?.exitsSeenAt ?? new Map();
    this.agents.set(nodeId, {agent, session});
    this.lastSent.delete(nodeId);
    this.views.set(nodeId, {
      record: agent.identity,
      connected: true,
      lastSeenAt: this.clock.now(),
      report,
      exitsSeenAt: noteExits(before, report, this.clock.now()),
    });
    this.wake();
  }

  reported(agent: FakeAgent, session: number, report: NodeReport): void {
    const {nodeId} = agent.identity;
    const view = this.views.get(nodeId);
    if (!this.isUp || view === undefined || this.agents.get(nodeId)?.session !== session) return;
    const now = this.clock.now();
    this.views.set(nodeId, {...view, lastSeenAt: now, report, exitsSeenAt: noteExits(view.exitsSeenAt, report, now)});
    this.wake();
  }

  sessionBroke(agent: FakeAgent, session: number): void {
    const {nodeId} = agent.identity;
    if (!this.isUp || this.agents.get(nodeId)?.session !== session) return;
    this.agents.delete(nodeId);
    this.views.set(nodeId, {...this.views.get(nodeId)!, connected: false, lastSeenAt: this.clock.now()});
    this.wake();
  }

  /** Journals what it has not seen before; the agent may repeat itself. */
  receiveEvents(agent: FakeAgent, session: number, outbox: readonly OutboxEntry[]): void {
    const {nodeId} = agent.identity;
    if (!this.isUp || this.agents.get(nodeId)?.session !== session) return;
    const seen = this.highWater.get(nodeId) ?? 0;
    for (const {jobId, attempt, consumed} of outbox.slice(seen)) {
      const key = `${jobId}/${attempt}`;
      const journaled = this.journal.get(key) ?? [];
      journaled.push(consumed);
      this.journal.set(key, journaled);
    }
    const heard = outbox.length;
    this.highWater.set(nodeId, heard);
    this.clock.after(this.chance.between(1, 10), () => agent.acknowledge(session, heard));
  }

  /** Commits only what the journal can account for, and only for the attempt that may run. */
  uploadCheckpoint(plan: GenerationPlan, {step, cursor}: {step: number; cursor: Cursor}): 'committed' | 'refused' | 'later' {
    if (!this.isUp || this.isStoreDown) return 'later';
    const start = plan.startFrom?.cursor ?? FIRST_CURSOR;
    const covered = coveredUpTo(this.journal.get(`${plan.jobId}/${plan.attempt}`) ?? [], plan.ranks.length, SAMPLES, start);
    if (compareCursors(cursor, covered) > 0) return 'later';
    const files = [{name: 'model.safetensors', bytes: 1, sha256: '0'.repeat(64)}];
    const record = {step, cursor, files, attempt: plan.attempt, committedAt: this.clock.now()};
    return this.records.commitCheckpoint(plan.jobId, plan.generation, record) ? 'committed' : 'refused';
  }

  /** Wake-ups coalesce; one that comes while it decides makes it look once more. */
  wake(): void {
    if (!this.isUp || this.isAwake) return;
    this.isAwake = true;
    if (!this.isDeciding) this.soon(1, () => this.read());
  }

  snapshot(): Snapshot {
    const now = this.clock.now();
    const heard = [...this.views].map(([id, view]): [string, NodeView] => [id, view.connected ? {...view, lastSeenAt: now} : view]);
    return this.records.snapshot(new Map(heard));
  }

  /** One round: read, decide, commit. Never two at once, for two could give one device away twice. */
  private read(): void {
    this.isAwake = false;
    this.isDeciding = true;
    const snapshot = this.snapshot();
    const deliberation = this.core.decide(snapshot, this.clock.now(), DEFAULT_POLICY);
    this.soon(this.chance.between(1, 5), () => this.carryOut(deliberation, snapshot));
  }

  private carryOut(deliberation: Deliberation, snapshot: Snapshot): void {
    if (this.isStoreDown) {
      this.soon(200, () => this.read());
      return;
    }
    this.isDeciding = false;
    if (this.records.commit(deliberation, snapshot, this.clock.now()).length > 0) this.afterCommit();
    this.sendDesired();
    this.setAlarm(deliberation.lookAgainAt);
    const isPending = this.isAwake || deliberation.decisions.length > 0;
    this.isAwake = false;
    if (isPending) this.wake();
  }

  private setAlarm(at: number | undefined): void {
    if (at === undefined || (this.alarmAt !== undefined && this.alarmAt <= at)) return;
    this.alarmAt = at;
    this.soon(Math.max(1, at - this.clock.now()), () => {
      if (this.alarmAt !== at) return;
      this.alarmAt = undefined;
      this.wake();
    });
  }

  private sendDesired(): void {
    const snapshot = this.snapshot();
    for (const [nodeId, {agent, session}] of this.agents) {
      const plans = this.core.desired(snapshot, nodeId);
      const text = plans.map(plan => plan.generation).join();
      if (this.lastSent.get(nodeId) === text) continue;
      this.lastSent.set(nodeId, text);
      this.clock.after(this.chance.between(1, 10), () => {
        if (this.lastSent.get(nodeId) === text) agent.receive(session, plans);
      });
    }
  }

  private soon(ms: number, act: () => void): void {
    const {reign} = this;
    this.clock.after(ms, () => {
      if (this.isUp && this.reign === reign) act();
    });
  }
}
