import {describe, expect, it} from 'vitest';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {endReason} from '../../shared/endReason.js';
import {checkpointPolicySchema} from '../../shared/jobSpec.js';
import {trainArgumentsSchema} from '../../shared/trainArguments.js';
import type {TrainerEvent} from '../../shared/trainerContract.js';
import type {LocalAttempt} from './localAttempt.js';
import {type Fact, newAttempt, observe, type ProcessExit, reportOf} from './observe.js';

const plan: GenerationPlan = {
  jobId: 'j1',
  attempt: 1,
  generation: 5,
  ranks: [
    {rank: 0, nodeId: 'a', deviceId: 'd0', localRank: 0},
    {rank: 1, nodeId: 'b', deviceId: 'd0', localRank: 0},
    {rank: 2, nodeId: 'a', deviceId: 'd1', localRank: 1},
  ],
  rendezvous: {host: '10.0.0.1', port: 61_000},
  datasetId: 'd',
  datasetIndexDigest: '00'.repeat(32),
  model: {arch: 'yolov8n', nc: 'auto'},
  train: trainArgumentsSchema.parse({}),
  checkpoint: checkpointPolicySchema.parse({}),
  startFrom: null,
};

const step: TrainerEvent = {
  type: 'step',
  t: 1,
  epoch: 1,
  epochs: 2,
  batch: 1,
  batches: 9,
  step: 1,
  offset: 16,
  loss: [{name: 'box', value: 1}],
  lr: [0.1],
  images_per_s: 9,
  data_wait_ms: 0,
};

function attemptAfter(...facts: Fact[]): LocalAttempt {
  return facts.reduce(observe, newAttempt(plan));
}

const started: Fact[] = [
  {kind: 'launching', nodeId: 'a'},
  {kind: 'started', rank: 0, pid: 70},
  {kind: 'started', rank: 2, pid: 72},
];
const exited = (exit: ProcessExit, stderr = ''): Fact => ({kind: 'exited', rank: 0, exit, stderr});

describe('what an agent tells of an attempt', () => {
  it('is its own ranks only: starting at first, running from the first step on', () => {
    const [observed] = reportOf([attemptAfter(...started, {kind: 'event', rank: 2, event: step})], [61_000]).attempts;
    expect(observed!.ranks).toEqual([
      {rank: 0, deviceId: 'd0', state: 'starting', pid: 70},
      {rank: 2, deviceId: 'd1', state: 'running', pid: 72},
    ]);
  });

  it('shows a process that is being made, so that nobody takes its device for free', () => {
    const [observed] = reportOf([attemptAfter({kind: 'launching', nodeId: 'a'})], []).attempts;
    expect(observed!.ranks.map(({state}) => state)).toEqual(['starting', 'starting']);
  });

  it.each<[string, Fact[], string, string]>([
    ['a completed training', [exited({kind: 'code', code: 0})], 'completed', 'trained all epochs, or stopped early by patience'],
    [
      "the trainer's own words",
      [
        {kind: 'event', rank: 0, event: {type: 'end', t: 1, exit_code: 11, reason: 'bad_data', message: 'no images'}},
        exited({kind: 'code', code: 11}),
      ],
      'bad_data',
      'no images',
    ],
    ['the last of stderr, where it had no words', [exited({kind: 'code', code: 70}, 'terminate called')], 'internal', 'terminate called'],
    ['a code of no table', [exited({kind: 'code', code: 127}, 'sh: not found')], 'internal', 'exit code 127: sh: not found'],
    ['a signal', [exited({kind: 'signal', signal: 'SIGSEGV'})], 'killed', 'ended by SIGSEGV'],
    [
      'a trainer that could not be started',
      [exited({kind: 'spawnFailed', message: 'EACCES'})],
      'io_error',
      'the trainer could not be started: EACCES',
    ],
    [
      'an end that the agent caused, whatever the trainer made of it',
      [{kind: 'ending', rank: 0, ending: {signal: 'SIGTERM', at: 1, cause: 'agentStopping'}}, exited({kind: 'code', code: 23})],
      'agent_stopped',
      'ended by the agent: the agent is stopping',
    ],
    [
      'an end that the coordinator wanted',
      [{kind: 'ending', rank: 0, ending: {signal: 'SIGTERM', at: 1, cause: 'unwanted'}}, exited({kind: 'code', code: 23})],
      'killed',
      'ended by the agent: the attempt was no longer wanted',
    ],
    [
      'a training that completed while it was being ended',
      [{kind: 'ending', rank: 0, ending: {signal: 'SIGTERM', at: 1, cause: 'unwanted'}}, exited({kind: 'code', code: 0})],
      'completed',
      'trained all epochs, or stopped early by patience',
    ],
  ])('explains %s', (_, facts, code, message) => {
    const rank = attemptAfter(...started, ...facts).ranks[0]!;
    expect(rank).toMatchObject({state: 'exited', reason: {code, message}});
  });

  it('never changes once staging is over: what is still heard of it came late', () => {
    const files = {indexPath: '/i', shardsDir: '/s', resumeDir: null};
    const failed = attemptAfter({kind: 'stagingFailed', reason: endReason('io_error', 'the disk is full')});
    expect(observe(failed, {kind: 'stagingProgress', message: '3 of 4 shards'})).toEqual(failed);
    expect(observe(failed, {kind: 'staged', files})).toEqual(failed);
    const ready = attemptAfter({kind: 'staged', files});
    expect(observe(ready, {kind: 'stagingProgress', message: '3 of 4 shards'})).toEqual(ready);
  });

  it('never changes once a rank has exited', () => {
    const ended = attemptAfter(...started, exited({kind: 'code', code: 0}));
    expect(observe(ended, exited({kind: 'signal', signal: 'SIGKILL'}))).toEqual(ended);
    expect(observe(ended, {kind: 'event', rank: 0, event: step})).toEqual(ended);
  });
});
