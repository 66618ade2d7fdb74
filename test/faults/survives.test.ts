import path from 'node:path';
import {afterAll, afterEach, beforeAll, expect, test} from 'vitest';
import {type Job, type JobSpec, JobState, type WatchJobResponse} from '../../shared/gen/tenfold/v1/job.js';
import {
  type Cluster,
  eventAfter,
  eventsOf,
  follow,
  isFinal,
  killAndWait,
  processesWith,
  rankPids,
  startCluster,
  waitForState,
} from '../support/cluster.js';
import {committedIdsByEpoch} from '../support/ledgerAudit.js';
import {writeTinyDataset} from '../support/tinyDataset.js';
import {isRunning, waitUntil} from '../support/waitUntil.js';

/** Real etcd, coordinator, agents and trainers; each story kills a part of them in the middle of a training. */

const SAMPLES = 48;

let cluster: Cluster;
let data: string;
let submitted: string | undefined;

beforeAll(async () => {
  cluster = await startCluster({agents: 2});
  data = await writeTinyDataset(path.join(cluster.folder, 'tiny'), {train: SAMPLES});
});
afterAll(() => cluster?.stop());
afterEach(async () => {
  if (submitted === undefined) return;
  const job = await cluster.jobs.getJob({name: submitted});
  if (!isFinal(job.state)) await cluster.jobs.cancelJob({name: submitted});
  await waitUntil(`${submitted} has ended`, async () => isFinal((await cluster.jobs.getJob({name: submitted!})).state));
  submitted = undefined;
});

async function submit(train: Readonly<Record<string, unknown>> = {}, everySteps = 4): Promise<Job> {
  const spec: Partial<JobSpec> = {
    data,
    model: {arch: 'yolov8n'},
    train: {epochs: 200, batch: 8, imgsz: 64, close_mosaic: 0, seed: 7, ...train},
    resources: {gpus: 2},
    checkpoint: {everySteps},
  };
  const job = await cluster.jobs.createJob({spec, requestId: `story-${Date.now()}-${Math.random()}`});
  submitted = job.name;
  return job;
}

/** Every sample of every epoch that is over was consumed exactly once in the committed history (L3). */
async function expectWholeEpochs(name: string): Promise<void> {
  const wholeEpochs = async (): Promise<[number, number[]][]> => {
    const byEpoch = committedIdsByEpoch(await eventsOf(cluster, name, ['hello', 'resumed', 'consumed', 'epoch']));
    const last = Math.max(...byEpoch.keys());
    return [...byEpoch].filter(([epoch]) => epoch < last);
  };
  // One agent may still have to tell what the other has told already.
  await waitUntil('both agents have told all', async () => (await wholeEpochs()).every(([, ids]) => ids.length >= SAMPLES));
  const whole = await wholeEpochs();
  expect(whole.length).toBeGreaterThan(0);
  const everySample = Array.from({length: SAMPLES}, (_, id) => id);
  for (const [epoch, ids] of whole) expect(ids, `epoch ${epoch}`).toEqual(everySample);
}

/** The sequences of the events among the responses run on without a gap or a repetition. */
function expectUnbroken(responses: readonly WatchJobResponse[]): void {
  const sequences = responses.flatMap(({update}) => (update?.$case === 'event' ? [Number(update.value.sequence)] : []));
  expect(sequences.length).toBeGreaterThan(0);
  expect(sequences).toEqual(Array.from({length: sequences.length}, (_, i) => i + 1));
}

const ALL_TYPES = [
  'hello',
  'joined',
  'model',
  'resumed',
  'consumed',
  'step',
  'val',
  'epoch',
  'evaluation',
  'checkpoint',
  'warning',
  'artifact',
  'end',
  'log',
  'staged',
  'started',
  'exited',
  'bad_event',
];

async function trainingBeyond(name: string, sequence: bigint, epochs: number): Promise<void> {
  const first = await eventAfter(cluster, name, sequence, ['step']);
  const epoch = Number(first.data?.epoch);
  await eventAfter(cluster, name, first.sequence, ['epoch'], event => Number(event.data?.epoch) >= epoch + epochs - 1);
}

async function untilCheckpointed(name: string): Promise<void> {
  await waitForState(cluster, name, JobState.JOB_STATE_RUNNING);
  await waitUntil(`${name} has a checkpoint`, async () => (await cluster.jobs.listCheckpoints({parent: name})).checkpoints.length > 0);
}

async function lastSequence(name: string): Promise<bigint> {
  return (await eventsOf(cluster, name, ['step'])).at(-1)?.sequence ?? 0n;
}

test('a rank is killed in the middle of an epoch: a new attempt goes on from the newest checkpoint, and no sample is lost or doubled', async () => {
  const {name} = await submit();
  await untilCheckpointed(name);
  const midEpoch = (step: unknown) => Number(step) > 8 && Number(step) % 6 === 3;
  await eventAfter(cluster, name, 0n, ['step'], event => midEpoch(event.data?.step));
  const before = await lastSequence(name);
  await killAndWait((await rankPids(cluster, name))[1]!);

  await eventAfter(cluster, name, before, ['resumed']);
  await trainingBeyond(name, await lastSequence(name), 2);
  const job = await cluster.jobs.getJob({name});
  expect(job.attempts).toHaveLength(2);
  expect(job.attempts[0]!.endReason).toMatchObject({code: 'killed', fault: 'infra'});
  expect(Number(job.attempts[1]!.startStep)).toBeGreaterThan(0);
  await expectWholeEpochs(name);
});

