import {describe, expect, test} from 'vitest';
import type {DatasetRecord} from '../../shared/dataset.js';
import {jobSpecSchema} from '../../shared/jobSpec.js';
import {referredDataset, validateJob} from './validate.js';

const split = (name: 'train' | 'val', samples: number) => ({name, samples, boxes: samples, backgrounds: 0, bytes: 1, shards: 1});
const ready = (train: number, val: number): DatasetRecord['status'] => ({
  state: 'ready',
  classNames: ['bag', 'boot', 'dress'],
  splits: val === 0 ? [split('train', train)] : [split('train', train), split('val', val)],
  indexDigest: '',
  problems: [],
  problemCounts: {},
});

const datasets = new Map(
  Object.entries({
    defects: ready(1000, 100),
    tiny: ready(3, 0),
    fresh: {state: 'registering' as const},
    broken: {state: 'failed' as const, problems: [], problemCounts: {}},
  }).map(([id, status]) => {
    const value: DatasetRecord = {id, source: '', requestId: '', fingerprint: '', skipBadSamples: false, createdAt: 0, status};
    return [id, {value, modRevision: 1}];
  }),
);

function problems(spec: Record<string, unknown>): string[] {
  const complete = jobSpecSchema.parse({model: {arch: 'yolov8n'}, ...spec});
  return validateJob(complete, datasets).map(({path, message}) => `${path}: ${message}`);
}

describe('a spec held against the data sets', () => {
  test('is fine when they fit', () => {
    expect(problems({data: 'datasets/defects', model: {arch: 'yolov8n', nc: 3}})).toEqual([]);
  });

  test('names a data set that is not there, with the one that was meant', () => {
    expect(problems({data: 'datasets/defect'})).toEqual(['data: there is no data set datasets/defect; did you mean datasets/defects?']);
    expect(problems({data: 'datasets/other'})[0]).toContain('tenfold dataset add');
  });

  test('is refused for a data set that could not be registered, and waits for one that is about to be', () => {
    expect(problems({data: 'datasets/broken'})[0]).toContain('tenfold dataset get broken');
    expect(problems({data: 'datasets/fresh'})).toEqual([]);
  });

  test('tells everything that does not fit at once', () => {
    expect(problems({data: 'datasets/tiny', model: {arch: 'yolov8n', nc: 80}, resources: {gpus: 4}})).toEqual([
      "model.nc: 80 classes, but datasets/tiny has 3; leave it out to take the data set's",
      'resources.gpus: 4 devices for the 3 training images of datasets/tiny; every rank needs one',
      'train.val: datasets/tiny has no validation images; set it to false, or register the data set with a val split',
    ]);
    expect(problems({data: 'datasets/tiny', train: {val: false}})).toEqual([]);
  });

  test('more devices than any cluster has are a reason to wait, not an error', () => {
    expect(problems({data: 'datasets/defects', resources: {gpus: 512}, train: {batch: 512}})).toEqual([]);
  });
});

test('a path is no registered data set', () => {
  expect(referredDataset('datasets/defects')).toBe('defects');
  expect(referredDataset('datasets/defects/data.yaml')).toBeUndefined();
  expect(referredDataset('/data/defects.yaml')).toBeUndefined();
  expect(referredDataset('datasets/Not An Id')).toBeUndefined();
});
