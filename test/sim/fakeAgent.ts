import type {Consumed} from '../../coordinator/core/ledger.js';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {Cursor} from '../../shared/checkpoint.js';
import {type EndReason, endReason} from '../../shared/endReason.js';
import type {NodeIdentity, NodeReport, ObservedAttempt} from '../../shared/observation.js';
import type {Chance, VirtualClock} from './clock.js';
import type {FakeCoordinator} from './fakeCoordinator.js';
import {isAlive, type Process, type Trainers} from './trainers.js';

/** An event in the outbox: it outlives the agent's process. */
export interface OutboxEntry {
  readonly sequence: number;
  readonly jobId: string;
  readonly attempt: number;
  readonly generation: number;
  readonly consumed: Consumed;
}

interface LocalAttempt {
  readonly plan: GenerationPlan;
  phase: 'fetching' | 'ready' | {readonly failed: EndReason};
  readonly ranks: Map<number, Process>;
  pendingUploads: number;
  isUnwanted: boolean;
}

/** An agent in memory: it does what the newest desired state says, and reports the whole of what it sees at every change. */
export class FakeAgent {
  readonly outbox: OutboxEntry[] = [];
  /** While it lasts, staging fails on this node. */
  isDiskFull = false;
  /** Everything up to this sequence is on the coordinator's disk. */
  private acknowledged = 0;
  private readonly attempts = new Map<number, LocalAttempt>();
  /** Counts lives of the agent's process; what an earlier life had set going is void. */
  private life = 1;
  private isUp = true;
  /** The link's state: whether packets pass, and the session over it. */
  private isCut = false;
  private session = 0;
  private hasSession = false;
  private arrivesAt = 0;

  constructor(
    readonly identity: NodeIdentity,
    private readonly clock: VirtualClock,
    private readonly chance: Chance,
    private readonly trainers: Trainers,
    private readonly coordinator: FakeCoordinator,
  ) {
    this.tryToConnect();
  }

  get isConnected(): boolean {
    return this.hasSession;
  }

  /**
   * SIGKILL to the agent: its ranks die with it, and nobody reports that. From its disk the next agent knows which ranks had been started,
   * so that it never gives one generation a second life (L5).
   */
  die(downMs: number): void {
    if (!this.isUp) return;
    this.isUp = false;
    this.life++;
    this.breakSession(5);
    for (const [generation, attempt] of this.attempts) {
      for (const process of attempt.ranks.values()) this.trainers.exit(process, 'orphaned');
      attempt.pendingUploads = 0;
      if (attempt.ranks.size === 0) this.attempts.delete(generation);
    }
    this.clock.after(downMs, () => {
      this.isUp = true;
    });
  }

  /** No packet passes for a while. The coordinator notices by its keepalive. */
  cut(forMs: number): void {
    this.isCut = true;
    this.breakSession(3_000);
    this.clock.after(forMs, () => {
      this.isCut = false;
    });
  }

  /** The coordinator has gone away. */
  loseCoordinator(): void {
    this.hasSession = false;
    this.session++;
  }

  /** The node's whole desired state has arrived. */
  receive(session: number, plans: readonly GenerationPlan[]): void {
    if (session !== this.session || !this.hasSession || this.isCut) return;
    for (const attempt of this.attempts.values()) if (!plans.some(plan => plan.generation === attempt.plan.generation)) this.drop(attempt);
    for (const plan of plans) if (!this.attempts.has(plan.generation)) this.stage(plan);
  }

  /** The coordinator has journaled the outbox up to `sequence`. */
  acknowledge(session: number, sequence: number): void {
    if (session !== this.session || !this.hasSession) return;
    this.acknowledged = Math.max(this.acknowledged, sequence);
    if ([...this.attempts.values()].some(attempt => [...attempt.ranks.values()].some(process => !isAlive(process)))) this.changed();
  }

  private tryToConnect(): void {
    if (this.isUp && !this.isCut && !this.hasSession && this.coordinator.isUp) {
      this.hasSession = true;
      this.session++;
      this.coordinator.hello(this, this.session, this.report());
      this.sendOutbox();
    }
    this.clock.after(this.chance.between(100, 500), () => this.tryToConnect());
  }

  private breakSession(noticedAfterMs: number): void {
    if (!this.hasSession) return;
    const broken = this.session;
    this.loseCoordinator();
    this.clock.after(noticedAfterMs, () => this.coordinator.sessionBroke(this, broken));
  }

  private stage(plan: GenerationPlan): void {
    const attempt: LocalAttempt = {plan, phase: 'fetching', ranks: new Map(), pendingUploads: 0, isUnwanted: false};
    this.attempts.set(plan.generation, attempt);
    this.changed();
    this.later(this.chance.between(20, 200), () => {
      if (attempt.isUnwanted) return;
      attempt.phase = this.isDiskFull ? {failed: endReason('io_error', 'no space left on device')} : 'ready';
      this.changed();
      if (attempt.phase === 'ready') this.spawnWhenFree(attempt);
    });
  }

