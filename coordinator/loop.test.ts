import {afterEach, describe, expect, it} from 'vitest';
import type {JobRecord} from '../shared/job.js';
import {CoordinatorRig} from '../test/support/coordinatorRig.js';
import {RecordingLog} from '../test/support/recordingLog.js';
import {ScriptedAgent} from '../test/support/scriptedAgent.js';
import {MemoryStore} from './adapters/memoryStore.js';
import type {Comparison, Operation} from './ports.js';

let rig: CoordinatorRig;
let agent: ScriptedAgent;
const log = new RecordingLog();

/** With an agent of four devices; the loop is still to be started. */
async function start(store = new MemoryStore()): Promise<void> {
  rig = await CoordinatorRig.start(store);
  await rig.addDataset('d1', 100);
  agent = new ScriptedAgent(rig.sessions, 'node-a', {devices: 4});
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
    const store = new CancellingStore();
    await start(store);
    await rig.addJob('j1');
    const second = await rig.addJob('j2');
    store.onPlacement = () => rig.put(rig.keys.job('j2'), {...second, cancelRequestedAt: 1});
    rig.startLoop(log);
    await eventually(() => job('j2').status.phase).toBe('ended');
    expect(job('j1').status.phase).toBe('staging');
    expect(job('j2')).toMatchObject({status: {outcome: 'cancelled'}, attempts: []});
  });
});

/** Somebody else writes right after the first placement is committed, and before the next. */
class CancellingStore extends MemoryStore {
  onPlacement: (() => Promise<unknown>) | undefined;

  override async transact(comparisons: readonly Comparison[], operations: readonly Operation[]) {
    const result = await super.transact(comparisons, operations);
    const {onPlacement} = this;
    if (onPlacement === undefined || !operations.some(({key}) => key.includes('/plans/'))) return result;
    this.onPlacement = undefined;
    await onPlacement();
    return result;
  }
}
