import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {credentials} from '@grpc/grpc-js';
import type {Channel} from 'nice-grpc';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, it} from 'vitest';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {endReason} from '../../shared/endReason.js';
import {type JobServiceClient, JobServiceDefinition, JobState, type WatchJobResponse} from '../../shared/gen/tenfold/v1/job.js';
import {clientFactory, openChannel} from '../../shared/grpc.js';
import type {NodeReport} from '../../shared/observation.js';
import {startEtcd, type TestEtcd} from '../support/etcd.js';
import {remoteSessions} from '../support/remoteSessions.js';
import {type RunningCoordinator, startRunningCoordinator} from '../support/runningCoordinator.js';
import {IDLE, observed, ScriptedAgent} from '../support/scriptedAgent.js';
import {writeTinyDataset} from '../support/tinyDataset.js';
import {waitUntil} from '../support/waitUntil.js';

let etcd: TestEtcd;
let folder: string;
let dataYaml: string;
let coordinator: RunningCoordinator;
let channel: Channel;
let jobs: JobServiceClient;
let agent: ScriptedAgent;
let name: string;
let plan: GenerationPlan;
let said: number;
let tests = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-watch-'));
  dataYaml = await writeTinyDataset(join(folder, 'tiny'));
  etcd = await startEtcd();
});
afterAll(async () => {
  await etcd?.stop();
  await rm(folder, {recursive: true, force: true});
});

/** A job of one rank that runs on a scripted agent. */
beforeEach(async () => {
  said = 0;
  await connect(await startRunningCoordinator(place(++tests)));
  name = (await jobs.createJob({spec: {data: dataYaml, model: {arch: 'yolov8n'}}, requestId: 'r'})).name;
  plan = await agent.plan();
  agent.report(running());
  await waitForState(JobState.JOB_STATE_RUNNING);
});
afterEach(async () => {
  await agent.breakOff();
  channel.close();
  await coordinator.remove();
});

function running(): NodeReport {
  return {...IDLE, attempts: [observed(plan, 'node-a', {state: 'running', pid: 1})]};
}

function place(test: number) {
  return {etcd: etcd.endpoint, prefix: `watch-${test}`, dataDir: join(folder, `data-${test}`)};
}

async function connect(running: RunningCoordinator, report: NodeReport = IDLE): Promise<void> {
  coordinator = running;
  channel = openChannel(running.address, credentials.createInsecure());
  jobs = clientFactory.create(JobServiceDefinition, channel);
  agent = new ScriptedAgent(remoteSessions(channel), 'node-a', {report});
  await waitUntil('the agent is welcome', () => agent.heard.length > 0 || agent.failure !== undefined);
  if (agent.failure === undefined) return;
  // The lease of the coordinator before has not ended yet.
  channel.close();
  await connect(running, report);
}

async function waitForState(state: JobState): Promise<void> {
  await waitUntil(`the job is ${JobState[state]}`, async () => (await jobs.getJob({name})).state === state);
}

/** Says something as rank 0, and waits until it is acknowledged. */
async function say(...events: object[]): Promise<void> {
  const base = {jobId: plan.jobId, attempt: plan.attempt, generation: plan.generation, rank: 0};
  agent.sendEvents(events.map(event => ({...base, sequence: ++said, json: JSON.stringify({t: said, ...event})})));
  await waitUntil(`event ${said} is acknowledged`, () => agent.acknowledged >= said);
}

const val = (done: number): object => ({type: 'val', epoch: 1, done, total: 100});
const log = (line: string): object => ({type: 'log', stream: 'stdout', line});

async function endJob(): Promise<void> {
  agent.report({...IDLE, attempts: [observed(plan, 'node-a', {state: 'exited', reason: endReason('completed')})]});
  await waitForState(JobState.JOB_STATE_SUCCEEDED);
}

async function watched(request: {resumeToken?: string; types?: string[]; noFollow?: boolean}): Promise<WatchJobResponse[]> {
  const responses: WatchJobResponse[] = [];
  for await (const response of jobs.watchJob({name, ...request})) responses.push(response);
  return responses;
}

