import {describe, expect, it} from 'vitest';
import {decide} from '../../coordinator/core/decide.js';
import {desired} from '../../coordinator/core/desired.js';
import type {Core} from './fakeCoordinator.js';
import {simulate} from './simulate.js';
import {describeStory, makeUpStory, type Story, shrink} from './story.js';

/** `SIM_SEED=17` plays one seed, `SIM_RUNS=2000` many; `SIM_FROM` is the first of them. */

const core: Core = {decide, desired};
const runs = Number(process.env.SIM_RUNS ?? 60);
const from = Number(process.env.SIM_SEED ?? process.env.SIM_FROM ?? 1);
const seeds = Array.from({length: process.env.SIM_SEED === undefined ? runs : 1}, (_, i) => from + i);

function lawBroken(story: Story, by: Core): string | undefined {
  try {
    simulate(story, by);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The smallest story in which that law is broken still. */
function report(story: Story, by: Core): string | undefined {
  const broken = lawBroken(story, by);
  if (broken === undefined) return undefined;
  const law = broken.slice(0, 2);
  const small = shrink(story, candidate => lawBroken(candidate, by)?.startsWith(law) ?? false);
  return `${lawBroken(small, by)}\n${describeStory(small)}\nplay it again with SIM_SEED=${story.seed}`;
}

describe('any jobs, any faults: every law holds, and everything comes to its end', () => {
  it(`seeds ${seeds[0]} to ${seeds.at(-1)}`, {timeout: 600_000}, () => {
    for (const seed of seeds) expect(report(makeUpStory(seed), core)).toBeUndefined();
  });

  it('a seed determines the whole run', () => {
    expect(simulate(makeUpStory(5), core)).toEqual(simulate(makeUpStory(5), core));
  });
});

describe('one fault at a time', {timeout: 120_000}, () => {
  const quiet: Story = {seed: 3, nodes: {a: 1, b: 1}, jobs: [{at: 0, id: 'j1', gpus: 2, priority: 50, epochs: 20}], faults: []};

  it('a killed rank is back in step within a second, from the newest checkpoint', () => {
    const {jobs, firstSteps} = simulate({...quiet, faults: [{at: 4_000, kind: 'killRank', job: 'j1', rank: 1}]}, core);
    expect(jobs[0]!.attempts.map(attempt => attempt.endReason?.code)).toEqual(['killed', 'completed']);
    expect(jobs[0]!.attempts[1]!.startStep).toBeGreaterThan(0);
    expect(firstSteps[1]!.at - 4_000).toBeLessThan(1_000);
  });

  it('training goes on without the coordinator, and without the store', () => {
    const {jobs} = simulate({...quiet, faults: [{at: 2_000, kind: 'killCoordinator', forMs: 50_000}]}, core);
    expect(jobs[0]!.attempts).toHaveLength(1);
    const {jobs: others} = simulate({...quiet, faults: [{at: 2_000, kind: 'stopStore', forMs: 50_000}]}, core);
    expect(others[0]!.attempts).toHaveLength(1);
  });

  it('a link that is cut for less than the time-out disturbs nothing', () => {
    const {jobs} = simulate({...quiet, faults: [{at: 2_000, kind: 'cutNode', node: 'b', forMs: 20_000}]}, core);
    expect(jobs[0]!.attempts).toHaveLength(1);
  });

  it('a rotten checkpoint is passed over for the one before', () => {
    const {jobs} = simulate(
      {
        ...quiet,
        faults: [
          {at: 4_000, kind: 'rotCheckpoint', job: 'j1'},
          {at: 4_010, kind: 'killRank', job: 'j1', rank: 0},
        ],
      },
      core,
    );
    const [, second, third] = jobs[0]!.attempts;
    expect(second!.endReason?.code).toBe('bad_checkpoint');
    expect(third!.startStep).toBeGreaterThan(0);
    expect(third!.startStep).toBeLessThan(second!.startStep);
  });
});

describe('the simulator notices a core that', {timeout: 120_000}, () => {
  const manySeeds = Array.from({length: 40}, (_, i) => i + 1);
  const firstBroken = (by: Core): string | undefined => {
    for (const seed of manySeeds) {
      const broken = lawBroken(makeUpStory(seed), by);
      if (broken !== undefined) return broken;
    }
    return undefined;
  };

  it('never looks again when it said it would', () => {
    expect(firstBroken({...core, decide: (...args) => ({...decide(...args), lookAgainAt: undefined})})).toMatch(/^L9/);
  });

  it('ends a cancelled job at once, with its ranks alive', () => {
    const hasty: typeof decide = (snapshot, now, policy) => decide({...snapshot, plans: withoutCancelled(snapshot)}, now, policy);
    expect(firstBroken({...core, decide: hasty})).toMatch(/^L6/);
  });

  it('starts from a cursor that is not the checkpoint’s', () => {
    const forgetful: typeof decide = (...args) => {
      const deliberation = decide(...args);
      const decisions = deliberation.decisions.map(decision => {
        if (decision.kind !== 'place' || decision.plan.startFrom === null) return decision;
        const {startFrom} = decision.plan;
        return {...decision, plan: {...decision.plan, startFrom: {...startFrom, cursor: {epoch: startFrom.cursor.epoch + 1, offset: 0}}}};
      });
      return {...deliberation, decisions};
    };
    expect(firstBroken({...core, decide: forgetful})).toMatch(/^L3/);
  });

  it('leaves a cancelled job on the nodes, and tells the smallest story of it', () => {
    const stubborn: typeof desired = (snapshot, nodeId) => {
      const jobs = new Map([...snapshot.jobs].map(([id, job]) => [id, {...job, value: {...job.value, cancelRequestedAt: null}}]));
      return desired({...snapshot, jobs}, nodeId);
    };
    const noise = makeUpStory(manySeeds.find(seed => makeUpStory(seed).faults.length > 8)!);
    const long = {at: 0, id: 'long', gpus: 1, priority: 100, epochs: 450};
    const story: Story = {...noise, jobs: [long, ...noise.jobs], faults: [...noise.faults, {at: 5_000, kind: 'cancel', job: 'long'}]};
    const told = report(story, {...core, desired: stubborn})!;
    expect(told.split('\n').slice(0, -1)).toEqual([
      expect.stringMatching(/^L9: long took \d+ ms to be cancelled$/),
      expect.stringMatching(/^seed \d+, nodes /),
      '     0 ms  submit {"id":"long","gpus":1,"priority":100,"epochs":450}',
      '  5000 ms  cancel {"job":"long"}',
    ]);
  });
});

function withoutCancelled(snapshot: Parameters<typeof decide>[0]) {
  return new Map([...snapshot.plans].filter(([id]) => snapshot.jobs.get(id)?.value.cancelRequestedAt === null));
}
