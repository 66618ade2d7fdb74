import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {systemClock} from '../shared/clock.js';
import {endReason} from '../shared/endReason.js';
import {checkpointPolicySchema, jobSpecSchema} from '../shared/jobSpec.js';
import type {NodeRecord} from '../shared/observation.js';
import {trainArgumentsSchema} from '../shared/trainArguments.js';
import {RecordingLog} from '../test/support/recordingLog.js';
import {Keys} from './adapters/etcdKeys.js';
import {MemoryStore} from './adapters/memoryStore.js';
import {ClusterState} from './clusterState.js';
import type {KeyValueStore} from './ports.js';

const keys = new Keys('t');
let store: MemoryStore;
let log: RecordingLog;
let abort: AbortController;
let running: Promise<void>[];

beforeEach(() => {
  store = new MemoryStore();
  log = new RecordingLog();
  abort = new AbortController();
  running = [];
});
afterEach(async () => {
  abort.abort();
  await Promise.all(running);
});

async function mirror(of: KeyValueStore = store): Promise<ClusterState> {
  const state = new ClusterState({store: of, keys, clock: systemClock, log});
  running.push(state.run(abort.signal));
  await state.ready(abort.signal);
  return state;
}

function node(nodeId: string, hostname = nodeId): NodeRecord {
  return {nodeId, hostname, agentVersion: '1', address: '10.0.0.1', devices: []};
}

async function put(key: string, value: unknown): Promise<number> {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return (await store.transact([], [{kind: 'put', key, value: text}])).revision;
}

const hostnames = (state: ClusterState) => [...state.nodes.values()].map(({value}) => value.hostname);

