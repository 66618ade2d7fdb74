import {createHash} from 'node:crypto';
import {appendFile} from 'node:fs/promises';
import {join} from 'node:path';
import {Readable} from 'node:stream';
import {buffer} from 'node:stream/consumers';
import type {Etcd3} from 'etcd3';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi} from 'vitest';
import {etcdClient} from '../../coordinator/adapters/etcdClient.js';
import {EtcdStore} from '../../coordinator/adapters/etcdStore.js';
import {objectKeys} from '../../coordinator/objectKeys.js';
import {uploadingAttempt} from '../../coordinator/uploadingAttempt.js';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {CheckpointManifest, FileDigest} from '../../shared/checkpoint.js';
import {systemClock} from '../../shared/clock.js';
import {endReason} from '../../shared/endReason.js';
import {DomainError} from '../../shared/errors.js';
import type {OutboxEvent} from '../../shared/event.js';
import type {UploadStart} from '../../shared/wire/agent.js';
import {CoordinatorRig} from '../support/coordinatorRig.js';
import {startEtcd, type TestEtcd} from '../support/etcd.js';
import {IDLE, observed, ScriptedAgent} from '../support/scriptedAgent.js';

/** 100 samples, two ranks, batches of 16: what the ranks consume comes in steps of 16 positions. */
const SAMPLES = 100;
const patiently = {timeout: 20_000};

let etcd: TestEtcd;
let client: Etcd3;
let rig: CoordinatorRig;
let agent: ScriptedAgent;
let plan: GenerationPlan;
let outbox = 0;

beforeAll(async () => {
  etcd = await startEtcd();
  client = etcdClient({endpoints: [etcd.endpoint]});
});
afterAll(async () => {
  client.close();
  await etcd.stop();
});
beforeEach(async () => {
  outbox = 0;
  const store = new EtcdStore(client, systemClock);
  const {entries} = await store.list('t/');
  await store.transact(
    [],
    entries.map(({key}) => ({kind: 'delete', key}) as const),
  );
  rig = await CoordinatorRig.start(store);
  rig.startLoop();
  await rig.addDataset('d1', SAMPLES);
  agent = new ScriptedAgent(rig.sessions, 'node-a', {devices: 2});
  await rig.addJob('j1', {resources: {gpus: 2}, checkpoint: {keep: {last: 1, best: 1}}});
  plan = await agent.plan();
  await reportRunning();
});
afterEach(async () => {
  await agent.breakOff();
  await rig.stop();
});

const reportRunning = async () => {
  agent.report({...IDLE, attempts: [observed(plan, 'node-a', {state: 'running', pid: 1})]});
  await expect.poll(() => rig.state.jobs.get('j1')!.value.status, patiently).toEqual({phase: 'running', attempt: plan.attempt});
};

const bytesOf = (text: string, repeated = 1): Buffer => Buffer.from(text.repeat(repeated));
const digestOf = (name: string, bytes: Buffer): FileDigest => ({
  name,
  bytes: bytes.length,
  sha256: createHash('sha256').update(bytes).digest('hex'),
});

/** A checkpoint of two files after `offset` samples of the first epoch. */
function checkpointAt(step: number, offset: number, map50_95?: number) {
  const contents = {'model.safetensors': bytesOf(`weights ${step} `, 50_000), 'state.json': bytesOf(`{"step":${step}}`)};
  const files = Object.entries(contents).map(([name, bytes]) => digestOf(name, bytes));
  const manifest: CheckpointManifest = {step, cursor: {epoch: 1, offset}, files, ...(map50_95 !== undefined && {map50_95})};
  return {contents, manifest};
}

function startOf(manifest: CheckpointManifest, name: string, offset = 0, of = plan): UploadStart {
  const {jobId, attempt, generation} = of;
  return {
    jobId,
    attempt,
    generation,
    offset,
    file: manifest.files.find(file => file.name === name)!,
    target: {kind: 'checkpoint', manifest},
  };
}

const upload = (start: UploadStart, ...chunks: Uint8Array[]) => rig.uploads.upload(start, Readable.from(chunks));

