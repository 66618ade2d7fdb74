import {describe, expect, it} from 'vitest';
import {foldProgress, imagesPerSecond, NO_PROGRESS, type Progress} from './progress.js';
import type {RankEvent} from './trainerContract.js';

const loss = [
  {name: 'box', value: 1},
  {name: 'obj', value: 2},
  {name: 'cls', value: 3},
];
const metrics = {precision: 0.8, recall: 0.7, map50: 0.9, map50_95: 0.6};

function step(t: number, epoch: number, batch: number, rate = 30): RankEvent {
  return {
    type: 'step',
    t,
    epoch,
    epochs: 3,
    batch,
    batches: 10,
    step: (epoch - 1) * 10 + batch,
    offset: 0,
    loss,
    lr: [],
    images_per_s: rate,
    data_wait_ms: 0,
  };
}

function epochEnd(t: number, epoch: number, best: boolean, map50 = 0.9): RankEvent {
  return {
    type: 'epoch',
    t,
    epoch,
    time_s: 1,
    train: loss,
    val: loss,
    metrics: {...metrics, map50},
    lr: [],
    best,
    images: 160,
    images_per_s: 60,
  };
}

function fold(...said: [attempt: number, rank: number, event: RankEvent][]): Progress {
  return said.reduce((progress, [attempt, rank, event]) => foldProgress(progress, {attempt, rank}, event), NO_PROGRESS);
}

describe('progress', () => {
  it('takes the figures of rank 0 and the rates of all', () => {
    const progress = fold([1, 0, step(0, 1, 1)], [1, 1, step(50, 1, 2, 25)]);
    expect(progress).toMatchObject({epoch: 1, epochs: 3, batch: 1, batches: 10, step: 1, loss});
    expect(imagesPerSecond(progress)).toBe(55);
  });

  it('estimates the end from the batches of the first epoch, then from whole epochs with their validation', () => {
    const early = fold([1, 0, step(0, 1, 1)], [1, 0, step(1000, 1, 6)]);
    expect(early.etaSeconds).toBeCloseTo((2 + 0.4) * 10 * 0.2);
    const later = fold([1, 0, step(0, 1, 1)], [1, 0, step(2000, 1, 10)], [1, 0, epochEnd(4000, 1, true)], [1, 0, step(4400, 2, 5)]);
    expect(later.etaSeconds).toBeCloseTo(1.5 * 4);
  });

  it('shows a validation while it is under way, and remembers the best epoch', () => {
    const validating = fold([1, 0, step(0, 1, 10)], [1, 0, {type: 'val', t: 10, epoch: 1, done: 64, total: 200}]);
    expect(validating.val).toEqual({done: 64, total: 200});
    const after = fold([1, 0, step(0, 1, 10)], [1, 0, epochEnd(20, 1, true)], [1, 0, epochEnd(40, 2, false, 0.5)]);
    expect(after.val).toBeUndefined();
    expect(after.metrics?.map50).toBe(0.5);
    expect(after.best).toMatchObject({epoch: 1, map50: 0.9});
  });

  it('measures a new attempt anew, and ignores late words of the old one', () => {
    const progress = fold([1, 0, step(0, 2, 5)], [1, 1, step(0, 2, 5)], [2, 0, step(9000, 2, 1)], [1, 1, step(10, 2, 6)]);
    expect(progress).toMatchObject({attempt: 2, batch: 1, etaSeconds: undefined});
    expect([...progress.rankImagesPerSecond.keys()]).toEqual([0]);
  });
});