function sequences(responses: readonly WatchJobResponse[]): number[] {
  return responses.flatMap(({update}) => (update?.$case === 'event' ? [Number(update.value.sequence)] : []));
}

describe('a watch', () => {
  it('gives every event once and in order, and the final state last', async () => {
    await say(val(10), val(20));
    const watching = watched({});
    await say(val(30), val(40));
    await endJob();
    const responses = await watching;
    expect(sequences(responses)).toEqual([1, 2, 3, 4]);
    const last = responses.at(-1)?.update;
    expect(last?.$case === 'job' && last.value.state).toBe(JobState.JOB_STATE_SUCCEEDED);
  });

  it('goes on after any of its tokens, as if it had never ended', async () => {
    await say(val(10), val(20), val(30));
    await endJob();
    const whole = await watched({});
    for (const [index, {resumeToken}] of whole.entries()) {
      const rest = await watched({resumeToken});
      expect(rest.map(({update}) => update)).toEqual(whole.slice(index + 1).map(({update}) => update));
    }
  });

  it('leaves ledger and logs out unless they are asked for', async () => {
    await say(log('hello'), {type: 'consumed', epoch: 1, from: 0, to: 2, ids: [1, 0]}, val(10));
    await endJob();
    expect(sequences(await watched({}))).toEqual([3]);
    expect(sequences(await watched({types: ['log', 'consumed']}))).toEqual([1, 2]);
    // The token knows nothing of types: the same place in the journal, seen through another filter.
    const [first] = (await watched({types: ['log']})).filter(({update}) => update?.$case === 'event');
    expect(sequences(await watched({types: ['val', 'consumed'], resumeToken: first!.resumeToken}))).toEqual([2, 3]);
  });

  it('that does not follow ends with what is known now', async () => {
    await say(val(10));
    const responses = await watched({noFollow: true});
    expect(sequences(responses)).toEqual([1]);
    expect(responses.some(({update}) => update?.$case === 'job' && update.value.state === JobState.JOB_STATE_RUNNING)).toBe(true);
  });

  it('goes on over a restart of the coordinator without gap or duplicate', async () => {
    await say(val(10), val(20));
    const before = await watched({noFollow: true});
    await agent.breakOff();
    channel.close();
    await coordinator.stop();
    await connect(await startRunningCoordinator(place(tests)), running());
    const watching = watched({resumeToken: before.at(-1)!.resumeToken});
    await say(val(30), val(40));
    await endJob();
    expect([...sequences(before), ...sequences(await watching)]).toEqual([1, 2, 3, 4]);
  });

  it('tells of progress by the job itself too', async () => {
    const losses = [
      {name: 'box', value: 3},
      {name: 'obj', value: 2},
      {name: 'cls', value: 1},
    ];
    await say({
      type: 'step',
      epoch: 2,
      epochs: 6,
      batch: 3,
      batches: 75,
      step: 78,
      offset: 48,
      loss: losses,
      lr: [0.01],
      images_per_s: 31.5,
      data_wait_ms: 2,
    });
    expect((await jobs.getJob({name})).progress).toMatchObject({epoch: 2, epochs: 6, batch: 3, step: 78n, losses, imagesPerSecond: 31.5});
  });
});

describe('logs', () => {
  async function lines(request: {follow?: boolean; tail?: number; rank?: number}): Promise<string[]> {
    const seen: string[] = [];
    for await (const {line} of jobs.streamLogs({name, ...request})) seen.push(line);
    return seen;
  }

  it('come whole, or their last lines, or those of a rank', async () => {
    await say(log('one'), val(1), log('two'), log('three'));
    expect(await lines({})).toEqual(['one', 'two', 'three']);
    expect(await lines({tail: 2})).toEqual(['two', 'three']);
    expect(await lines({rank: 1})).toEqual([]);
  });

  it('are followed until the job has ended, to the last line', async () => {
    await say(log('one'), log('two'));
    const following = lines({follow: true, tail: 1});
    await say(log('three'));
    await endJob();
    expect(await following).toEqual(['two', 'three']);
  });
});