async function uploadAll({contents, manifest}: ReturnType<typeof checkpointAt>) {
  let committed = false;
  for (const [name, bytes] of Object.entries(contents)) ({committed} = await upload(startOf(manifest, name), bytes));
  return committed;
}

/** Both ranks say that they consumed the first `to` positions of the epoch. */
async function consume(from: number, to: number): Promise<void> {
  const events = [0, 1].map((rank): OutboxEvent => {
    const json = JSON.stringify({type: 'consumed', t: 1, epoch: 1, from, to, ids: []});
    return {sequence: ++outbox, jobId: 'j1', attempt: plan.attempt, generation: plan.generation, rank, json};
  });
  agent.sendEvents(events);
  await expect.poll(() => agent.acknowledged, patiently).toBe(outbox);
}

const committedSteps = () => (rig.state.checkpoints.get('j1') ?? []).map(({step}) => step);

async function problemOf(call: Promise<unknown>) {
  try {
    await call;
  } catch (error) {
    if (error instanceof DomainError) return error.problem;
    throw error;
  }
  throw new Error('the call did not fail');
}

describe('an upload', () => {
  it('goes on where it broke, and the last file commits the checkpoint', async () => {
    await consume(0, 16);
    const {contents, manifest} = checkpointAt(1, 16);
    const weights = contents['model.safetensors'];
    async function* breaking() {
      yield weights.subarray(0, 200_000);
      throw new Error('the link broke');
    }
    await expect(rig.uploads.upload(startOf(manifest, 'model.safetensors'), breaking())).rejects.toThrow('the link broke');
    const asked = await upload(startOf(manifest, 'model.safetensors'));
    expect(asked).toEqual({receivedBytes: 200_000, fileVerified: false, committed: false});

    const rest = await upload(startOf(manifest, 'model.safetensors', 200_000), weights.subarray(200_000));
    expect(rest).toEqual({receivedBytes: weights.length, fileVerified: true, committed: false});
    expect(committedSteps()).toEqual([]);
    const last = await upload(startOf(manifest, 'state.json'), contents['state.json']);
    expect(last).toMatchObject({fileVerified: true, committed: true});
    expect(rig.state.checkpoints.get('j1')).toMatchObject([{...manifest, attempt: 1}]);
    expect(weights.subarray(100).equals(await buffer(rig.checkpoints.read('j1', 1, 'model.safetensors', 100).bytes))).toBe(true);
    expect(await upload(startOf(manifest, 'state.json'))).toMatchObject({fileVerified: true, committed: true});
  });

  it('that begins elsewhere than where the bytes end is turned away', async () => {
    const {contents, manifest} = checkpointAt(1, 16);
    const late = upload(startOf(manifest, 'model.safetensors', 77), contents['model.safetensors']);
    expect(await problemOf(late)).toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('0 bytes of model.safetensors are here'),
    });
  });

  it('of other bytes than the digest says is dropped, to be sent anew', async () => {
    await consume(0, 16);
    const {contents, manifest} = checkpointAt(1, 16);
    const wrong = Buffer.from(contents['model.safetensors']).fill(0, 1000, 1001);
    expect(await upload(startOf(manifest, 'model.safetensors'), wrong)).toEqual({receivedBytes: 0, fileVerified: false, committed: false});
    const longer = upload(startOf(manifest, 'state.json'), contents['state.json'], bytesOf('more'));
    expect(await problemOf(longer)).toMatchObject({kind: 'invalid'});
    expect(await upload(startOf(manifest, 'state.json'))).toMatchObject({fileVerified: true, committed: false});
    expect(await uploadAll(checkpointAt(1, 16))).toBe(true);
  });

  it('whose bytes went bad in the store before the commit is not committed', async () => {
    const checkpoint = checkpointAt(1, 16);
    expect(await uploadAll(checkpoint)).toBe(false);
    const key = objectKeys.checkpointFile('j1', 1, 1, 'state.json');
    await rig.objects.delete(key);
    await rig.objects.put(key, bytesOf('x', checkpoint.contents['state.json'].length));
    await consume(0, 16);
    expect(await upload(startOf(checkpoint.manifest, 'model.safetensors'))).toMatchObject({committed: false});
    expect(await uploadAll(checkpoint)).toBe(true);
  });

  it('is committed only once the journal tells who consumed every sample before its cursor', async () => {
    await consume(0, 16);
    const checkpoint = checkpointAt(2, 32);
    expect(await uploadAll(checkpoint)).toBe(false);
    expect(committedSteps()).toEqual([]);
    await consume(16, 32);
    expect(await upload(startOf(checkpoint.manifest, 'state.json'))).toMatchObject({fileVerified: true, committed: true});
    expect(committedSteps()).toEqual([2]);
  });

  it.each([
    ['a/../../leader', 'invalid'],
    ['/etc/passwd', 'invalid'],
    ['.hidden', 'invalid'],
  ])('to the path %s is refused', async (name, kind) => {
    const file = digestOf(name, bytesOf('x'));
    const {jobId, attempt, generation} = plan;
    expect(await problemOf(upload({jobId, attempt, generation, file, offset: 0, target: {kind: 'artifact'}}, bytesOf('x')))).toMatchObject({
      kind,
    });
  });
});

