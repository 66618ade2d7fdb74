import {FIRST_CURSOR} from '../../coordinator/core/ledger.js';
import {permutation, rankPositions} from '../../coordinator/core/sampleOrder.js';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {Cursor} from '../../shared/checkpoint.js';
import {type EndCode, type EndReason, endReason} from '../../shared/endReason.js';
import type {TrainArguments} from '../../shared/trainArguments.js';
import type {Chance, VirtualClock} from './clock.js';

/** Trainer processes as the core could meet them: they find each other, step together, fall over each other, and tell what they consume. */

export const SAMPLES = 10;

const STEP_MS = 100;
const JOIN_MS = 50;
const RENDEZVOUS_TIMEOUT_MS = 10_000;
const COLLECTIVE_TIMEOUT_MS = 5_000;

export interface Process {
  readonly plan: GenerationPlan;
  readonly rank: number;
  readonly nodeId: string;
  readonly deviceId: string;
  readonly listener: ProcessListener;
  state: 'starting' | 'running' | 'exited';
  exit: EndReason | undefined;
  isHung: boolean;
}

export interface ProcessListener {
  changed(): void;
  consumed(process: Process, event: {epoch: number; from: number; to: number; ids: readonly number[]}): void;
  checkpoint(process: Process, checkpoint: {step: number; cursor: Cursor}): void;
}

interface GangState {
  readonly members: Map<number, Process>;
  hasJoined: boolean;
  step: number;
  cursor: Cursor;
}

export class Trainers {
  readonly all: Process[] = [];
  /** `job/step/attempt` of committed checkpoints whose files have rotted. */
  readonly rotten = new Set<string>();
  private readonly gangs = new Map<number, GangState>();

  constructor(
    private readonly clock: VirtualClock,
    private readonly chance: Chance,
  ) {}

  /** Throws when another live process has the same place in the world, or the device (L5). */
  spawn(plan: GenerationPlan, rank: number, listener: ProcessListener): Process {
    const {nodeId, deviceId} = plan.ranks[rank]!;
    const rival = this.all.find(other => isAlive(other) && other.nodeId === nodeId && other.deviceId === deviceId);
    if (rival !== undefined) throw new Error(`L5: ${plan.jobId} on ${nodeId}/${deviceId}, where ${rival.plan.jobId} is alive`);
    const twin = this.all.find(other => isAlive(other) && other.plan.generation === plan.generation && other.rank === rank);
    if (twin !== undefined) throw new Error(`L5: two lives of rank ${rank} of ${plan.jobId}, generation ${plan.generation}`);
    const process: Process = {plan, rank, nodeId, deviceId, listener, state: 'starting', exit: undefined, isHung: false};
    this.all.push(process);
    this.clock.after(this.chance.between(5, 40), () => this.begin(process));
    return process;
  }

  exit(process: Process, code: EndCode, message = ''): void {
    if (process.state === 'exited') return;
    process.state = 'exited';
    process.exit = endReason(code, message);
    const gang = this.gangs.get(process.plan.generation);
    if (gang?.hasJoined && code !== 'completed')
      for (const peer of gang.members.values())
        if (isAlive(peer) && !peer.isHung) this.exitSoon(peer, this.chance.between(1, 30), 'peer_lost');
    process.listener.changed();
  }

  liveOf(jobId: string): Process[] {
    return this.all.filter(process => process.plan.jobId === jobId && isAlive(process));
  }

  private exitSoon(process: Process, ms: number, code: EndCode): void {
    this.clock.after(ms, () => this.exit(process, code));
  }

  private begin(process: Process): void {
    const {plan} = process;
    if (!isAlive(process)) return;
    if (this.isRotten(plan)) {
      this.exit(process, 'bad_checkpoint');
      return;
    }
    const gang = this.gangs.get(plan.generation) ?? newGang(plan);
    this.gangs.set(plan.generation, gang);
    gang.members.set(process.rank, process);
    const present = [...gang.members.values()].filter(isAlive).length;
    if (present === plan.ranks.length && !gang.hasJoined) this.clock.after(JOIN_MS, () => this.join(gang));
    this.clock.after(RENDEZVOUS_TIMEOUT_MS, () => {
      if (!gang.hasJoined || gang.members.get(process.rank) !== process) this.exit(process, 'rendezvous_failed');
    });
  }

  private isRotten({jobId, startFrom}: GenerationPlan): boolean {
    return startFrom !== null && this.rotten.has(`${jobId}/${startFrom.step}/${startFrom.attempt}`);
  }

  private join(gang: GangState): void {
    const members = [...gang.members.values()];
    if (gang.hasJoined || !members.every(isAlive)) return;
    gang.hasJoined = true;
    this.step(gang);
  }

  /** One optimizer step: all ranks say what they take, and then all succeed or none. */
  private step(gang: GangState): void {
    const members = [...gang.members.values()];
    const {epoch, offset} = gang.cursor;
    const {train} = members[0]!.plan;
    const batch = globalBatch(train);
    const to = Math.min(offset + batch, SAMPLES);
    const order = permutation(train.seed, epoch, SAMPLES);
    for (const process of members.filter(member => isAlive(member) && !member.isHung)) {
      const positions = rankPositions(process.rank, offset, to, {batch, worldSize: members.length});
      process.listener.consumed(process, {epoch, from: offset, to, ids: positions.map(position => order[position]!)});
    }
    this.clock.after(STEP_MS, () => this.finishStep(gang, to));
  }

  private finishStep(gang: GangState, to: number): void {
    const members = [...gang.members.values()];
    if (!members.every(isAlive)) return;
    if (members.some(member => member.isHung)) {
      for (const waiting of members.filter(member => !member.isHung)) this.exitSoon(waiting, COLLECTIVE_TIMEOUT_MS, 'collective_timeout');
      return;
    }
    gang.step++;
    const isEpochDone = to === SAMPLES;
    gang.cursor = isEpochDone ? {epoch: gang.cursor.epoch + 1, offset: 0} : {...gang.cursor, offset: to};
    for (const member of members.filter(({state}) => state === 'starting')) {
      member.state = 'running';
      member.listener.changed();
    }
    const [head] = members.filter(({rank}) => rank === 0);
    if (isEpochDone) head!.listener.checkpoint(head!, {step: gang.step, cursor: gang.cursor});
    if (gang.cursor.epoch > head!.plan.train.epochs) for (const member of members) this.exit(member, 'completed');
    else this.step(gang);
  }
}

/** The simulator's jobs name their batch: nothing is measured here. */
export function globalBatch({batch}: TrainArguments): number {
  if (batch === 'auto') throw new Error('a simulated job has batch: auto');
  return batch;
}

export function isAlive(process: Process): boolean {
  return process.state !== 'exited';
}

function newGang(plan: GenerationPlan): GangState {
  return {members: new Map(), hasJoined: false, step: plan.startFrom?.step ?? 0, cursor: plan.startFrom?.cursor ?? FIRST_CURSOR};
}
