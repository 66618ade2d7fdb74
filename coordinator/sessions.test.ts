import {mkdir, rmdir} from 'node:fs/promises';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import type {GenerationPlan} from '../shared/attemptPlan.js';
import {endReason} from '../shared/endReason.js';
import type {OutboxEvent} from '../shared/event.js';
import type {JobRecord} from '../shared/job.js';
import {CoordinatorRig} from '../test/support/coordinatorRig.js';
import {IDLE, observed, ScriptedAgent} from '../test/support/scriptedAgent.js';
import {ShiftedClock} from '../test/support/shiftedClock.js';
import {MemoryStore} from './adapters/memoryStore.js';
import {presence} from './core/presence.js';
import {DEFAULT_POLICY} from './core/snapshot.js';

let rig: CoordinatorRig;
let clock: ShiftedClock;
const agents: ScriptedAgent[] = [];

beforeEach(async () => {
  clock = new ShiftedClock();
  rig = await CoordinatorRig.start(new MemoryStore(), clock);
  await rig.addDataset('d1', 100);
});
afterEach(async () => {
  await Promise.all(agents.splice(0).map(agent => agent.breakOff()));
  await rig.stop();
});

function connect(nodeId: string, options?: ConstructorParameters<typeof ScriptedAgent>[2]): ScriptedAgent {
  const agent = new ScriptedAgent(rig.sessions, nodeId, options);
  agents.push(agent);
  return agent;
}

const patiently = {timeout: 10_000};
const eventually = <T>(look: () => T) => expect.poll(look, patiently);
const job = (id: string): JobRecord => rig.state.jobs.get(id)!.value;
const failureOf = (agent: ScriptedAgent) => String((agent.failure as Error | undefined)?.message);

function log(sequence: number, generation: number, attempt = 1): OutboxEvent {
  const json = JSON.stringify({type: 'log', t: 1, stream: 'stdout', line: `line ${sequence}`});
  return {sequence, jobId: 'j1', attempt, generation, rank: 0, json};
}

async function journaled(): Promise<number[]> {
  const sequences: number[] = [];
  for await (const {sequence} of rig.journal.read('j1', {afterSequence: 0, follow: false, signal: rig.abort.signal}))
    sequences.push(sequence);
  return sequences;
}

