import {mkdtemp, readdir, readFile, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeAll, beforeEach, describe, expect, it} from 'vitest';
import {processesWithEnvironment} from '../../../agent/adapters/processTree.js';
import type {GenerationPlan} from '../../../shared/attemptPlan.js';
import {checkpointPolicySchema} from '../../../shared/jobSpec.js';
import type {ObservedAttempt, ObservedRank} from '../../../shared/observation.js';
import {packageRoot} from '../../../shared/packageRoot.js';
import {trainArgumentsSchema} from '../../../shared/trainArguments.js';
import {type RankEvent, rankEventSchema} from '../../../shared/trainerContract.js';
import {AgentProcess} from '../../support/agentProcess.js';
import {AgentServiceDouble} from '../../support/agentServiceDouble.js';
import {buildOnce} from '../../support/build.js';
import {planFor} from '../../support/plans.js';
import {isRunning, waitUntil} from '../../support/waitUntil.js';

/** Agents as processes, with the real trainer, a tiny data set, and a coordinator that the test speaks for. */

let folder: string;
let coordinator: AgentServiceDouble;
let agents: AgentProcess[];
let indexDigest: string;

beforeAll(() => buildOnce());

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-agent-'));
  coordinator = new AgentServiceDouble();
  await coordinator.start();
  agents = [];
  const shards = join(packageRoot, 'test/fixtures/trainer-contract/shard');
  for (const name of await readdir(shards)) {
    const digest = coordinator.addBlob(await readFile(join(shards, name)));
    if (name === 'index.json') indexDigest = digest;
  }
});

afterEach(async context => {
  if (context.task.result?.state === 'fail') console.error(agents.map(agent => agent.log()).join('\n---\n'));
  for (const agent of agents) agent.signal('SIGKILL');
  await Promise.all(agents.map(agent => agent.ended));
  await coordinator.kill();
  await rm(folder, {recursive: true, force: true});
});

async function startAgent(nodeId = 'a', ...flags: string[]): Promise<AgentProcess> {
  const said = coordinator.hellos.length;
  const drain = flags.includes('--drain') ? [] : ['--drain', '0s'];
  const agent = AgentProcess.start(nodeId, coordinator.address, join(folder, nodeId), ...drain, ...flags);
  agents.push(agent);
  await waitUntil(`agent ${nodeId} says hello`, () => coordinator.hellos.length > said);
  return agent;
}

/** A training that goes on for as long as a test may take, unless `epochs` says otherwise. */
function trainingPlan(over: Partial<GenerationPlan> & {epochs?: number} = {}): GenerationPlan {
  const {epochs = 100_000, ...rest} = over;
  return planFor(['a'], {
    datasetIndexDigest: indexDigest,
    rendezvous: {host: '127.0.0.1', port: coordinator.report.rendezvousPorts[0]!},
    train: trainArgumentsSchema.parse({epochs, batch: 2, imgsz: 64, mosaic: 0, val: false, patience: 0, workers: 1}),
    checkpoint: checkpointPolicySchema.parse({every: {steps: 3}}),
    ...rest,
  });
}

const observed = (): ObservedAttempt | undefined => coordinator.report.attempts[0];
const rank = (): ObservedRank | undefined => observed()?.ranks[0];
const events = (): RankEvent[] => coordinator.events.map(({json}) => rankEventSchema.parse(JSON.parse(json)));
const eventsOf = (type: RankEvent['type']): RankEvent[] => events().filter(event => event.type === type);
const lastStep = (): number => Math.max(0, ...events().map(event => (event.type === 'step' ? event.step : 0)));

async function untilRunning(): Promise<number> {
  await waitUntil('the rank runs', () => rank()?.state === 'running');
  const now = rank()!;
  return now.state === 'running' ? now.pid : 0;
}