describe('the mirror of the store', () => {
  it('shows what was there before and what comes after, and forgets what goes', async () => {
    await put(keys.node('a'), node('a'));
    const state = await mirror();
    expect(hostnames(state)).toEqual(['a']);
    const revision = await put(keys.node('b'), node('b'));
    await state.reached(revision);
    expect(state.nodes.get('b')).toMatchObject({modRevision: revision, value: node('b')});
    const {revision: gone} = await store.transact([], [{kind: 'delete', key: keys.node('a')}]);
    await state.reached(gone);
    expect(hostnames(state)).toEqual(['b']);
  });

  it('tells of a record that cannot be understood once, leaves it alone, and goes on', async () => {
    const state = await mirror();
    await put(keys.node('bad'), '{"nodeId": 7');
    await state.reached(await put(keys.node('good'), node('good')));
    expect(hostnames(state)).toEqual(['good']);
    expect(log.lines).toMatchObject([{level: 'error', fields: {key: keys.node('bad')}}]);
    expect(state.has(keys.node('bad'))).toBe(true);
    expect((await store.list(keys.prefix)).entries).toHaveLength(2);
  });

  it('no longer shows a record after it was overwritten by what cannot be understood', async () => {
    const state = await mirror();
    await put(keys.node('a'), node('a'));
    await state.reached(await put(keys.node('a'), 'garbage'));
    expect(hostnames(state)).toEqual([]);
  });

  const plan = {
    jobId: 'j1',
    attempt: 1,
    ranks: [{rank: 0, nodeId: 'a', deviceId: 'cpu-0', localRank: 0}],
    rendezvous: {host: '10.0.0.1', port: 29_400},
    datasetId: 'd1',
    datasetIndexDigest: 'ab'.repeat(32),
    model: {arch: 'yolov8n', nc: 'auto'},
    train: trainArgumentsSchema.parse({}),
    checkpoint: checkpointPolicySchema.parse({}),
    startFrom: null,
  };

  it('keeps the jobs that have not ended apart, with their newest plans, until they end', async () => {
    const state = await mirror();
    const spec = jobSpecSchema.parse({data: 'datasets/d1', model: {arch: 'yolov8n'}});
    const fixed = {id: 'j1', spec, requestId: 'r', datasetId: 'd1', createdAt: 0, cancelRequestedAt: null, attempts: []};
    const open = () => [[...state.openJobs.keys()], [...state.openPlans].map(([id, {attempt}]) => `${id}/${attempt}`)];
    await put(keys.plan('j1', 1), plan);
    await state.reached(await put(keys.job('j1'), {...fixed, status: {phase: 'staging', attempt: 1}}));
    expect(open()).toEqual([['j1'], ['j1/1']]);
    await state.reached(await put(keys.plan('j1', 2), {...plan, attempt: 2}));
    expect(open()).toEqual([['j1'], ['j1/2']]);
    const ended = {phase: 'ended', outcome: 'succeeded', reason: endReason('completed'), at: 1};
    await state.reached(await put(keys.job('j1'), {...fixed, status: ended}));
    expect(open()).toEqual([[], []]);
    expect([state.jobs.size, state.newestPlans.size]).toEqual([1, 1]);
  });

  it('gives a plan the revision of its creation as generation, and shows the newest of each job', async () => {
    const state = await mirror();
    const first = await put(keys.plan('j1', 1), plan);
    const second = await put(keys.plan('j1', 2), {...plan, attempt: 2});
    await state.reached(await put(keys.plan('j1', 1), plan));
    expect(state.plan('j1', 1)?.generation).toBe(first);
    expect(state.newestPlans.get('j1')).toMatchObject({attempt: 2, generation: second});
  });

  it('lists anew when its watch was compacted away', async () => {
    const stalling = new StallingStore(store);
    const state = await mirror(stalling);
    await put(keys.node('a'), node('a'));
    const revision = await put(keys.node('a'), node('a', 'renamed'));
    store.compact(revision);
    stalling.release();
    await state.reached(revision);
    expect(hostnames(state)).toEqual(['renamed']);
    expect(log.at('info')).toEqual(['the watch of the store was lost; listing anew']);
  });

  it('reaches the revision of a change that lies outside of it', async () => {
    const state = await mirror();
    await state.reached(await put('elsewhere/x', 'y'));
    expect(hostnames(state)).toEqual([]);
  });

  it('waits out an outage, told once, and shows afterwards what changed meanwhile', async () => {
    const failing = new FailingStore(store);
    failing.isDown = true;
    const state = new ClusterState({store: failing, keys, clock: systemClock, log});
    running.push(state.run(abort.signal));
    await expect.poll(() => failing.refusals, {timeout: 10_000}).toBeGreaterThan(2);
    await put(keys.node('a'), node('a'));
    failing.isDown = false;
    await state.ready(abort.signal);
    expect(hostnames(state)).toEqual(['a']);
    expect(log.at('warn')).toEqual(['the store does not answer; trying on']);
    expect(log.at('info')).toEqual(['the store answers again']);
  });
});

/** Holds watches back until they are released. */
class StallingStore implements KeyValueStore {
  release: () => void = () => undefined;
  private readonly released = new Promise<void>(resolve => {
    this.release = resolve;
  });
  constructor(private readonly store: MemoryStore) {}

  list = (prefix: string) => this.store.list(prefix);
  transact: KeyValueStore['transact'] = (comparisons, operations) => this.store.transact(comparisons, operations);
  async *watch(prefix: string, afterRevision: number, signal: AbortSignal) {
    await this.released;
    yield* this.store.watch(prefix, afterRevision, signal);
  }
}

class FailingStore implements KeyValueStore {
  isDown = false;
  refusals = 0;
  constructor(private readonly store: MemoryStore) {}

  async list(prefix: string) {
    if (this.isDown) {
      this.refusals++;
      throw new Error('connection refused');
    }
    return this.store.list(prefix);
  }
  transact: KeyValueStore['transact'] = (comparisons, operations) => this.store.transact(comparisons, operations);
  watch: KeyValueStore['watch'] = (prefix, afterRevision, signal) => this.store.watch(prefix, afterRevision, signal);
}
