import {describe, expect, test} from 'vitest';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {CheckpointRecord} from '../../shared/checkpoint.js';
import {endReason} from '../../shared/endReason.js';
import type {JobRecord} from '../../shared/job.js';
import {jobSpecSchema} from '../../shared/jobSpec.js';
import {expiredCheckpoints} from './retention.js';
import type {Snapshot} from './snapshot.js';

function checkpoint(step: number, map50_95?: number): CheckpointRecord {
  const files = [{name: 'model.safetensors', bytes: 1, sha256: '0'.repeat(64)}];
  return {step, cursor: {epoch: step, offset: 0}, files, attempt: 1, committedAt: step, map50_95};
}

interface Case {
  readonly keep: {readonly last: number; readonly best: number};
  readonly checkpoints: readonly CheckpointRecord[];
  readonly startedFrom?: CheckpointRecord;
  readonly provedBad?: number;
  readonly isOver?: boolean;
}

function expired({keep, checkpoints, startedFrom, provedBad, isOver}: Case): number[] {
  const attempt = {number: 2, createdAt: 0, runningAt: null, endedAt: 1, startStep: provedBad ?? 0, placementReason: ''};
  const ended: JobRecord['status'] = {phase: 'ended', outcome: 'succeeded', reason: endReason('completed'), at: 1};
  const job: JobRecord = {
    id: 'j1',
    spec: jobSpecSchema.parse({data: 'datasets/d', model: {arch: 'yolov8n'}, checkpoint: {keep}}),
    requestId: '',
    datasetId: 'd',
    createdAt: 0,
    cancelRequestedAt: null,
    status: isOver ? ended : {phase: 'running', attempt: 3},
    attempts: provedBad === undefined ? [] : [{...attempt, endReason: endReason('bad_checkpoint')}],
  };
  const plan = {jobId: 'j1', attempt: 3, startFrom: startedFrom ?? null} as GenerationPlan;
  const snapshot: Snapshot = {
    jobs: new Map([['j1', {value: job, modRevision: 1}]]),
    plans: new Map([['j1', plan]]),
    nodes: new Map(),
    datasets: new Map(),
    checkpoints: new Map([['j1', checkpoints]]),
  };
  return expiredCheckpoints(snapshot, 'j1').map(({step}) => step);
}

describe('of a job’s checkpoints', () => {
  const five = [checkpoint(1, 0.5), checkpoint(2, 0.9), checkpoint(3, 0.7), checkpoint(4), checkpoint(5, 0.6)];

  test('the newest and the best are kept', () => {
    expect(expired({keep: {last: 2, best: 1}, checkpoints: five})).toEqual([3, 1]);
    expect(expired({keep: {last: 1, best: 2}, checkpoints: five})).toEqual([4, 1]);
    expect(expired({keep: {last: 1, best: 0}, checkpoints: five})).toEqual([4, 3, 2, 1]);
  });

  test('of equally good ones the newer is the best', () => {
    expect(expired({keep: {last: 1, best: 1}, checkpoints: [checkpoint(1, 0.9), checkpoint(2, 0.9), checkpoint(3)]})).toEqual([1]);
  });

  test('the one that the running attempt started from is kept, until the job is over', () => {
    const checkpoints = [checkpoint(1), checkpoint(2), checkpoint(3)];
    expect(expired({keep: {last: 1, best: 0}, checkpoints, startedFrom: checkpoints[0]})).toEqual([2]);
    expect(expired({keep: {last: 1, best: 0}, checkpoints, startedFrom: checkpoints[0], isOver: true})).toEqual([2, 1]);
  });

  test('one that proved bad takes nobody’s place', () => {
    expect(expired({keep: {last: 2, best: 0}, checkpoints: [checkpoint(1), checkpoint(2), checkpoint(3)], provedBad: 3})).toEqual([]);
    expect(expired({keep: {last: 1, best: 1}, checkpoints: [checkpoint(1, 0.5), checkpoint(2, 0.9), checkpoint(3)], provedBad: 2})).toEqual(
      [2],
    );
  });
});
