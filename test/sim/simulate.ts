import {committedLedger, FIRST_CURSOR, isExact} from '../../coordinator/core/ledger.js';
import {considerQueue} from '../../coordinator/core/queue.js';
import {DEFAULT_POLICY} from '../../coordinator/core/snapshot.js';
import {assertNever} from '../../shared/assertNever.js';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {JobRecord} from '../../shared/job.js';
import type {Device} from '../../shared/observation.js';
import {Chance, VirtualClock} from './clock.js';
import {FakeAgent} from './fakeAgent.js';
import {type Core, FakeCoordinator} from './fakeCoordinator.js';
import {Records, readyDataset} from './records.js';
import {FAULTS_UNTIL_MS, type Fault, type Story} from './story.js';
import {globalBatch, SAMPLES, Trainers} from './trainers.js';

/** A cancel takes no longer than that, once nothing goes wrong any more: the time-out of a node, and some time for messages. */
const CANCEL_WITHIN_MS = DEFAULT_POLICY.nodeTimeoutMs + 10_000;

/** How long everything may take after the last fault: longer than any pause between attempts, any time-out, and the training itself. */
const PATIENCE_MS = 30 * 60_000;

export interface Outcome {
  readonly jobs: readonly JobRecord[];
  readonly endedAt: number;
  /** First steps of attempts, in order: when all ranks had taken one. */
  readonly firstSteps: readonly {readonly jobId: string; readonly attempt: number; readonly at: number}[];
}

/** Plays a story on the real core. Throws with the law that was broken. */
export function simulate(story: Story, core: Core): Outcome {
  return new Simulation(story, core).run();
}

class Simulation {
  private readonly clock = new VirtualClock();
  private readonly chance: Chance;
  private readonly records = new Records();
  private readonly trainers: Trainers;
  private readonly coordinator: FakeCoordinator;
  private readonly agents = new Map<string, FakeAgent>();
  /** Of each job, the plans of its attempts, oldest first. */
  private readonly plans = new Map<string, GenerationPlan[]>();
  private readonly known = new Set<string>();

  constructor(
    private readonly story: Story,
    core: Core,
  ) {
    this.chance = new Chance(story.seed);
    this.trainers = new Trainers(this.clock, this.chance);
    this.coordinator = new FakeCoordinator(core, this.records, this.clock, this.chance, () => this.afterCommit());
  }

  run(): Outcome {
    this.records.putDataset('d', readyDataset(SAMPLES));
    for (const [nodeId, count] of Object.entries(this.story.nodes)) this.agents.set(nodeId, this.agent(nodeId, count));
    for (const job of this.story.jobs) this.clock.after(job.at, () => this.submit(job));
    for (const fault of this.story.faults) this.clock.after(fault.at, () => this.strike(fault));
    this.clock.run(FAULTS_UNTIL_MS + PATIENCE_MS, () => this.isAllOver());
    this.judgeEnd();
    const firstSteps = this.records
      .allJobs()
      .flatMap(job =>
        job.attempts.flatMap(({number, runningAt}) => (runningAt === null ? [] : {jobId: job.id, attempt: number, at: runningAt})),
      );
    return {jobs: this.records.allJobs(), endedAt: this.clock.now(), firstSteps};
  }

  private agent(nodeId: string, count: number): FakeAgent {
    const devices = Array.from({length: count}, (_, index) => gpu(index));
    const identity = {nodeId, hostname: nodeId, agentVersion: '1', address: `host-${nodeId}`, devices};
    return new FakeAgent(identity, this.clock, this.chance, this.trainers, this.coordinator);
  }

  private submit({id, gpus, priority, epochs}: Story['jobs'][number]): void {
    const spec = {data: 'datasets/d', priority, resources: {gpus}, train: {batch: 4, epochs}};
    this.records.submit(id, spec, this.clock.now());
    this.coordinator.wake();
  }

  private strike(fault: Fault): void {
    switch (fault.kind) {
      case 'killRank':
        for (const process of this.rank(fault)) this.trainers.exit(process, 'killed');
        break;
      case 'hangRank':
        for (const process of this.rank(fault)) process.isHung = true;
        break;
      case 'killAgent':
        this.agents.get(fault.node)!.die(fault.forMs);
        break;
      case 'cutNode':
        this.agents.get(fault.node)!.cut(fault.forMs);
        break;
      case 'fillDisk':
        this.fillDisk(this.agents.get(fault.node)!, fault.forMs);
        break;
      case 'killCoordinator':
        if (this.coordinator.isUp) this.coordinator.die(fault.forMs);
        break;
      case 'stopStore':
        this.stopStore(fault.forMs);
        break;
      case 'rotCheckpoint':
        this.rotNewestCheckpoint(fault.job);
        break;
      case 'cancel':
        if (this.isSubmitted(fault.job)) this.records.cancel(fault.job, this.clock.now());
        this.coordinator.wake();
        break;
      default:
        assertNever(fault);
    }
  }

