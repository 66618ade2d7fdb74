import {createHash} from 'node:crypto';
import {readdirSync} from 'node:fs';
import {cp, open, readFile, rename, rm, truncate, writeFile} from 'node:fs/promises';
import * as path from 'node:path';
import {afterAll, beforeAll, expect, test} from 'vitest';
import {JobState} from '../../shared/gen/tenfold/v1/job.js';
import {type Cluster, eventAfter, killAndWait, rankPids, startCluster, waitForState} from '../support/cluster.js';
import {writeTinyDataset} from '../support/tinyDataset.js';
import {waitUntil} from '../support/waitUntil.js';

/** What a user may get wrong, and what a disk may: each is told by its name, with the fixed exit code, and nothing else suffers. */

let cluster: Cluster;
let good: string;

beforeAll(async () => {
  cluster = await startCluster({agents: 1});
  good = path.dirname(await writeTinyDataset(path.join(cluster.folder, 'good')));
});
afterAll(() => cluster?.stop());

const image = (index: number): string => `images/train/${String(index).padStart(4, '0')}.jpg`;
const label = (index: number): string => `labels/train/${String(index).padStart(4, '0')}.txt`;

type Defect = readonly [code: string, file: string, spoil: (folder: string) => Promise<unknown>];

const writeYaml = (folder: string, rest: string): Promise<void> =>
  writeFile(path.join(folder, 'data.yaml'), `path: .\ntrain: images/train\nval: images/val\n${rest}`);

/** Seen at once, when the files are looked up. */
const SET_DEFECTS: readonly Defect[] = [
  ['yaml_missing', 'data.yaml', folder => rm(path.join(folder, 'data.yaml'))],
  ['yaml_malformed', 'data.yaml', folder => writeFile(path.join(folder, 'data.yaml'), 'train: [images/train\n')],
  ['yaml_invalid', 'data.yaml', folder => writeFile(path.join(folder, 'data.yaml'), 'val: images/val\nnames: [red, blue]\n')],
  ['split_missing', 'data.yaml', folder => rename(path.join(folder, 'images/val'), path.join(folder, 'images/valid'))],
  ['names_invalid', 'data.yaml', folder => writeYaml(folder, 'names: [red, blue]\nnc: 3\n')],
];

/** Seen when every image and label is read. */
const SAMPLE_DEFECTS: readonly Defect[] = [
  ['missing_image', label(5), folder => rm(path.join(folder, image(5)))],
  ['unreadable_image', image(6), folder => truncate(path.join(folder, image(6)), 700)],
  ['label_out_of_range', label(7), folder => writeFile(path.join(folder, label(7)), '0 0.5 0.5 0.2 1.7\n')],
  ['class_out_of_range', label(8), folder => writeFile(path.join(folder, label(8)), '0 0.5 0.5 0.2 0.2\n2 0.5 0.5 0.2 0.2\n')],
  ['label_malformed', label(9), folder => writeFile(path.join(folder, label(9)), '0 0.5 0.5\n')],
];

async function spoiledCopy(code: string, spoil: (folder: string) => Promise<unknown>): Promise<string> {
  const folder = path.join(cluster.folder, `with-${code}`);
  await cp(good, folder, {recursive: true});
  await spoil(folder);
  return folder;
}

async function expectGoodOnceMended(folder: string): Promise<void> {
  await rm(folder, {recursive: true});
  await cp(good, folder, {recursive: true});
  expect(await cluster.cli('dataset', 'add', path.join(folder, 'data.yaml'))).toMatchObject({code: 0});
}

test.each(SET_DEFECTS)(
  'a data set with %s is refused at once, naming defect and place, and is good once mended',
  async (code, file, spoil) => {
    const folder = await spoiledCopy(code, spoil);
    const yaml = path.join(folder, 'data.yaml');
    for (const args of [
      ['dataset', 'add', yaml],
      ['submit', `data=${yaml}`, 'model=yolov8n'],
    ]) {
      const refused = await cluster.cli(...args);
      expect(refused).toMatchObject({code: 2, stdout: ''});
      expect(refused.stderr).toContain(code);
      expect(refused.stderr).toContain(file);
    }
    await expectGoodOnceMended(folder);
  },
);