describe('a session', () => {
  it('begins with a welcome, stores the node, and shows it connected until it hangs up', async () => {
    const agent = connect('node-a');
    await eventually(() => agent.heard.map(({kind}) => kind)).toEqual(['welcome', 'desired']);
    expect(agent.heard[0]).toMatchObject({leaderGeneration: rig.leadership.fence()!.revision, acknowledged: 0});
    expect(rig.state.nodes.get('node-a')!.value).toMatchObject({nodeId: 'node-a', devices: [{id: 'cpu-0'}]});
    expect(rig.sessions.nodeViews().get('node-a')).toMatchObject({connected: true, report: IDLE});
    await agent.hangUp();
    expect(rig.sessions.nodeViews().get('node-a')).toMatchObject({connected: false, report: IDLE});
  });

  it('carries a job from its placement to its end', async () => {
    rig.startLoop();
    const [a, b] = [connect('node-a'), connect('node-b')];
    await eventually(() => rig.sessions.nodeViews().size).toBe(2);
    await rig.addJob('j1', {resources: {gpus: 2}});
    const plan = await a.plan();
    expect((await b.plan()).generation).toBe(plan.generation);
    expect(job('j1').status).toEqual({phase: 'staging', attempt: 1});

    for (const agent of [a, b]) agent.report({...IDLE, attempts: [observed(plan, agent.nodeId, {state: 'running', pid: 1})]});
    await eventually(() => job('j1').status.phase).toBe('running');

    const done = {state: 'exited', reason: endReason('completed')} as const;
    for (const agent of [a, b]) agent.report({...IDLE, attempts: [observed(plan, agent.nodeId, done)]});
    await eventually(() => job('j1').status).toMatchObject({phase: 'ended', outcome: 'succeeded'});
    await eventually(() => [a.desired, b.desired]).toEqual([[], []]);
  });

  it('gives way to a newer one of the same node', async () => {
    const older = connect('node-a');
    await eventually(() => older.heard.length).toBe(2);
    const newer = connect('node-a');
    await eventually(() => newer.heard.length).toBe(2);
    await older.ended;
    expect(failureOf(older)).toMatch('a newer session of this node took over');
    expect(rig.sessions.nodeViews().get('node-a')).toMatchObject({connected: true});
  });

  it('is refused to another agent under the same id while the first one speaks, and leaves the record of its node alone', async () => {
    const holder = connect('node-a');
    await eventually(() => holder.heard.length).toBe(2);
    const other = connect('node-a', {outboxId: 'other', devices: 2});
    await other.ended;
    expect(failureOf(other)).toBe(
      'nodes/node-a is taken: an agent on this-machine is connected as node-a; another agent needs a node id of its own (--node-id); ' +
        'one that lost its data folder gets in once the older one has ended',
    );
    expect(other.heard).toEqual([]);
    expect(rig.state.nodes.get('node-a')!.value.devices).toHaveLength(1);
    expect(rig.sessions.nodeViews().get('node-a')).toMatchObject({connected: true});
    expect(holder.failure).toBeUndefined();
  });

  it('is given to an agent that lost its data folder once the older one is gone or has fallen silent', async () => {
    const first = connect('node-a');
    await eventually(() => first.heard.length).toBe(2);
    await first.breakOff();
    const second = connect('node-a', {outboxId: 'anew'});
    await eventually(() => second.heard.length).toBe(2);
    clock.pass(60_000);
    second.report({...IDLE, rendezvousPorts: []});
    await eventually(() => rig.sessions.nodeViews().get('node-a')?.report?.rendezvousPorts).toEqual([]);
    clock.pass(60_000);
    const hasty = connect('node-a', {outboxId: 'again anew'});
    await hasty.ended;
    expect(failureOf(hasty)).toMatch('is taken');
    clock.pass(10_000);
    const third = connect('node-a', {outboxId: 'again anew'});
    await eventually(() => third.heard.length).toBe(2);
    expect(failureOf(second)).toMatch('a newer session of this node took over');
  });

  it('makes nobody lost when the wall clock is set, be it that they spoke to this leader or not', async () => {
    const agent = connect('node-a');
    await eventually(() => agent.heard.length).toBe(2);
    await rig.put(rig.keys.node('node-b'), {...rig.state.nodes.get('node-a')!.value, nodeId: 'node-b'});
    await agent.hangUp();
    const kinds = () => [...rig.sessions.nodeViews().values()].map(view => presence(view, clock.now(), DEFAULT_POLICY).kind);
    clock.step(3_600_000);
    expect(kinds()).toEqual(['silent', 'silent']);
    clock.step(-7_200_000);
    clock.pass(DEFAULT_POLICY.nodeTimeoutMs);
    expect(kinds()).toEqual(['lost', 'lost']);
  });

  it('sees an exit as long ago as it was, whatever the wall clock was set to since', async () => {
    const agent = connect('node-a');
    rig.startLoop();
    await rig.addJob('j1');
    const plan = await agent.plan();
    const exited = {state: 'exited', reason: endReason('peer_lost')} as const;
    agent.report({...IDLE, attempts: [observed(plan, 'node-a', exited)]});
    await eventually(() => rig.sessions.nodeViews().get('node-a')?.exitsSeenAt.size).toBe(1);
    clock.step(3_600_000);
    const [seenAt] = rig.sessions.nodeViews().get('node-a')!.exitsSeenAt.values();
    expect(clock.now() - seenAt!).toBeLessThan(60_000);
  });

  it('acknowledges events once they are in the journal, and keeps none of another generation', async () => {
    rig.startLoop();
    const agent = connect('node-a');
    await rig.addJob('j1');
    const {generation} = await agent.plan();
    agent.sendEvents([log(1, generation), log(2, generation), log(3, generation - 1), log(4, generation, 2)]);
    await eventually(() => agent.acknowledged).toBe(4);
    expect(await journaled()).toEqual([1, 2]);

    await agent.breakOff();
    const again = connect('node-a');
    await eventually(() => again.heard[0]).toMatchObject({kind: 'welcome', acknowledged: 4});
    again.sendEvents([log(2, generation), log(5, generation)]);
    await eventually(() => again.acknowledged).toBe(5);
    expect(await journaled()).toEqual([1, 2, 3]);
  });

  /** An agent whose events wait for a disk that takes none, and the folder that stands in their way. */
  async function waitingForDisk(): Promise<{agent: ScriptedAgent; obstacle: string; plan: GenerationPlan}> {
    rig.startLoop();
    const agent = connect('node-a');
    await rig.addJob('j1');
    const plan = await agent.plan();
    const obstacle = join(rig.folder, 'jobs', 'j1', 'events.ndjson');
    await mkdir(obstacle, {recursive: true});
    agent.sendEvents([log(1, plan.generation)]);
    await eventually(() => rig.log.at('warn')).toEqual(['events cannot be written to the journal; trying again']);
    return {agent, obstacle, plan};
  }

  it('goes on when the disk takes no events for a moment: they wait', async () => {
    const {agent, obstacle} = await waitingForDisk();
    await rmdir(obstacle);
    await eventually(() => agent.acknowledged).toBe(1);
    expect(agent.failure).toBeUndefined();
    expect(await journaled()).toEqual([1]);
  });

  it('ends when the disk takes no events for longer: the next one begins with the report that waited behind them', async () => {
    const {agent, plan} = await waitingForDisk();
    const running = {...IDLE, attempts: [observed(plan, 'node-a', {state: 'running', pid: 1})]};
    agent.report(running);
    clock.pass(3000);
    await agent.ended;
    expect(failureOf(agent)).toBe('opening the journal of j1');
    expect(rig.sessions.nodeViews().get('node-a')).toMatchObject({connected: false, report: IDLE});
    connect('node-a', {report: running});
    await eventually(() => rig.sessions.nodeViews().get('node-a')).toMatchObject({connected: true, report: running});
  });

  it('is refused where another leads, and ends when another takes over', async () => {
    const agent = connect('node-a');
    await eventually(() => agent.heard.length).toBe(2);
    rig.leadership.give(undefined, true);
    await agent.ended;
    expect(failureOf(agent)).toMatch('another coordinator leads now');
    const late = connect('node-a');
    await late.ended;
    expect(failureOf(late)).toMatch('does not lead');
  });

  it('goes on through a lapse of leadership: nothing is told meanwhile, and events wait', async () => {
    rig.startLoop();
    const agent = connect('node-a');
    await rig.addJob('j1');
    const plan = await agent.plan();
    const fence = rig.leadership.fence()!.revision;
    rig.leadership.give(undefined);
    agent.sendEvents([log(1, plan.generation)]);
    agent.report({...IDLE, attempts: [observed(plan, 'node-a', {state: 'running', pid: 1})]});
    rig.leadership.give(fence);
    await eventually(() => agent.acknowledged).toBe(1);
    await eventually(() => job('j1').status.phase).toBe('running');
    expect(agent.desired).toEqual([plan]);
  });

  describe('that a lapse of leadership kept out', () => {
    const kinds = () => [...rig.sessions.nodeViews().values()].map(view => presence(view, clock.now(), DEFAULT_POLICY).kind);
    const timeout = DEFAULT_POLICY.nodeTimeoutMs;

    /** One node that has spoken to this leader, and one that it only knows of. */
    async function twoNodes(): Promise<ScriptedAgent> {
      const agent = connect('node-a');
      await eventually(() => agent.heard.length).toBe(2);
      await rig.put(rig.keys.node('node-b'), {...rig.state.nodes.get('node-a')!.value, nodeId: 'node-b'});
      return agent;
    }

    function lapse(ms: number): void {
      const fence = rig.leadership.fence()!.revision;
      rig.leadership.give(undefined);
      clock.pass(ms);
      rig.leadership.give(undefined);
      rig.leadership.give(fence);
    }

    it('is waited for as long as without it; what the node said last still holds', async () => {
      const agent = await twoNodes();
      const fence = rig.leadership.fence()!.revision;
      rig.leadership.give(undefined);
      clock.pass(timeout);
      await agent.breakOff();
      clock.pass(timeout);
      rig.leadership.give(fence);
      expect(kinds()).toEqual(['silent', 'silent']);
      expect(rig.sessions.nodeViews().get('node-a')).toMatchObject({connected: false, report: IDLE});
      expect(rig.sessions.nodeViews().get('node-a')!.lastSeenAt).toBeLessThanOrEqual(clock.now());
      clock.pass(timeout);
      expect(kinds()).toEqual(['lost', 'lost']);
    });

    it('is given up after a silence whose rest lies before and after, however many lapses there are', async () => {
      await (await twoNodes()).breakOff();
      for (let i = 0; i < 3; i++) {
        expect(kinds()).toEqual(['silent', 'silent']);
        clock.pass(timeout / 3);
        lapse(10 * timeout);
      }
      expect(kinds()).toEqual(['lost', 'lost']);
    });

    it('stays lost when it was before', async () => {
      await (await twoNodes()).breakOff();
      clock.pass(timeout);
      lapse(10 * timeout);
      expect(kinds()).toEqual(['lost', 'lost']);
    });

    it('is not waited for anew when leadership came back before anybody knew that it was gone', async () => {
      await (await twoNodes()).breakOff();
      clock.pass(timeout);
      rig.leadership.give(rig.leadership.fence()!.revision);
      expect(kinds()).toEqual(['lost', 'lost']);
    });
  });

  it('asks for the same attempt, by the same generation, when the leadership is a new one', async () => {
    rig.startLoop();
    const agent = connect('node-a');
    await rig.addJob('j1');
    const plan = await agent.plan();
    agent.report({...IDLE, attempts: [observed(plan, 'node-a', {state: 'running', pid: 1})]});
    await eventually(() => job('j1').status.phase).toBe('running');
    const leader = await rig.lead();
    await eventually(() => agent.heard.at(-1)).toEqual({kind: 'desired', leaderGeneration: leader, plans: [plan]});
    expect(job('j1').attempts).toHaveLength(1);
  });

  it('does not tell an agent to end what a mirror that lags behind does not show', async () => {
    const agent = connect('node-a');
    await eventually(() => agent.heard.length).toBe(2);
    // The leader key of a leadership that the mirror has not seen yet: plans of the leader before may be missing as well.
    rig.leadership.give(1_000_000);
    await rig.addJob('j1');
    const late = connect('node-b');
    await late.ended;
    expect(failureOf(late)).toMatch('does not lead');
    expect(agent.heard).toHaveLength(2);
  });

  it('ends when the agent breaks the order of its events', async () => {
    const agent = connect('node-a');
    agent.sendEvents([log(2, 1), log(1, 1)]);
    await agent.ended;
    expect(failureOf(agent)).toMatch('in the order of their sequence');
  });
});
