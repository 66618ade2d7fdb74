import {createHash, randomBytes} from 'node:crypto';
import {mkdir, mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Status} from 'nice-grpc';
import {afterAll, afterEach, beforeEach, describe, expect, it} from 'vitest';
import {BlobCache} from '../../../agent/adapters/blobCache.js';
import {CheckpointUploads} from '../../../agent/adapters/checkpointUpload.js';
import {PlanStaging} from '../../../agent/adapters/planStaging.js';
import type {StagedFiles} from '../../../agent/core/localAttempt.js';
import type {Upload} from '../../../agent/ports.js';
import type {GenerationPlan} from '../../../shared/attemptPlan.js';
import type {CheckpointRecord, FileDigest} from '../../../shared/checkpoint.js';
import {systemClock} from '../../../shared/clock.js';
import type {AgentServiceClient} from '../../../shared/gen/tenfold/v1/agent.js';
import {silentLog} from '../../../shared/log.js';
import {AgentServiceDouble} from '../../support/agentServiceDouble.js';
import {planFor} from '../../support/plans.js';
import {smallDisk} from '../../support/smallDisk.js';
import {waitUntil} from '../../support/waitUntil.js';

const disk = smallDisk(4096);
let folder: string;
let coordinator: AgentServiceDouble;
let client: AgentServiceClient;
let closeChannel: () => void;
let cache: BlobCache;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-transfers-'));
  await mkdir(join(folder, 'attempt', 'run'), {recursive: true});
  coordinator = new AgentServiceDouble();
  await coordinator.start();
  ({client, close: closeChannel} = coordinator.client());
  cache = await BlobCache.open({dir: join(folder, 'cache'), maxBytes: 1e9, clock: systemClock, log: silentLog});
});

afterEach(async () => {
  await coordinator.kill();
  closeChannel();
  await rm(folder, {recursive: true, force: true});
});

afterAll(() => disk?.remove());

const attemptFolder = (): string => join(folder, 'attempt');
const digestOf = (name: string, content: Buffer): FileDigest => ({
  name,
  bytes: content.length,
  sha256: createHash('sha256').update(content).digest('hex'),
});