test.each(SAMPLE_DEFECTS)(
  'a data set with %s is not registered, and a job on it is refused, naming defect and place',
  async (code, file, spoil) => {
    const folder = await spoiledCopy(code, spoil);
    const added = await cluster.cli('dataset', 'add', path.join(folder, 'data.yaml'), '-o', 'json');
    expect(added.code).toBe(1);
    const {name, problems} = JSON.parse(added.stdout) as {name: string; problems: {code: string; file: string; message: string}[]};
    expect(problems).toMatchObject([{code, file: expect.stringContaining(file)}]);
    const submitted = await cluster.cli('submit', `data=${name}`, 'model=yolov8n');
    expect(submitted).toMatchObject({code: 2, stdout: ''});
    expect(submitted.stderr).toContain(code);
    expect(submitted.stderr).toContain(file);
    await expectGoodOnceMended(folder);
  },
);

test('a truncated JPEG and a bad label may be left out: the rest is trained on, and their names stay told', async () => {
  const folder = path.join(cluster.folder, 'lenient');
  await cp(good, folder, {recursive: true});
  await truncate(path.join(folder, image(0)), 700);
  await writeFile(path.join(folder, label(1)), '0 0.5 0.5 0.2 9\n');
  const added = await cluster.cli(
    'dataset',
    'add',
    path.join(folder, 'data.yaml'),
    '--skip-bad-samples',
    '--name',
    'lenient',
    '-o',
    'json',
  );
  expect(added.code).toBe(0);
  const dataset = JSON.parse(added.stdout) as {splits: {name: string; samples: string}[]; problems: {code: string}[]};
  expect(dataset.splits.find(split => split.name === 'train')!.samples).toBe('46');
  expect(dataset.problems.map(({code}) => code).sort()).toEqual(['label_out_of_range', 'unreadable_image']);
  const trained = await cluster.cli(
    'submit',
    'data=datasets/lenient',
    'model=yolov8n',
    'epochs=1',
    'batch=8',
    'imgsz=64',
    'mosaic=0',
    '--watch',
  );
  expect(trained).toMatchObject({code: 0});
});

test('a spec with unknown and wrong keys is refused whole before anything is stored: every problem at once, with its place', async () => {
  const before = (await cluster.jobs.listJobs({})).jobs.length;
  const file = path.join(cluster.folder, 'job.yaml');
  await writeFile(
    file,
    `data: ${good}/data.yaml\nmodel: {arch: yolov8n}\nprio: 3\ntrain: {epoch: 3, batch: -4, lr0: fast}\nresources: {gpus: 0}\npolicy: {restarts: {infra: many}}\n`,
  );
  const {code, stderr, stdout} = await cluster.cli('submit', '-f', file);
  expect({code, stdout}).toEqual({code: 2, stdout: ''});
  for (const place of ['prio', 'train.epoch', 'train.batch', 'train.lr0', 'resources.gpus', 'policy.restarts.infra'])
    expect(stderr).toContain(place);
  expect(stderr).toContain('priority');
  expect(stderr).toContain('epochs');
  expect((await cluster.jobs.listJobs({})).jobs.length).toBe(before);
});

test('arguments that this trainer does not have are refused by name', async () => {
  const {code, stderr} = await cluster.cli('submit', `data=${good}/data.yaml`, 'model=yolov8q', 'label_smoothing=0.9', 'epochs=1');
  expect(code).toBe(2);
  expect(stderr).toContain('model.arch');
  expect(stderr).toContain('label_smoothing');
});

