import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {Outbox} from '../../../agent/outbox.js';
import {Session} from '../../../agent/session.js';
import type {GenerationPlan} from '../../../shared/attemptPlan.js';
import {systemClock} from '../../../shared/clock.js';
import {endReason} from '../../../shared/endReason.js';
import {silentLog} from '../../../shared/log.js';
import type {NodeIdentity, NodeReport} from '../../../shared/observation.js';
import {AgentServiceDouble} from '../../support/agentServiceDouble.js';
import {planFor} from '../../support/plans.js';
import {waitUntil} from '../../support/waitUntil.js';

const identity: NodeIdentity = {nodeId: 'a', hostname: 'a.example', agentVersion: '0.1.0', address: '127.0.0.1', devices: []};
const origin = {jobId: 'j1', attempt: 1, generation: 5, rank: 0};

let folder: string;
let coordinator: AgentServiceDouble;
let outbox: Outbox;
let report: NodeReport;
let desired: (readonly GenerationPlan[])[];
let session: Session;
let leaving: AbortController;
let talking: Promise<void>;
let closeChannel: () => void;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-session-'));
  coordinator = new AgentServiceDouble();
  await coordinator.start();
  outbox = await Outbox.open({dir: join(folder, 'outbox'), clock: systemClock, log: silentLog, segmentBytes: 1000});
  report = {attempts: [], rendezvousPorts: [61_000]};
  desired = [];
  const {client, close} = coordinator.client();
  closeChannel = close;
  session = new Session({
    client,
    identity,
    outbox,
    clock: systemClock,
    log: silentLog,
    heartbeatMs: 50,
    report: () => report,
    onDesired: plans => desired.push(plans),
  });
  leaving = new AbortController();
  talking = session.run(leaving.signal);
});

afterEach(async () => {
  leaving.abort();
  await talking;
  await coordinator.kill();
  closeChannel();
  await outbox.close();
  await rm(folder, {recursive: true, force: true});
});

const say = (from: number, to: number): void => {
  for (let i = from; i <= to; i++) outbox.append(origin, 'consumed', JSON.stringify(i));
};
const heard = (): unknown[] => coordinator.events.map(({json}) => JSON.parse(json));
const numbers = (to: number): number[] => Array.from({length: to}, (_, index) => index + 1);

describe('the session with the coordinator', () => {
  it('begins with who we are, and hears what shall run', async () => {
    const plan = planFor(['a'], {jobId: 'j1', generation: 5});
    coordinator.want(plan);
    await waitUntil('the plan came', () => desired.at(-1)?.length === 1);
    expect(desired.at(-1)).toEqual([plan]);
    expect(coordinator.hellos).toEqual([{identity, outboxId: outbox.id, report}]);
  });

  it('reports at once what changed, and now and then although nothing did', async () => {
    await waitUntil('it is welcome', () => desired.length > 0);
    report = {attempts: [], rendezvousPorts: [61_007]};
    session.reportChanged();
    await waitUntil('the change is told', () => coordinator.report.rendezvousPorts[0] === 61_007);
    const told = coordinator.reports.length;
    await waitUntil('heartbeats come', () => coordinator.reports.length > told + 2);
  });

  it('tells all events, once and in order, across deaths of the coordinator', async () => {
    say(1, 300);
    await waitUntil('some came', () => coordinator.events.length > 0);
    await coordinator.kill();
    say(301, 400);
    await outbox.flush();
    await coordinator.start();
    say(401, 500);
    await waitUntil('all came', () => coordinator.events.length === 500);
    expect(heard()).toEqual(numbers(500));
    expect(coordinator.hellos.length).toBeGreaterThan(1);
  });

  it('keeps what was not acknowledged, and tells it again to the next coordinator', async () => {
    coordinator.acknowledges = false;
    say(1, 50);
    await outbox.flush();
    await waitUntil('it is welcome', () => desired.length > 0);
    await coordinator.kill();
    expect(outbox.acknowledged).toBe(0);
    coordinator.acknowledges = true;
    await coordinator.start();
    await waitUntil('all came', () => coordinator.events.length === 50);
    await waitUntil('all is acknowledged', () => outbox.acknowledged === 50);
    expect(heard()).toEqual(numbers(50));
  });

  it('lets no attempt look settled whose last events are still to be told', async () => {
    await waitUntil('it is welcome', () => desired.length > 0);
    await coordinator.kill();
    const plan = planFor(['a'], {jobId: 'j1', generation: 5});
    const ended = {rank: 0, deviceId: 'cpu-0', state: 'exited', reason: endReason('completed')} as const;
    const {jobId, attempt, generation} = plan;
    report = {attempts: [{jobId, attempt, generation, stage: {phase: 'ready'}, ranks: [ended], pendingUploads: 0}], rendezvousPorts: []};
    say(1, 3);
    await outbox.flush();
    await coordinator.start();
    await waitUntil('it looks settled', () => coordinator.reports.some(({attempts}) => attempts[0]?.pendingUploads === 0));
    expect(heard()).toEqual([1, 2, 3]);
    expect(coordinator.hellos.at(-1)!.report.attempts[0]!.pendingUploads).toBe(1);
  });

  it('does not obey a leader that was overtaken', async () => {
    await waitUntil('it is welcome', () => desired.length > 0);
    await coordinator.kill();
    coordinator.leaderGeneration = 9;
    coordinator.want(planFor(['a'], {jobId: 'j1', generation: 5}));
    await coordinator.start();
    await waitUntil('it came and left twice', () => coordinator.hellos.length >= 3);
    expect(desired.every(plans => plans.length === 0)).toBe(true);
    coordinator.leaderGeneration = 11;
    await waitUntil('it obeys the new leader', () => desired.at(-1)?.length === 1);
  });

  it('tells everything before it leaves', async () => {
    await waitUntil('it is welcome', () => desired.length > 0);
    say(1, 200);
    await outbox.flush();
    report = {attempts: [], rendezvousPorts: [61_009]};
    session.finish();
    await talking;
    expect(heard()).toEqual(numbers(200));
    expect(coordinator.report.rendezvousPorts).toEqual([61_009]);
  });
});