describe('a stale attempt', () => {
  it('can commit nothing, not even what it had uploaded before it was over', async () => {
    await consume(0, 16);
    const checkpoint = checkpointAt(1, 16);
    await upload(startOf(checkpoint.manifest, 'model.safetensors'), checkpoint.contents['model.safetensors']);
    const old = plan;
    agent.report({...IDLE, attempts: [observed(old, 'node-a', {state: 'exited', reason: endReason('killed', 'SIGKILL')})]});
    await expect.poll(() => agent.desired?.map(({attempt}) => attempt), patiently).toEqual([2]);

    const last = upload(startOf(checkpoint.manifest, 'state.json', 0, old), checkpoint.contents['state.json']);
    expect(await problemOf(last)).toMatchObject({
      kind: 'precondition',
      type: 'STALE_ATTEMPT',
      message: 'attempt 1 of jobs/j1 is over: the job is at attempt 2',
    });
    const asItself = {...old, attempt: 2};
    expect(await problemOf(upload(startOf(checkpoint.manifest, 'state.json', 0, asItself)))).toMatchObject({
      kind: 'precondition',
      type: 'STALE_GENERATION',
    });
    expect(committedSteps()).toEqual([]);
  });

  it('leaves nothing behind once the next one commits', async () => {
    const left = checkpointAt(1, 16);
    await upload(startOf(left.manifest, 'state.json'), left.contents['state.json']);
    await upload(startOf(left.manifest, 'model.safetensors'), left.contents['model.safetensors'].subarray(0, 1000));
    expect(await rig.objects.listUnfinished('jobs/j1/')).toEqual([objectKeys.checkpointFile('j1', 1, 1, 'model.safetensors')]);
    agent.report({...IDLE, attempts: [observed(plan, 'node-a', {state: 'exited', reason: endReason('killed', 'SIGKILL')})]});
    await expect.poll(() => agent.desired?.map(({attempt}) => attempt), patiently).toEqual([2]);
    plan = agent.desired![0]!;
    await reportRunning();
    await consume(0, 32);
    expect(await uploadAll(checkpointAt(2, 32))).toBe(true);
    const kept = ['model.safetensors', 'state.json'].map(name => objectKeys.checkpointFile('j1', 2, 2, name));
    expect(await rig.objects.list('jobs/j1/checkpoints/')).toEqual(kept);
    expect(await rig.objects.listUnfinished('')).toEqual([]);
  });

  it('has what it left cleared neither by a leader that leads no more nor together with what a later one uploads', async () => {
    const left = checkpointAt(1, 16);
    await upload(startOf(left.manifest, 'state.json'), left.contents['state.json']);
    const leftKey = objectKeys.checkpointFile('j1', 1, 1, 'state.json');
    const laterKey = objectKeys.checkpointFile('j1', 3, 3, 'state.json');
    await rig.objects.put(laterKey, Buffer.from('{}'));
    agent.report({...IDLE, attempts: [observed(plan, 'node-a', {state: 'exited', reason: endReason('killed', 'SIGKILL')})]});
    await expect.poll(() => agent.desired?.map(({attempt}) => attempt), patiently).toEqual([2]);
    plan = agent.desired![0]!;
    await reportRunning();
    await consume(0, 32);
    const {revision} = rig.leadership.fence()!;
    const listing = vi.spyOn(rig.objects, 'listUnfinished').mockImplementation(async () => {
      rig.leadership.give(undefined);
      return [];
    });
    expect(await uploadAll(checkpointAt(2, 32))).toBe(true);
    listing.mockRestore();
    expect(await rig.objects.list('jobs/j1/checkpoints/')).toEqual(expect.arrayContaining([leftKey, laterKey]));

    rig.leadership.give(revision);
    await consume(32, 48);
    expect(await uploadAll(checkpointAt(4, 48))).toBe(true);
    const keys = await rig.objects.list('jobs/j1/checkpoints/');
    expect(keys).toContain(laterKey);
    expect(keys).not.toContain(leftKey);
  });

  it('whose end comes between check and commit is refused by the transaction', async () => {
    const {job} = uploadingAttempt(rig.state, plan);
    await rig.put(rig.keys.job('j1'), {...job.value, cancelRequestedAt: 1});
    const comparisons = [{key: rig.keys.job('j1'), target: 'mod', revision: job.modRevision}] as const;
    const operations = [{kind: 'put', key: rig.keys.checkpoint('j1', 1), value: '{}'}] as const;
    expect(await rig.fenced.commit({what: 'committing late', comparisons, operations})).toBe(false);
  });

  it('finds no leader to commit to while leadership has lapsed', async () => {
    rig.leadership.give(undefined);
    expect(await problemOf(uploadAll(checkpointAt(1, 16)))).toMatchObject({kind: 'unavailable'});
  });
});

