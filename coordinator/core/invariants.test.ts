import {describe, expect, test} from 'vitest';
import type {GenerationPlan, RankPlacement} from '../../shared/attemptPlan.js';
import {endReason} from '../../shared/endReason.js';
import type {AttemptRecord, JobRecord, JobStatus} from '../../shared/job.js';
import {jobSpecSchema} from '../../shared/jobSpec.js';
import type {Device, ObservedAttempt} from '../../shared/observation.js';
import {judgePlacement, judgePlan, judgeSnapshot, judgeTransition} from './invariants.js';
import type {NodeView, Snapshot} from './snapshot.js';

const at = (rank: number, nodeId: string, device: number, localRank: number): RankPlacement => ({
  rank,
  nodeId,
  deviceId: `gpu-${device}`,
  localRank,
});

const WHOLE = [at(0, 'a', 0, 0), at(1, 'a', 1, 1), at(2, 'b', 0, 0)];

function plan(jobId: string, ranks: RankPlacement[], change: Partial<GenerationPlan> = {}): GenerationPlan {
  const {model, train, checkpoint} = spec(ranks.length);
  const rendezvous = {host: 'host-a', port: 7001};
  const fixed = {attempt: 1, generation: 10, datasetId: 'd', datasetIndexDigest: '', startFrom: null};
  return {jobId, ranks, rendezvous, model, train, checkpoint, ...fixed, ...change};
}

const spec = (gpus: number) => jobSpecSchema.parse({data: 'datasets/d', model: {arch: 'yolov8n'}, resources: {gpus}});

function job(id: string, status: JobStatus, change: Partial<JobRecord> = {}): JobRecord {
  const attempt: AttemptRecord = {
    number: 1,
    createdAt: 0,
    runningAt: null,
    endedAt: null,
    endReason: null,
    startStep: 0,
    placementReason: '',
  };
  const fixed = {requestId: '', datasetId: 'd', createdAt: 0, cancelRequestedAt: null};
  return {id, spec: spec(3), status, attempts: [attempt], ...fixed, ...change};
}

function node(nodeId: string, attempts: ObservedAttempt[] = []): NodeView {
  const devices = [0, 1].map(
    (index): Device => ({id: `gpu-${index}`, kind: 'cuda', index, model: 'any', memoryBytes: 1, threads: 1, links: {}}),
  );
  const record = {nodeId, hostname: nodeId, agentVersion: '1', address: `host-${nodeId}`, devices};
  return {record, connected: true, lastSeenAt: 0 as never, report: {attempts, rendezvousPorts: [7001]}, exitsSeenAt: new Map()};
}

function snapshot(jobs: JobRecord[], plans: GenerationPlan[], nodes: NodeView[] = [node('a'), node('b')]): Snapshot {
  return {
    jobs: new Map(jobs.map(value => [value.id, {value, modRevision: 1}])),
    plans: new Map(plans.map(value => [value.jobId, value])),
    nodes: new Map(nodes.map(view => [view.record.nodeId, view])),
    datasets: new Map(),
    checkpoints: new Map(),
  };
}

const RUNNING: JobStatus = {phase: 'running', attempt: 1};
const ENDED: JobStatus = {phase: 'ended', outcome: 'succeeded', reason: endReason('completed'), at: 5};

describe('a plan is a whole gang', () => {
  const judged = (ranks: RankPlacement[], change: Partial<GenerationPlan> = {}) =>
    judgePlan(plan('j1', ranks, change), snapshot([job('j1', RUNNING)], [])).map(({message}) => message);

  test('and nothing is found wrong with one', () => {
    expect(judged(WHOLE)).toEqual([]);
  });

  test.each<[string, RankPlacement[], Partial<GenerationPlan>, RegExp]>([
    ['a rank short', WHOLE.slice(0, 2), {}, /2 ranks where 3/],
    ['a device twice', [at(0, 'a', 0, 0), at(1, 'a', 0, 1), at(2, 'b', 0, 0)], {}, /device twice/],
    ['ranks out of order', [WHOLE[1]!, WHOLE[0]!, WHOLE[2]!], {}, /not 0, 1/],
    ['nodes in turns', [at(0, 'a', 0, 0), at(1, 'b', 0, 0), at(2, 'a', 1, 1)], {}, /node by node/],
    ['a device that is not there', [at(0, 'a', 0, 0), at(1, 'a', 1, 1), at(2, 'b', 7, 0)], {}, /no device gpu-7 on node b/],
    ['a rendezvous elsewhere', WHOLE, {rendezvous: {host: 'host-b', port: 7001}}, /not on rank 0/],
  ])('%s', (_what, ranks, change, message) => {
    expect(judged(ranks, change).join()).toMatch(message);
  });
});

describe('L5: no device in two jobs', () => {
  const small = {spec: spec(1)};

  test('two active plans with one device', () => {
    const both = snapshot([job('j1', RUNNING, small), job('j2', RUNNING, small)], [plan('j1', [WHOLE[0]!]), plan('j2', [WHOLE[0]!])]);
    expect(judgeSnapshot(both).map(({law}) => law)).toEqual(['L5']);
  });

  test('a new plan where a rank of nobody is alive', () => {
    const stray: ObservedAttempt = {
      jobId: 'gone',
      attempt: 1,
      generation: 3,
      stage: {phase: 'ready'},
      ranks: [{rank: 0, deviceId: 'gpu-0', state: 'running', pid: 1}],
      pendingUploads: 0,
    };
    const occupied = snapshot([job('j1', {phase: 'queued'}, {...small, attempts: []})], [], [node('a', [stray])]);
    expect(() => judgePlacement(plan('j1', [WHOLE[0]!]), occupied)).toThrow('a/gpu-0 is held by a live rank of gone/1');
  });
});

describe('what never changes', () => {
  const broken = (before: Snapshot, after: Snapshot) => judgeTransition(before, after).map(({law}) => law);

  test('L8: a job that has ended', () => {
    const closed = job('j1', ENDED, {attempts: []});
    expect(broken(snapshot([closed], []), snapshot([closed], []))).toEqual([]);
    expect(broken(snapshot([closed], []), snapshot([{...closed, cancelRequestedAt: 9}], []))).toEqual(['L8']);
  });

  test('L8: an attempt that has ended, and a cancel that was acknowledged', () => {
    const [attempt] = job('j1', RUNNING).attempts;
    const over = {...attempt!, endedAt: 3, endReason: endReason('killed')};
    const recovering = job('j1', {phase: 'recovering', after: 1}, {attempts: [over], cancelRequestedAt: 4});
    expect(broken(snapshot([recovering], []), snapshot([{...recovering, attempts: [{...over, endedAt: 4}]}], []))).toEqual(['L8']);
    expect(broken(snapshot([recovering], []), snapshot([{...recovering, cancelRequestedAt: null}], []))).toEqual(['L8']);
  });

  test('L4: a plan; and generations only grow', () => {
    const before = snapshot([job('j1', RUNNING)], [plan('j1', WHOLE)]);
    const other = {host: 'host-a', port: 7002};
    expect(broken(before, snapshot([job('j1', RUNNING)], [plan('j1', WHOLE, {rendezvous: other})]))).toEqual(['L4']);
    expect(broken(before, snapshot([job('j1', RUNNING)], [plan('j1', WHOLE, {attempt: 2, generation: 9})]))).toEqual(['L4']);
    expect(broken(before, snapshot([job('j1', RUNNING)], [plan('j1', WHOLE, {attempt: 2, generation: 11})]))).toEqual([]);
  });
});