describe('staging', () => {
  const [train, val] = [randomBytes(12_345), randomBytes(2500)];
  let plan: GenerationPlan;

  beforeEach(() => {
    const shard = (content: Buffer) => ({digest: coordinator.addBlob(content), bytes: content.length, samples: 1});
    const splits = {train: {samples: 1, shards: [shard(train)]}, val: {samples: 1, shards: [shard(val)]}};
    const index = {version: 1, names: ['red'], splits};
    plan = planFor(['a'], {datasetIndexDigest: coordinator.addBlob(Buffer.from(JSON.stringify(index)))});
  });

  const stage = (
    which: GenerationPlan,
    signal = new AbortController().signal,
    progress: (message: string) => void = () => {},
  ): Promise<StagedFiles> =>
    new PlanStaging({client, cache, clock: systemClock, log: silentLog}).stage(which, attemptFolder(), progress, signal);

  function checkpointOf(content: Buffer): CheckpointRecord {
    coordinator.checkpointFiles.set('model.safetensors', content);
    const files = [digestOf('model.safetensors', content)];
    return {step: 300, cursor: {epoch: 2, offset: 0}, files, attempt: 1, committedAt: 1};
  }

  it('brings index and shards, and asks for nothing that is here', async () => {
    const staged = await stage(plan);
    expect(staged).toEqual({indexPath: cache.pathOf(plan.datasetIndexDigest), shardsDir: cache.dir, resumeDir: null});
    expect(train.equals(await readFile(cache.pathOf(digestOf('', train).sha256)))).toBe(true);
    expect(val.equals(await readFile(cache.pathOf(digestOf('', val).sha256)))).toBe(true);
    coordinator.fetches.length = 0;
    await stage(plan);
    expect(coordinator.fetches).toEqual([]);
  });

  it('goes on where the link broke', async () => {
    const digest = digestOf('', train).sha256;
    coordinator.faults.push({digest, breakAfterBytes: 5000}, {digest, breakAfterBytes: 3000});
    await stage(plan);
    const name = digest.slice(0, 8);
    expect(coordinator.fetches.filter(fetch => fetch.startsWith(name))).toEqual([`${name}@0`, `${name}@5000`, `${name}@8000`]);
  });

  it('waits for a coordinator that is away', async () => {
    await coordinator.kill();
    const staging = stage(plan);
    await coordinator.start();
    expect((await staging).resumeDir).toBeNull();
  });

  it('ends at once when the attempt is no longer wanted', async () => {
    await coordinator.kill();
    const abort = new AbortController();
    const staging = stage(plan, abort.signal);
    abort.abort(new Error('no longer wanted'));
    await expect(staging).rejects.toThrow('no longer wanted');
  });

  it('fails when the store has not what the plan names', async () => {
    coordinator.blobs.delete(digestOf('', val).sha256);
    await expect(stage(plan)).rejects.toMatchObject({reason: {code: 'staging_failed', message: 'there is no such file'}});
  });

  it('fails when the store has something else under the name', async () => {
    coordinator.blobs.set(digestOf('', val).sha256, randomBytes(2500));
    await expect(stage(plan)).rejects.toMatchObject({
      reason: {code: 'staging_failed', message: expect.stringContaining('was fetched, but is')},
    });
  });

  it('leaves nothing under way when it fails', async () => {
    const answerAfter = waitUntil('the other shard is asked for', () => coordinator.hanging === 1);
    coordinator.faults.push({digest: digestOf('', train).sha256, hangs: true});
    coordinator.faults.push({digest: digestOf('', val).sha256, answerAfter, refuse: Status.NOT_FOUND});
    await expect(stage(plan)).rejects.toMatchObject({reason: {code: 'staging_failed', message: 'refused by the test'}});
    await waitUntil('the other fetch is given up', () => coordinator.hanging === 0, 10_000);
  });

  it('ends at once, too, when another attempt is fetching the same shard', async () => {
    coordinator.faults.push({digest: digestOf('', train).sha256, hangs: true});
    const [first, second] = [new AbortController(), new AbortController()];
    const others = stage(plan, first.signal);
    others.catch(() => {});
    await waitUntil('the shard is asked for', () => coordinator.hanging === 1);
    let told = '';
    const staging = stage({...plan, attempt: 2}, second.signal, message => {
      told = message;
    });
    await waitUntil('the other shard is there', () => told.startsWith('1 of 2'));
    second.abort(new Error('no longer wanted'));
    await expect(staging).rejects.toThrow('no longer wanted');
    expect(coordinator.hanging).toBe(1);
    first.abort(new Error('no longer wanted'));
    await expect(others).rejects.toThrow('no longer wanted');
  });

  describe.skipIf(disk === undefined)('on a disk that is full of what earlier attempts needed', () => {
    async function emptyCache(): Promise<BlobCache> {
      const dir = join(disk!.path, 'cache');
      await rm(dir, {recursive: true, force: true});
      return BlobCache.open({dir, maxBytes: 1e9, clock: systemClock, log: silentLog});
    }

    async function leave(small: BlobCache, bytes: number): Promise<string> {
      const old = randomBytes(bytes);
      const {sha256} = digestOf('', old);
      await writeFile(small.pathOf(sha256), old);
      return sha256;
    }

    async function stageShards(small: BlobCache, ...shards: readonly Buffer[]): Promise<boolean[]> {
      const listed = shards.map(content => ({digest: coordinator.addBlob(content), bytes: content.length, samples: 1}));
      const index = {version: 1, names: ['red'], splits: {train: {samples: shards.length, shards: listed}}};
      const datasetIndexDigest = coordinator.addBlob(Buffer.from(JSON.stringify(index)));
      const staging = new PlanStaging({client, cache: small, clock: systemClock, log: silentLog});
      await staging.stage({...plan, datasetIndexDigest}, attemptFolder(), () => {}, new AbortController().signal);
      return Promise.all(listed.map(({digest, bytes}) => small.has(digest, bytes, true)));
    }

    it('has room for what it fetches', async () => {
      const small = await emptyCache();
      const old = await leave(small, 3_900_000);
      expect(await stageShards(small, randomBytes(300_000), randomBytes(400_000))).toEqual([true, true]);
      expect(await small.has(old, undefined, false)).toBe(false);
    });

    it('leaves room for what ranks write, also where all that they need is here', async () => {
      const small = await emptyCache();
      const shard = randomBytes(300_000);
      await stageShards(small, shard);
      const old = await leave(small, 3_700_000);
      expect(await stageShards(small, shard)).toEqual([true]);
      expect(await small.has(old, undefined, false)).toBe(false);
    });
  });

  it('brings the checkpoint to start from', async () => {
    const content = randomBytes(7777);
    const {resumeDir} = await stage({...plan, startFrom: checkpointOf(content)});
    expect(content.equals(await readFile(join(resumeDir!, 'model.safetensors')))).toBe(true);
  });

  it('uses the very checkpoint that this node has, if it is still whole', async () => {
    const content = randomBytes(7777);
    const startFrom = checkpointOf(content);
    await writeFile(join(folder, 'own'), content);
    await cache.adopt(join(folder, 'own'), startFrom.files[0]!.sha256);
    const fetched = (): string[] => coordinator.fetches.filter(fetch => fetch.startsWith('model'));
    await stage({...plan, startFrom});
    expect(fetched()).toEqual([]);
    await writeFile(cache.pathOf(startFrom.files[0]!.sha256), Buffer.alloc(7777));
    const {resumeDir} = await stage({...plan, startFrom});
    expect(fetched()).toEqual(['model.safetensors@0']);
    expect(content.equals(await readFile(join(resumeDir!, 'model.safetensors')))).toBe(true);
  });

  it('says that a checkpoint is bad when it does not verify, or is not there', async () => {
    const startFrom = checkpointOf(randomBytes(7777));
    coordinator.checkpointFiles.set('model.safetensors', randomBytes(7777));
    const bad = {reason: {code: 'bad_checkpoint', message: 'the checkpoint of step 300: model.safetensors does not verify'}};
    await expect(stage({...plan, startFrom})).rejects.toMatchObject(bad);
    coordinator.checkpointFiles.clear();
    await expect(stage({...plan, startFrom})).rejects.toMatchObject({reason: {code: 'bad_checkpoint'}});
  });
});