  private stopStore(forMs: number): void {
    this.coordinator.isStoreDown = true;
    this.clock.after(forMs, () => {
      this.coordinator.isStoreDown = false;
      this.coordinator.wake();
    });
  }

  private rotNewestCheckpoint(jobId: string): void {
    const newest = this.isSubmitted(jobId) ? this.records.checkpointsOf(jobId).at(-1) : undefined;
    if (newest !== undefined) this.trainers.rotten.add(`${jobId}/${newest.step}/${newest.attempt}`);
  }

  private rank({job, rank}: {job: string; rank: number}) {
    return this.trainers.liveOf(job).filter(process => process.rank === rank);
  }

  private fillDisk(agent: FakeAgent, forMs: number): void {
    agent.isDiskFull = true;
    this.clock.after(forMs, () => {
      agent.isDiskFull = false;
    });
  }

  private isSubmitted(jobId: string): boolean {
    return this.records.allJobs().some(job => job.id === jobId);
  }

  private afterCommit(): void {
    for (const job of this.records.allJobs()) {
      const plan = this.records.plan(job.id);
      const plans = this.plans.get(job.id) ?? [];
      if (plan !== undefined && plans.at(-1)?.generation !== plan.generation) this.plans.set(job.id, [...plans, plan]);
      if (job.status.phase === 'ended' && !this.known.has(job.id)) this.judgeJobEnd(job);
    }
  }

  /** A final state means that nothing of the job is alive where the coordinator can see. */
  private judgeJobEnd(job: JobRecord): void {
    this.known.add(job.id);
    const left = this.trainers.liveOf(job.id).filter(process => this.agents.get(process.nodeId)!.isConnected);
    if (left.length > 0) throw new Error(`L6: ${job.id} has ended, and its rank ${left[0]!.rank} is alive on ${left[0]!.nodeId}`);
  }

  private isAllOver(): boolean {
    const jobs = this.records.allJobs();
    const isEveryoneHere =
      jobs.length === this.story.jobs.length && this.clock.now() >= Math.max(0, ...this.story.faults.map(({at}) => at));
    return isEveryoneHere && jobs.every(job => job.status.phase === 'ended') && this.trainers.all.every(({state}) => state === 'exited');
  }

  private judgeEnd(): void {
    for (const job of this.records.allJobs()) {
      if (job.status.phase !== 'ended') throw new Error(`L9: ${job.id} is ${job.status.phase}: ${this.excuse(job)}`);
      if (job.status.outcome === 'succeeded') this.judgeLedger(job);
      if (job.status.outcome === 'cancelled') this.judgeCancel(job.id, job.status.at - job.cancelRequestedAt!, job.status.at);
    }
    const left = this.trainers.all.find(({state}) => state !== 'exited');
    if (left !== undefined) throw new Error(`L6: rank ${left.rank} of ${left.plan.jobId} is alive, and every job has ended`);
  }

  private judgeCancel(jobId: string, tookMs: number, endedAt: number): void {
    const calmAt = Math.max(0, ...this.story.faults.map(fault => fault.at + ('forMs' in fault ? fault.forMs : 0)));
    if (Math.min(tookMs, endedAt - calmAt) > CANCEL_WITHIN_MS) throw new Error(`L9: ${jobId} took ${tookMs} ms to be cancelled`);
  }

  private excuse(job: JobRecord): string {
    const entry = considerQueue(this.coordinator.snapshot(), this.clock.now(), DEFAULT_POLICY).find(({job: {id}}) => id === job.id);
    return entry?.standing.kind === 'waits' ? entry.standing.reasons.map(({message}) => message).join('; ') : 'no reason given';
  }

  /** L3: in the committed history every sample of every epoch was taken once. */
  private judgeLedger(job: JobRecord): void {
    const {epochs, seed} = job.spec.train;
    const batch = globalBatch(job.spec.train);
    const history = this.plans.get(job.id)!.map(plan => ({
      number: plan.attempt,
      start: plan.startFrom?.cursor ?? FIRST_CURSOR,
      batch,
      worldSize: plan.ranks.length,
      events: this.coordinator.journal.get(`${job.id}/${plan.attempt}`) ?? [],
    }));
    const ledger = committedLedger(history, {epoch: epochs + 1, offset: 0}, {seed, samples: SAMPLES});
    const wrong = ledger.find(epoch => !isExact(epoch));
    if (wrong === undefined && ledger.length === epochs) return;
    throw new Error(
      `L3: ${job.id} epoch ${wrong?.epoch}: missing ${wrong?.missing}; repeated ${wrong?.repeated}; misplaced ${wrong?.misplaced}`,
    );
  }
}

function gpu(index: number): Device {
  return {id: `gpu-${index}`, kind: 'cuda', index, model: 'any', memoryBytes: 2 ** 34, threads: 1, links: {}};
}