describe('retention', () => {
  it('clears what is neither the newest nor the best: the record first, then its files', async () => {
    const best = checkpointAt(1, 16, 0.9);
    for (const [checkpoint, upTo] of [
      [best, 16],
      [checkpointAt(2, 32, 0.1), 32],
      [checkpointAt(3, 48, 0.2), 48],
    ] as const) {
      await consume(upTo - 16, upTo);
      expect(await uploadAll(checkpoint)).toBe(true);
    }
    expect(committedSteps()).toEqual([1, 3]);
    const kept = await rig.objects.list('jobs/j1/checkpoints/');
    expect(kept).toEqual(
      [1, 3].flatMap(step => ['model.safetensors', 'state.json'].map(name => objectKeys.checkpointFile('j1', step, 1, name))),
    );
    expect(best.contents['model.safetensors'].equals(await buffer(rig.checkpoints.read('j1', 1, 'model.safetensors', 0).bytes))).toBe(true);
    expect(() => rig.checkpoints.read('j1', 2, 'state.json', 0)).toThrow('there is no jobs/j1/checkpoints/2/state.json');
  });
});

describe('an artifact', () => {
  const artifact = (bytes: Buffer): UploadStart => {
    const {jobId, attempt, generation} = plan;
    return {jobId, attempt, generation, file: digestOf('weights/best.safetensors', bytes), offset: 0, target: {kind: 'artifact'}};
  };

  it('takes the place of the one of the same path', async () => {
    const [first, second] = [bytesOf('first'), bytesOf('second')];
    expect(await upload(artifact(first), first)).toMatchObject({committed: true});
    expect(await upload(artifact(second), second)).toMatchObject({committed: true});
    const [record, ...others] = rig.state.artifacts.get('j1')!;
    expect(others).toEqual([]);
    expect(await buffer(rig.objects.read(objectKeys.artifact('j1', record!.file)))).toEqual(second);
    expect(await rig.objects.list('jobs/j1/artifacts/')).toHaveLength(1);
  });

  it('may be empty', async () => {
    expect(await upload(artifact(bytesOf('')))).toMatchObject({fileVerified: true, committed: true});
  });
});

it('a journal whose last line was torn by a crash is read on, and the attempt commits as before', async () => {
  await consume(0, 16);
  await appendFile(join(rig.folder, 'jobs', 'j1', 'events.ndjson'), '{"sequence":3,"leader"');
  await rig.lead();
  await consume(16, 32);
  expect(await uploadAll(checkpointAt(2, 32))).toBe(true);
});
