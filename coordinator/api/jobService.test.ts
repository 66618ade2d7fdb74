import {mkdir, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {systemClock} from '../../shared/clock.js';
import {ListJobsRequest} from '../../shared/gen/tenfold/v1/job.js';
import type {AttemptRecord} from '../../shared/job.js';
import {NO_PROGRESS, type Progress} from '../../shared/progress.js';
import {CoordinatorRig} from '../../test/support/coordinatorRig.js';
import {RecordingLog} from '../../test/support/recordingLog.js';
import {DEFAULT_POLICY} from '../core/snapshot.js';
import {takeSnapshot} from '../takeSnapshot.js';
import {JobService} from './jobService.js';
import type {ApiParts} from './parts.js';

const HOUR_MS = 3_600_000;
const attempt: AttemptRecord = {
  number: 1,
  createdAt: 0,
  runningAt: 0,
  endedAt: null,
  endReason: null,
  startStep: 0,
  placementReason: '',
};

let rig: CoordinatorRig;
let replayed: string[];
let log: RecordingLog;
let service: JobService;
beforeEach(async () => {
  rig = await CoordinatorRig.start();
  replayed = [];
  log = new RecordingLog();
  const progress = async (id: string): Promise<Progress> => {
    replayed.push(id);
    return {...NO_PROGRESS, epoch: 3, epochs: 5};
  };
  const {state, fenced: store} = rig;
  const snapshot = () => takeSnapshot(state, rig.sessions.nodeViews());
  service = new JobService({
    state,
    store,
    journal: {progress},
    objects: rig.objects,
    snapshot,
    policy: DEFAULT_POLICY,
    clock: systemClock,
    log,
  } as unknown as ApiParts);
  await rig.put(rig.keys.job('runs'), {...(await rig.addJob('runs')), status: {phase: 'running', attempt: 1}, attempts: [attempt]});
  for (const [id, at] of [['ended', HOUR_MS * 30] as const, ['ended-early', HOUR_MS] as const]) {
    const status = {phase: 'ended', outcome: 'succeeded', reason: {code: 'completed', fault: 'none', message: ''}, at};
    await rig.put(rig.keys.job(id), {...(await rig.addJob(id)), status, attempts: [attempt]});
  }
});
afterEach(() => rig.stop());

const listed = async (request: Partial<ListJobsRequest> = {}): Promise<string[]> =>
  (await service.listJobs(ListJobsRequest.fromPartial(request))).jobs.map(({name}) => name.replace('jobs/', ''));

test('the journal of a job that has ended is replayed once: its final figures are kept', async () => {
  const epochs = async () =>
    (await service.listJobs(ListJobsRequest.fromPartial({}))).jobs.map(({name, progress}) => [name, progress?.epoch]);
  const all = [
    ['jobs/runs', 3],
    ['jobs/ended-early', 3],
    ['jobs/ended', 3],
  ];
  expect(await epochs()).toEqual(all);
  expect([...replayed].sort()).toEqual(['ended', 'ended-early', 'runs']);
  replayed = [];
  expect(await epochs()).toEqual(all);
  expect((await service.getJob({name: 'jobs/ended'})).progress?.epoch).toBe(3);
  expect(replayed).toEqual(['runs']);
});

test('figures that cannot be kept are answered all the same, and why they cannot is told once', async () => {
  // Files in the place of the jobs' folders: as on a disk that is full, nothing can be written there.
  await mkdir(join(rig.folder, 'jobs'));
  for (const id of ['ended', 'ended-early']) await writeFile(join(rig.folder, 'jobs', id), '');
  for (const _ of [1, 2]) expect(await listed()).toEqual(['runs', 'ended-early', 'ended']);
  expect((await service.getJob({name: 'jobs/ended'})).progress?.epoch).toBe(3);
  expect(log.at('error')).toEqual(['the figures of a job that ended cannot be kept']);
});

test('right after the end of a job something of it may still come: its figures are not kept yet', async () => {
  const status = {phase: 'ended', outcome: 'succeeded', reason: {code: 'completed', fault: 'none', message: ''}, at: systemClock.now()};
  await rig.put(rig.keys.job('just-ended'), {...(await rig.addJob('just-ended')), status, attempts: [attempt]});
  for (const _ of [1, 2]) await service.getJob({name: 'jobs/just-ended'});
  expect(replayed).toEqual(['just-ended', 'just-ended']);
});

test('a list may leave out what ended earlier, and its pages belong to that question', async () => {
  const endedAfter = new Date(HOUR_MS * 10);
  expect(await listed({endedAfter})).toEqual(['runs', 'ended']);
  const {nextPageToken: pageToken} = await service.listJobs(ListJobsRequest.fromPartial({endedAfter, pageSize: 1}));
  expect(await listed({endedAfter, pageToken})).toEqual(['ended']);
  await expect(listed({pageToken})).rejects.toThrow(/page_token/);
});