describe('an agent', () => {
  it('carries a training out to its end, and brings everything to the coordinator', async () => {
    await startAgent();
    const plan = trainingPlan({epochs: 3});
    coordinator.want(plan);
    await waitUntil('it completed', () => rank()?.state === 'exited' && observed()?.pendingUploads === 0);
    expect(rank()).toMatchObject({state: 'exited', reason: {code: 'completed'}});
    await waitUntil('the last word came', () => eventsOf('exited').length === 1);
    const types = events().map(({type}) => type);
    for (const type of ['staged', 'started', 'hello', 'joined', 'model', 'consumed', 'step', 'epoch', 'checkpoint', 'end', 'exited'])
      expect(types).toContain(type);
    expect(types.indexOf('end')).toBeLessThan(types.indexOf('exited'));
    expect(eventsOf('bad_event')).toEqual([]);
    expect(coordinator.committed.some(name => name.startsWith('step '))).toBe(true);
    expect(coordinator.committed).toContain('results.csv');
    coordinator.want();
    await waitUntil('it is forgotten', () => observed() === undefined);
    expect(await readdir(join(folder, 'a', 'attempts'))).toEqual([]);
  });

  it('tells at once that a rank was killed', async () => {
    await startAgent();
    coordinator.want(trainingPlan());
    process.kill(await untilRunning(), 'SIGKILL');
    await waitUntil('its end is told', () => rank()?.state === 'exited');
    expect(rank()).toMatchObject({reason: {code: 'killed', fault: 'infra'}});
  });

  it('starts the next attempt from the checkpoint that it still has, without fetching it', async () => {
    await startAgent();
    const first = trainingPlan();
    coordinator.want(first);
    const pid = await untilRunning();
    await waitUntil('a checkpoint is committed', () => coordinator.committed.some(name => name.startsWith('step ')));
    process.kill(pid, 'SIGKILL');
    await waitUntil('its end is told, and its files are here', () => rank()?.state === 'exited' && observed()?.pendingUploads === 0);
    const step = Number(coordinator.committed.findLast(name => name.startsWith('step '))!.slice(5));
    const manifest = coordinator.uploads.flatMap(({target}) =>
      target.kind === 'checkpoint' && target.manifest.step === step ? [target.manifest] : [],
    )[0]!;
    coordinator.want(
      trainingPlan({
        attempt: 2,
        generation: 9,
        startFrom: {...manifest, attempt: 1, committedAt: 1},
        rendezvous: {host: '127.0.0.1', port: coordinator.report.rendezvousPorts[0]!},
      }),
    );
    await waitUntil('the second attempt runs', () => observed()?.attempt === 2 && rank()?.state === 'running');
    expect(eventsOf('resumed')).toMatchObject([{step, cursor: manifest.cursor}]);
    expect(coordinator.fetches.filter(fetch => !/^[0-9a-f]{8}@/.test(fetch))).toEqual([]);
  });

  it('ends a training that is no longer wanted, and leaves nothing of it', async () => {
    await startAgent();
    coordinator.want(trainingPlan());
    const pid = await untilRunning();
    coordinator.want();
    await waitUntil('it is forgotten', () => observed() === undefined);
    expect(isRunning(pid)).toBe(false);
    expect(await readdir(join(folder, 'a', 'attempts'))).toEqual([]);
  });

  it('takes its ranks with it when it is killed, and tells so when it is back', async () => {
    const agent = await startAgent();
    coordinator.want(trainingPlan());
    const pid = await untilRunning();
    agent.signal('SIGKILL');
    await waitUntil('the rank is gone', () => !isRunning(pid));
    await startAgent();
    expect(coordinator.hellos).toHaveLength(2);
    expect(coordinator.hellos[1]!.outboxId).toBe(coordinator.hellos[0]!.outboxId);
    expect(coordinator.hellos[1]!.report.attempts).toMatchObject([
      {jobId: 'j1', attempt: 1, ranks: [{rank: 0, state: 'exited', reason: {code: 'killed', message: /restarted/}}]},
    ]);
    await waitUntil('the journal hears of it', () => eventsOf('exited').length === 1);
    const sequences = coordinator.events.map(({sequence}) => sequence);
    expect(sequences).toEqual(sequences.map((_, index) => index + 1));
    coordinator.want();
    await waitUntil('it is forgotten', () => observed() === undefined);
  });

  it('trains on while the coordinator is away, and tells everything afterwards', async () => {
    await startAgent();
    coordinator.want(trainingPlan());
    const pid = await untilRunning();
    await coordinator.kill();
    const [before, known] = [lastStep(), coordinator.events.length];
    // As long as it takes for a heartbeat and some steps to be due; what happened meanwhile is read from the events themselves.
    await waitUntil('the spool grew', async () => (await spoolBytes('a')) > 20_000);
    await coordinator.start();
    await waitUntil('it told more', () => coordinator.events.length > known && lastStep() > before + 5);
    expect(isRunning(pid)).toBe(true);
    expect(rank()).toMatchObject({state: 'running', pid});
    const sequences = coordinator.events.map(({sequence}) => sequence);
    expect(sequences).toEqual(sequences.map((_, index) => index + 1));
  });

  it('makes a last checkpoint when it is told to stop, ends its ranks, and says what became of them', async () => {
    const agent = await startAgent('a', '--drain', '60s');
    coordinator.want(trainingPlan({checkpoint: checkpointPolicySchema.parse({every: {epochs: 100_000}})}));
    const pid = await untilRunning();
    agent.signal('SIGTERM');
    expect(await agent.ended).toBe(0);
    expect(coordinator.committed.filter(name => name.startsWith('step '))).toHaveLength(1);
    expect(isRunning(pid)).toBe(false);
    expect(rank()).toMatchObject({state: 'exited', reason: {code: 'agent_stopped', message: /agent is stopping/}});
  });

  it('trains with another one, and its rank ends when that of the other is killed', async () => {
    await startAgent('a');
    const port = coordinator.report.rendezvousPorts[0]!;
    await startAgent('b');
    const plan = {...trainingPlan(), ranks: planFor(['a', 'b']).ranks, rendezvous: {host: '127.0.0.1', port}};
    coordinator.want(plan);
    const steps = (which: number): number =>
      coordinator.events.filter(event => event.rank === which && JSON.parse(event.json).type === 'step').length;
    const ranksSeen = new Map<number, ObservedRank>();
    const look = (): void => {
      for (const report of coordinator.reports) for (const seen of report.attempts[0]?.ranks ?? []) ranksSeen.set(seen.rank, seen);
    };
    // Once, in the second step, the first rank sends to the other and hears nothing back. Lost right then, Gloo may tell of it only by
    // the limit of time.
    await waitUntil('both have taken steps', () => steps(0) > 1 && steps(1) > 1);
    look();
    const victim = ranksSeen.get(1)!;
    process.kill(victim.state === 'exited' ? 0 : victim.pid, 'SIGKILL');
    await waitUntil('both have ended', () => {
      look();
      return [0, 1].every(each => ranksSeen.get(each)?.state === 'exited');
    });
    expect(ranksSeen.get(1)).toMatchObject({reason: {code: 'killed'}});
    expect(ranksSeen.get(0)).toMatchObject({reason: {code: 'peer_lost'}});
  });

  it('does not share its folder', async () => {
    await startAgent();
    const second = AgentProcess.start('a', coordinator.address, join(folder, 'a'));
    agents.push(second);
    expect(await second.ended).not.toBe(0);
    expect(second.log()).toContain('another agent works in');
  });
});

async function spoolBytes(nodeId: string): Promise<number> {
  const dir = join(folder, nodeId, 'outbox');
  const segments = (await readdir(dir)).filter(name => name.endsWith('.ndjson'));
  const contents = await Promise.all(segments.map(name => readFile(join(dir, name)).catch(() => Buffer.alloc(0))));
  return contents.reduce((sum, content) => sum + content.length, 0);
}

describe('after all of this', () => {
  it('no trainer is left', () => {
    expect(processesWithEnvironment(['TENFOLD_JOB=j1']).length).toBe(0);
  });
});