test('names that nothing bears are 3, and a cluster that is away is 4', async () => {
  for (const args of [
    ['get', 'no-such'],
    ['watch', 'no-such'],
    ['logs', 'no-such'],
    ['cancel', 'no-such'],
    ['dataset', 'get', 'no-such'],
  ]) {
    expect(await cluster.cli(...args)).toMatchObject({code: 3, stdout: ''});
  }
  expect(await cluster.cli('ps', '--address', '127.0.0.1:1')).toMatchObject({code: 4, stdout: ''});
});

test('the newest checkpoint is corrupted on disk: a new attempt goes on from the one before it', async () => {
  const {name} = await cluster.jobs.createJob({
    spec: {
      data: `${good}/data.yaml`,
      model: {arch: 'yolov8n'},
      train: {epochs: 400, batch: 8, imgsz: 64, mosaic: 0, val: false},
      resources: {gpus: 1},
      checkpoint: {everySteps: 5},
    },
    requestId: `corrupt-${Date.now()}`,
  });
  await waitForState(cluster, name, JobState.JOB_STATE_RUNNING);
  await waitUntil('two checkpoints are committed', async () => (await committedSteps(name)).length >= 2);
  const [pid] = await rankPids(cluster, name);
  process.kill(pid!, 'SIGSTOP');
  await waitUntil('no upload is under way', async () => {
    const steps = await committedSteps(name);
    return steps.at(-1) === (await lastCheckpointEvent(name));
  });
  const {checkpoints} = await cluster.jobs.listCheckpoints({parent: name});
  const sorted = checkpoints.sort((a, b) => Number(a.step - b.step));
  const [previous, newest] = sorted.slice(-2);
  const digests = newest!.files.map(file => file.sha256);
  // The agent may be moving its copy to where it keeps it: a pass that finds nothing more ends it.
  expect(await corruptFilesOf(digests)).toBeGreaterThan(0);
  while ((await corruptFilesOf(digests)) > 0);
  await killAndWait(pid!);

  const resumed = await eventAfter(cluster, name, 0n, ['resumed']);
  expect(BigInt(resumed.data?.step)).toBe(previous!.step);
  await eventAfter(cluster, name, resumed.sequence, ['checkpoint']);
  const job = await cluster.jobs.getJob({name});
  expect(job.attempts.map(({endReason}) => endReason?.code)).toEqual(['killed', 'bad_checkpoint', undefined]);
  await cluster.jobs.cancelJob({name});
  await waitForState(cluster, name, JobState.JOB_STATE_CANCELLED);
});

async function committedSteps(name: string): Promise<number[]> {
  const {checkpoints} = await cluster.jobs.listCheckpoints({parent: name});
  return checkpoints.map(({step}) => Number(step)).sort((a, b) => a - b);
}

/** The step of the last checkpoint that the trainer told of. */
async function lastCheckpointEvent(name: string): Promise<number> {
  let step = 0;
  for await (const {update} of cluster.jobs.watchJob({name, types: ['checkpoint'], noFollow: true})) {
    if (update?.$case === 'event') step = Number(update.value.data?.step);
  }
  return step;
}

/** Overwrites a byte in every file of the cluster's folders that has one of these digests; returns how many there were. */
async function corruptFilesOf(digests: readonly string[]): Promise<number> {
  let spoiled = 0;
  for (const entry of readdirSync(cluster.folder, {recursive: true, withFileTypes: true})) {
    if (!entry.isFile()) continue;
    const file = path.join(entry.parentPath, entry.name);
    // A copy that is another checkpoint's may be cleared away meanwhile.
    const content = await readFile(file).catch(() => undefined);
    if (content === undefined || !digests.includes(createHash('sha256').update(content).digest('hex'))) continue;
    const handle = await open(file, 'r+');
    const byte = Buffer.alloc(1);
    await handle.read(byte, 0, 1, 100);
    byte[0]! ^= 0xff;
    await handle.write(byte, 0, 1, 100);
    await handle.close();
    spoiled++;
  }
  return spoiled;
}
