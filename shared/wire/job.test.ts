import {describe, expect, it} from 'vitest';
import {endReason} from '../endReason.js';
import * as pb from '../gen/tenfold/v1/job.js';
import type {JobRecord} from '../job.js';
import {type JobSpec, parseJobSpec} from '../jobSpec.js';
import {NO_PROGRESS} from '../progress.js';
import {eventToProto, isFinal, jobSpecCandidate, jobSpecToProto, jobStateName, jobToProto, progressToProto} from './job.js';

function specOf(candidate: unknown): JobSpec {
  const parsed = parseJobSpec(candidate);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.spec;
}

const minimal = specOf({data: 'datasets/defects', model: {arch: 'yolov8n'}});
const full = specOf({
  name: 'defects-s',
  project: 'line-3',
  priority: 0,
  data: '/data/defects/data.yaml',
  model: {arch: 'yolov8s', nc: 5},
  train: {epochs: 3, batch: 8, cos_lr: true, optimizer: 'SGD', amp: 'off'},
  resources: {gpus: 2},
  checkpoint: {every: {steps: 100}, keep: {best: 0, last: 5}},
  policy: {restarts: {infra: 3, user: 1}},
});

/** Through the bytes, as a peer would get it. */
const overTheWire = (spec: pb.JobSpec): pb.JobSpec => pb.JobSpec.decode(pb.JobSpec.encode(spec).finish());

describe('a spec', () => {
  it.each([
    ['minimal', minimal],
    ['full', full],
  ])('that is %s comes back as it was', (_, spec) => {
    expect(specOf(jobSpecCandidate(overTheWire(jobSpecToProto(spec))))).toEqual(spec);
  });

  it('of a stranger who sets little gets the defaults', () => {
    const little = pb.JobSpec.fromPartial({data: 'datasets/defects', model: {arch: 'yolov8n'}, train: {epochs: 2}});
    expect(specOf(jobSpecCandidate(overTheWire(little)))).toMatchObject({
      priority: 50,
      resources: {gpus: 1},
      train: {epochs: 2, imgsz: 640},
    });
  });

  it('that is wrong is reported by the paths of the YAML form', () => {
    const wrong = pb.JobSpec.fromPartial({
      data: '',
      model: {arch: 'yolov9x'},
      train: {epochs: 0, epoks: 3},
      resources: {gpus: -1},
      restarts: {infra: -2},
      checkpoint: {everyEpochs: 0},
    });
    const parsed = parseJobSpec(jobSpecCandidate(overTheWire(wrong)));
    expect(parsed.ok ? [] : parsed.problems.map(problem => problem.path)).toEqual([
      'checkpoint.every.epochs',
      'data',
      'model.arch',
      'policy.restarts.infra',
      'resources.gpus',
      'train.epochs',
      'train.epoks',
    ]);
  });
});

describe('a job', () => {
  const record: JobRecord = {
    id: 'defects-s-7f3a',
    spec: full,
    requestId: 'r1',
    datasetId: 'defects',
    createdAt: 1000,
    cancelRequestedAt: null,
    status: {phase: 'ended', outcome: 'failed', reason: endReason('diverged', 'NaN'), at: 9000},
    attempts: [
      {
        number: 1,
        createdAt: 2000,
        runningAt: 3000,
        endedAt: 8000,
        endReason: endReason('diverged', 'NaN'),
        startStep: 0,
        placementReason: 'the only node with a free device',
      },
    ],
  };

  it('is told whole', () => {
    const plan = {generation: 17, ranks: [{rank: 0, nodeId: 'a', deviceId: 'cpu-0', localRank: 0}]};
    const outlook = {modRevision: 42, waitingFor: [], queuePosition: 0, progress: progressToProto(NO_PROGRESS), planOf: () => plan};
    const job = pb.Job.decode(pb.Job.encode(jobToProto(record, outlook)).finish());
    expect(job).toMatchObject({
      name: 'jobs/defects-s-7f3a',
      state: pb.JobState.JOB_STATE_FAILED,
      etag: '42',
      startTime: new Date(2000),
      endTime: new Date(9000),
      endReason: {code: 'diverged', fault: 'user', message: 'NaN'},
      attempts: [{number: 1, generation: 17n, ranks: [{node: 'nodes/a', device: 'cpu-0'}]}],
    });
    expect(isFinal(job.state)).toBe(true);
    expect(jobStateName(job.state)).toBe('FAILED');
  });

  it("carries events with their fields as the trainer's contract has them", () => {
    const event = {type: 'val', t: 5000, epoch: 2, done: 3, total: 4} as const;
    const said = {sequence: 9, jobId: record.id, attempt: 1, generation: 17, rank: 0, nodeId: 'a', event};
    const decoded = pb.JobEvent.decode(pb.JobEvent.encode(eventToProto(said)).finish());
    expect(decoded).toMatchObject({sequence: 9n, time: new Date(5000), type: 'val', node: 'nodes/a', data: {epoch: 2, done: 3, total: 4}});
  });
});