  private spawnWhenFree(attempt: LocalAttempt): void {
    if (attempt.isUnwanted) return;
    const mine = attempt.plan.ranks.filter(({nodeId}) => nodeId === this.identity.nodeId);
    const isHere = (process: Process): boolean => isAlive(process) && process.nodeId === this.identity.nodeId;
    const isBusy = this.trainers.all.some(process => isHere(process) && mine.some(place => place.deviceId === process.deviceId));
    if (isBusy) {
      this.later(20, () => this.spawnWhenFree(attempt));
      return;
    }
    for (const {rank} of mine) attempt.ranks.set(rank, this.trainers.spawn(attempt.plan, rank, this.listenTo(attempt)));
    this.changed();
  }

  private listenTo(attempt: LocalAttempt) {
    return {
      changed: () => {
        if (attempt.isUnwanted && [...attempt.ranks.values()].every(process => !isAlive(process)))
          this.attempts.delete(attempt.plan.generation);
        this.changed();
      },
      consumed: (process: Process, event: Omit<Consumed, 'rank'>) => {
        const {jobId, attempt: number, generation} = attempt.plan;
        const consumed = {...event, rank: process.rank};
        this.outbox.push({sequence: this.outbox.length + 1, jobId, attempt: number, generation, consumed});
        this.sendOutbox();
      },
      checkpoint: (_process: Process, checkpoint: {step: number; cursor: Cursor}) => {
        attempt.pendingUploads++;
        this.changed();
        this.later(this.chance.between(30, 200), () => this.upload(attempt, checkpoint));
      },
    };
  }

  private upload(attempt: LocalAttempt, checkpoint: {step: number; cursor: Cursor}): void {
    if (this.attempts.get(attempt.plan.generation) !== attempt) return;
    const outcome = this.hasSession ? this.coordinator.uploadCheckpoint(attempt.plan, checkpoint) : 'later';
    if (outcome === 'later') {
      this.later(100, () => this.upload(attempt, checkpoint));
      return;
    }
    attempt.pendingUploads--;
    this.changed();
  }

  /** Ends what is no longer desired; it is forgotten when its last process is gone. */
  private drop(attempt: LocalAttempt): void {
    if (attempt.isUnwanted) return;
    attempt.isUnwanted = true;
    const alive = [...attempt.ranks.values()].filter(isAlive);
    if (alive.length === 0) this.attempts.delete(attempt.plan.generation);
    for (const process of alive) this.later(this.chance.between(5, 50), () => this.trainers.exit(process, 'killed'));
    this.changed();
  }

  private changed(): void {
    if (!this.isUp || !this.hasSession) return;
    const {session} = this;
    const report = this.report();
    this.inOrder(() => this.coordinator.reported(this, session, report));
  }

  private sendOutbox(): void {
    if (!this.isUp || !this.hasSession) return;
    const {session} = this;
    this.inOrder(() => this.coordinator.receiveEvents(this, session, this.outbox));
  }

  /** Messages of one agent never overtake each other. */
  private inOrder(deliver: () => void): void {
    this.arrivesAt = Math.max(this.arrivesAt, this.clock.now() + this.chance.between(1, 10));
    this.clock.after(this.arrivesAt - this.clock.now(), deliver);
  }

  private later(ms: number, act: () => void): void {
    const {life} = this;
    this.clock.after(ms, () => {
      if (this.life === life) act();
    });
  }

  /** What is not acknowledged yet counts as still to be uploaded: a job must not end before its last words are heard. */
  private report(): NodeReport {
    const attempts = [...this.attempts.values()].map(attempt => {
      const isHeard = !this.outbox.slice(this.acknowledged).some(({generation}) => generation === attempt.plan.generation);
      return observe({...attempt, pendingUploads: attempt.pendingUploads + (isHeard ? 0 : 1)});
    });
    return {attempts, rendezvousPorts: [7001, 7002, 7003, 7004]};
  }
}

function observe({plan, phase, ranks, pendingUploads}: LocalAttempt): ObservedAttempt {
  const {jobId, attempt, generation} = plan;
  const stage: ObservedAttempt['stage'] =
    typeof phase === 'object' ? {phase: 'failed', reason: phase.failed} : phase === 'ready' ? {phase} : {phase, message: 'shards'};
  return {
    jobId,
    attempt,
    generation,
    stage,
    pendingUploads,
    ranks: [...ranks.values()].map(({rank, deviceId, state, exit}) =>
      state === 'exited' ? {rank, deviceId, state, reason: exit!} : {rank, deviceId, state, pid: rank + 1},
    ),
  };
}
