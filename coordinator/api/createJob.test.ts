import {afterEach, beforeEach, expect, test} from 'vitest';
import {systemClock} from '../../shared/clock.js';
import type {DatasetRecord} from '../../shared/dataset.js';
import {CreateJobRequest} from '../../shared/gen/tenfold/v1/job.js';
import {CoordinatorRig} from '../../test/support/coordinatorRig.js';
import {createJob} from './createJob.js';
import type {ApiParts} from './parts.js';

let rig: CoordinatorRig;
beforeEach(async () => {
  rig = await CoordinatorRig.start();
  await rig.addDataset('d1', 10);
});
afterEach(() => rig.stop());

const never = new AbortController().signal;

/** The parts that creating a job needs; `registered` is what becomes of a path. */
function parts(registered: () => Promise<DatasetRecord> = () => Promise.reject(new Error('no path was given'))): ApiParts {
  return {state: rig.state, store: rig.fenced, clock: systemClock, datasets: {create: registered}} as unknown as ApiParts;
}

const request = (requestId: string, spec: object = {}): CreateJobRequest =>
  CreateJobRequest.fromPartial({requestId, spec: {data: 'datasets/d1', model: {arch: 'yolov8n'}, resources: {gpus: 1}, ...spec}});

test('a caller who has gone while the data set was looked at has no job', async () => {
  const leaving = new AbortController();
  const registered = async (): Promise<DatasetRecord> => {
    leaving.abort();
    return rig.state.datasets.get('d1')!.value;
  };
  await expect(createJob(parts(registered), request('r', {data: '/data/d1/data.yaml'}), leaving.signal)).rejects.toThrow(/abort/);
  expect([...rig.state.jobs.keys()]).toEqual([]);
  expect(await createJob(parts(), request('r'), never)).toMatch(/^yolov8n-/);
});

test('a request that is repeated gives its job again, and is refused when it asks for another one', async () => {
  const id = await createJob(parts(), request('r'), never);
  expect(await createJob(parts(), request('r'), never)).toBe(id);
  await expect(createJob(parts(), request('r', {resources: {gpus: 2}}), never)).rejects.toMatchObject({
    problem: {kind: 'alreadyExists', name: `jobs/${id}`, message: expect.stringContaining('with another spec')},
  });
  expect(rig.state.jobs.size).toBe(1);
});