describe('uploads', () => {
  const plan = planFor(['a']);
  let uploads: CheckpointUploads;

  beforeEach(() => {
    uploads = new CheckpointUploads({client, cache, clock: systemClock, log: silentLog});
  });
  afterEach(() => uploads.close());

  async function checkpoint(step: number, ...contents: Buffer[]): Promise<Upload> {
    const dir = join(attemptFolder(), 'checkpoints', `step-${step}`);
    await mkdir(dir, {recursive: true});
    const files = contents.map((content, index) => digestOf(`part-${step}-${index}`, content));
    for (const [index, {name}] of files.entries()) await writeFile(join(dir, name), contents[index]!);
    return {kind: 'checkpoint', dir, manifest: {step, cursor: {epoch: 1, offset: step}, files}};
  }

  async function artifact(name: string, content: Buffer): Promise<Upload> {
    await writeFile(join(attemptFolder(), 'run', name), content);
    return {kind: 'artifact', path: name, file: digestOf(name, content)};
  }

  const add = (upload: Upload): Promise<void> => uploads.add(plan, attemptFolder(), upload);
  const settled = (): Promise<void> => waitUntil('all uploads are settled', () => uploads.pending(plan) === 0);

  it('bring every file, then clear away what is no longer needed and keep the checkpoint for a restart', async () => {
    const [model, state] = [randomBytes(600_000), randomBytes(100)];
    await add(await checkpoint(10, model, state));
    await add(await artifact('results.csv', Buffer.from('epoch,time\n')));
    await settled();
    expect(coordinator.committed).toEqual(['step 10', 'results.csv']);
    expect(model.equals(coordinator.received.get('part-10-0@10')!)).toBe(true);
    const left = async (): Promise<string[]> => (await readdir(attemptFolder(), {recursive: true})).sort();
    await waitUntil('the rest is cleared away', async () => !(await left()).some(name => /^uploads\/(0|files\/)/.test(name)));
    expect(await left()).toEqual(['checkpoints', 'run', 'run/results.csv', 'uploads', 'uploads/files']);
    expect(await cache.has(digestOf('', model).sha256, model.length, true)).toBe(true);
  });

  it('keep the two newest checkpoints of a job on this node, and no more', async () => {
    const contents = [10, 20, 30].map(() => randomBytes(1000));
    for (const [index, content] of contents.entries()) await add(await checkpoint(10 * (index + 1), content));
    await settled();
    const here = await Promise.all(contents.map(content => cache.has(digestOf('', content).sha256, 1000, true)));
    expect(here).toEqual([false, true, true]);
  });

  it('may share a file: the end of one takes nothing from the next', async () => {
    const shared = randomBytes(2_000_000);
    for (let step = 1; step <= 12; step++) await add(await checkpoint(step, shared));
    await settled();
    expect(coordinator.committed).toEqual(Array.from({length: 12}, (_, index) => `step ${index + 1}`));
  });

  it('go on where the link broke', async () => {
    coordinator.faults.push(undefined, {breakAfterBytes: 300_000}, undefined, {breakAfterBytes: 100_000});
    const model = randomBytes(1_000_000);
    await add(await checkpoint(10, model));
    await settled();
    expect(model.equals(coordinator.received.get('part-10-0@10')!)).toBe(true);
    const offsets = coordinator.uploads.map(({offset}) => offset);
    expect(offsets.filter(offset => offset === 0)).toHaveLength(4);
    expect(offsets.filter(offset => offset > 0)).toHaveLength(2);
  });

  it('wait for a coordinator that is away, and outlive the agent', async () => {
    await coordinator.kill();
    await add(await checkpoint(10, randomBytes(5000), randomBytes(5000)));
    await uploads.close();
    uploads = new CheckpointUploads({client, cache, clock: systemClock, log: silentLog});
    await uploads.resume(plan, attemptFolder());
    expect(uploads.pending(plan)).toBe(2);
    await coordinator.start();
    await settled();
    expect(coordinator.committed).toEqual(['step 10']);
  });

  it('are pending until the whole is committed', async () => {
    coordinator.commitDelay = 3;
    await add(await checkpoint(10, randomBytes(100)));
    await waitUntil('the file is there', () => coordinator.received.has('part-10-0@10'));
    expect(uploads.pending(plan)).toBe(1);
    await settled();
    expect(coordinator.committed).toEqual(['step 10']);
  });

  it.each([Status.ABORTED, Status.FAILED_PRECONDITION, Status.NOT_FOUND])(
    'are all dropped when the attempt is refused (%i)',
    async refuse => {
      await coordinator.kill();
      await add(await checkpoint(10, randomBytes(100)));
      await add(await artifact('results.csv', Buffer.from('x')));
      coordinator.faults.push({refuse});
      await coordinator.start();
      await settled();
      expect(coordinator.committed).toEqual([]);
      await waitUntil('nothing is left on disk', async () => (await readdir(join(attemptFolder(), 'uploads', 'files'))).length === 0);
    },
  );

  it('go on when one that is through cannot be cleared away', async () => {
    await coordinator.kill();
    await add(await checkpoint(10, randomBytes(100)));
    await add(await artifact('results.csv', Buffer.from('x')));
    const record = join(attemptFolder(), 'uploads', '00000001.json');
    await rm(record);
    await mkdir(record);
    await coordinator.start();
    await settled();
    expect(coordinator.committed).toEqual(['step 10', 'results.csv']);
  });

  it('pass over a file that is not what the trainer said', async () => {
    const lying = await checkpoint(10, randomBytes(2_000_000));
    if (lying.kind === 'checkpoint') await writeFile(join(lying.dir, 'part-10-0'), randomBytes(2_000_000));
    await add(lying);
    await add(await checkpoint(20, randomBytes(100)));
    await settled();
    expect(coordinator.committed).toEqual(['step 20']);
  });

  it('end at once when they are given up', async () => {
    await coordinator.kill();
    await add(await checkpoint(10, randomBytes(100)));
    await uploads.abandon(plan);
    expect(uploads.pending(plan)).toBe(0);
  });
});
