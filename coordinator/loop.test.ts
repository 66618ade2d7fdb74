import {afterEach, describe, expect, it} from 'vitest';
import {type Clock, systemClock} from '../shared/clock.js';
import {endReason} from '../shared/endReason.js';
import type {JobRecord} from '../shared/job.js';
import {CoordinatorRig} from '../test/support/coordinatorRig.js';
import {RecordingLog} from '../test/support/recordingLog.js';
import {IDLE, ScriptedAgent} from '../test/support/scriptedAgent.js';
import {ShiftedClock} from '../test/support/shiftedClock.js';
import {MemoryStore} from './adapters/memoryStore.js';
import type {Comparison, Operation} from './ports.js';

let rig: CoordinatorRig;
let agent: ScriptedAgent;
const log = new RecordingLog();

/** With an agent; the loop is still to be started. */
async function start(store = new MemoryStore(), {devices = 4, clock = systemClock}: {devices?: number; clock?: Clock} = {}): Promise<void> {
  rig = await CoordinatorRig.start(store, clock);
  await rig.addDataset('d1', 100);
  agent = new ScriptedAgent(rig.sessions, 'node-a', {devices, report: {...IDLE, rendezvousPorts: [29_400, 29_401, 29_402]}});
  await eventually(() => agent.heard.length).toBe(2);
}

afterEach(async () => {
  log.lines.length = 0;
  await agent.breakOff();
  await rig.stop();
});

const eventually = <T>(look: () => T) => expect.poll(look, {timeout: 10_000});
const job = (id: string): JobRecord => rig.state.jobs.get(id)!.value;

describe('the loop', () => {
  it('goes on with the other jobs when the store will not take the record of one', async () => {
    await start();
    const heavy = await rig.addJob('j1');
    await rig.put(rig.keys.job('j1'), {...heavy, requestId: 'x'.repeat(1.5 * 1024 * 1024 - 1500)});
    await rig.addJob('j2');
    rig.startLoop(log);
    await eventually(() => job('j2').status.phase).toBe('staging');
    expect(job('j1').status.phase).toBe('queued');
    await rig.addJob('j3', {resources: {gpus: 3}});
    await eventually(() => job('j3').status.phase).toBe('staging');
    expect(log.at('error')).toEqual(['place cannot be stored']);
    expect(log.at('warn')).toEqual([]);
  });

  it('goes on with the other jobs when the records of one contradict each other', async () => {
    await start();
    const broken = await rig.addJob('j1');
    await rig.put(rig.keys.job('j1'), {...broken, status: {phase: 'running', attempt: 1}});
    await rig.addJob('j2');
    rig.startLoop(log);
    await eventually(() => job('j2').status.phase).toBe('staging');
    expect(log.lines.filter(({level}) => level === 'error')).toMatchObject([
      {
        message: 'a job cannot be decided about',
        fields: {job: 'j1', error: new Error('job j1 is running without the plan of its attempt')},
      },
    ]);
  });

  it('carries out nothing upon a record that changed while another decision was committed', async () => {
    const store = new DisturbedStore();
    await start(store);
    await rig.addJob('j1');
    const second = await rig.addJob('j2');
    store.onPlacement = () => rig.put(rig.keys.job('j2'), {...second, cancelRequestedAt: 1});
    rig.startLoop(log);
    await eventually(() => job('j2').status.phase).toBe('ended');
    expect(job('j1').status.phase).toBe('staging');
    expect(job('j2')).toMatchObject({status: {outcome: 'cancelled'}, attempts: []});
  });

  it('places nobody else by a decision of which a part was refused: it decides anew', async () => {
    const store = new DisturbedStore();
    await start(store);
    await rig.addJob('j1');
    const second = await rig.addJob('j2');
    await rig.addJob('j3');
    store.onPlacement = () => rig.put(rig.keys.job('j2'), {...second, cancelRequestedAt: 1});
    rig.startLoop(log);
    await eventually(() => job('j3').status.phase).toBe('staging');
    // What was meant for j2, had it not been cancelled.
    expect(deviceOf('j3')).toBe('cpu-1');
  });

  it('gives no device to a second job when it is not known whether the first one has got it', async () => {
    const store = new DisturbedStore();
    const clock = new ShiftedClock();
    await start(store, {devices: 1, clock});
    await rig.addJob('j1');
    // Its pause before the next attempt is over a moment later; then it goes before the other.
    const paused = await rig.addJob('j2');
    const ended = {number: 1, createdAt: clock.now(), runningAt: null, endedAt: clock.now(), endReason: endReason('io_error')};
    const attempts = [{...ended, startStep: 0, placementReason: ''}];
    await rig.put(rig.keys.job('j2'), {...paused, status: {phase: 'recovering', after: 1}, attempts});
    store.onPlacement = async () => {
      store.holdBackNews();
      clock.pass(60_000);
      throw new Error('the answer was lost');
    };
    rig.startLoop(log);
    await eventually(() => job('j1').status.phase).toBe('staging');
    expect(job('j2').status.phase).toBe('recovering');
    expect(log.at('warn')).toEqual(['decisions could not be committed; trying on']);
  });
});

function deviceOf(id: string): string | undefined {
  return rig.state.newestPlans.get(id)?.ranks[0]?.deviceId;
}

/** Something happens right after the first placement is committed, and before that is answered. */
class DisturbedStore extends MemoryStore {
  onPlacement: (() => Promise<unknown>) | undefined;
  private isHeldBack = false;

  /** Watches show nothing new any more; listings do. */
  holdBackNews(): void {
    this.isHeldBack = true;
  }

  override async transact(comparisons: readonly Comparison[], operations: readonly Operation[]) {
    const result = await super.transact(comparisons, operations);
    const {onPlacement} = this;
    if (onPlacement === undefined || !operations.some(({key}) => key.includes('/plans/'))) return result;
    this.onPlacement = undefined;
    await onPlacement();
    return result;
  }

  override async *watch(prefix: string, afterRevision: number, signal: AbortSignal) {
    for await (const changes of super.watch(prefix, afterRevision, signal)) if (!this.isHeldBack) yield changes;
  }
}