test('a whole agent is killed: its ranks die with it, and the job goes on when the agent is back', async () => {
  const {name} = await submit();
  await untilCheckpointed(name);
  const before = await lastSequence(name);
  const {nodes} = await cluster.nodes.listNodes({});
  expect(nodes.map(node => node.devices.map(device => device.job))).toEqual([[name], [name]]);
  const victim = cluster.status().agents[0]!;
  const job = await cluster.jobs.getJob({name});
  const rank = job.attempts[0]!.ranks.findIndex(placement => placement.node === `nodes/${victim.nodeId}`);
  const rankPid = (await rankPids(cluster, name))[rank]!;
  await killAndWait(victim.pid);
  await waitUntil('the rank died with its agent', () => !isRunning(rankPid));

  await eventAfter(cluster, name, before, ['resumed']);
  await trainingBeyond(name, await lastSequence(name), 2);
  await expectWholeEpochs(name);
});

test('the coordinator is killed and started again: training never stops, and a watcher with a token misses nothing', async () => {
  const {name} = await submit();
  const stop = new AbortController();
  const watching = follow(cluster, name, ALL_TYPES, stop.signal);
  await waitForState(cluster, name, JobState.JOB_STATE_RUNNING);
  await eventAfter(cluster, name, 0n, ['checkpoint']);
  const pids = await rankPids(cluster, name);
  await killAndWait(cluster.status().coordinator.pid);

  await waitUntil('the coordinator is back', () =>
    cluster.jobs.getJob({name}).then(
      () => true,
      () => false,
    ),
  );
  await trainingBeyond(name, await lastSequence(name), 2);
  expect(pids.map(isRunning)).toEqual([true, true]);
  expect((await cluster.jobs.getJob({name})).attempts).toHaveLength(1);
  await cluster.jobs.cancelJob({name});
  await waitForState(cluster, name, JobState.JOB_STATE_CANCELLED);
  expectUnbroken(await watching);
  stop.abort();
  await expectWholeEpochs(name);
});

test('etcd is killed and started again: the same', async () => {
  const {name} = await submit();
  const stop = new AbortController();
  const watching = follow(cluster, name, ALL_TYPES, stop.signal);
  await waitForState(cluster, name, JobState.JOB_STATE_RUNNING);
  await eventAfter(cluster, name, 0n, ['checkpoint']);
  const pids = await rankPids(cluster, name);
  await killAndWait(cluster.status().etcd.pid);

  await trainingBeyond(name, await lastSequence(name), 2);
  expect(pids.map(isRunning)).toEqual([true, true]);
  const other = await cluster.jobs.createJob({
    spec: {data, model: {arch: 'yolov8n'}, train: {epochs: 1}, resources: {gpus: 2}},
    requestId: `after-etcd-${Date.now()}`,
  });
  expect(other.state).toBe(JobState.JOB_STATE_QUEUED);
  await cluster.jobs.cancelJob({name: other.name});
  expect((await cluster.jobs.getJob({name})).attempts).toHaveLength(1);
  await cluster.jobs.cancelJob({name});
  await waitForState(cluster, name, JobState.JOB_STATE_CANCELLED);
  expectUnbroken(await watching);
  stop.abort();
  await expectWholeEpochs(name);
});

test.each([
  ['before it has started', async () => undefined],
  [
    'as soon as it is placed',
    (name: string) => waitUntil(`${name} is placed`, async () => (await cluster.jobs.getJob({name})).attempts.length > 0),
  ],
  ['while it trains', (name: string) => eventAfter(cluster, name, 0n, ['step']).then(() => undefined)],
  ['during a checkpoint', (name: string) => eventAfter(cluster, name, 0n, ['checkpoint']).then(() => undefined)],
])('a job is cancelled %s: no process is left, the devices are free, and the state is final', async (_when, moment) => {
  const {name} = await submit({}, 1);
  await moment(name);
  await cluster.jobs.cancelJob({name});
  const ended = await waitForState(cluster, name, JobState.JOB_STATE_CANCELLED);
  expect(ended.endReason).toMatchObject({code: 'cancelled'});

  expect((await Promise.all((await rankPids(cluster, name)).map(isRunning))).includes(true)).toBe(false);
  expect(await processesWith(name.replace('jobs/', ''))).toEqual([]);
  const {nodes} = await cluster.nodes.listNodes({});
  expect(nodes.flatMap(node => node.devices.map(device => device.job))).toEqual(['', '']);
  const again = await cluster.jobs.cancelJob({name});
  expect(again).toMatchObject({state: JobState.JOB_STATE_CANCELLED, etag: ended.etag});
});
