import {describe, expect, it} from 'vitest';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {endReason} from '../../shared/endReason.js';
import {checkpointPolicySchema} from '../../shared/jobSpec.js';
import {trainArgumentsSchema} from '../../shared/trainArguments.js';
import {attemptKey, type LocalAttempt} from './localAttempt.js';
import {type Fact, newAttempt, observe} from './observe.js';
import {type Action, reconcile, type Wanted} from './reconcile.js';

/**
 * Stories: what happens on the left, what the agent does about it on the right. Node `a` has the devices d0 and d1.
 *
 *     want j1.1@5:d0,d1 …     the plans that shall run, with the devices of their ranks on this node
 *     staged j1               its inputs are here; likewise `launched`, `running`, `completed`, `killed`, `uploads j1 2`, `gone j1`
 *     after 3s                time passes
 *     stop                    the agent is told to stop
 */
function play(story: string): void {
  const lines = story
    .trim()
    .split('\n')
    .map(line => line.split('->').map(part => part.trim()));
  const node = new Node();
  expect(lines.map(([input]) => [input, node.hear(input!)])).toEqual(lines.map(([input, output]) => [input, output ?? '']));
}

class Node {
  private wanted: Wanted = {plans: undefined, stopping: false};
  private readonly attempts = new Map<string, LocalAttempt>();
  private readonly retired = new Set<string>();
  private now = 0;

  hear(input: string): string {
    const [verb, ...args] = input.split(' ');
    if (verb === 'want') this.wanted = {...this.wanted, plans: args.map(planOf)};
    else if (verb === 'stop') this.wanted = {...this.wanted, stopping: true};
    else if (verb === 'after') this.now += Number.parseFloat(args[0]!) * 1000;
    else if (verb === 'gone') this.forget(args[0]!);
    else for (const fact of factsOf(verb!, args, this.find(args[0]!))) this.record(this.find(args[0]!), fact);
    return this.settle().join(', ');
  }

  /** Acts until there is nothing more to do, as far as facts follow from actions at once. */
  private settle(): string[] {
    const {actions} = reconcile(this.wanted, {attempts: this.attempts, retired: this.retired}, this.now, {nodeId: 'a', termGraceMs: 2000});
    for (const action of actions) this.begin(action);
    const shown = actions.map(show);
    return actions.some(({kind}) => kind !== 'refuse') ? [...shown, ...this.settle()] : shown;
  }

  private begin(action: Action): void {
    if (action.kind === 'refuse') return;
    if (action.kind === 'stage') {
      this.attempts.set(attemptKey(action.plan), newAttempt(action.plan));
      return;
    }
    const attempt = this.attempts.get(action.key)!;
    if (action.kind === 'launch') this.record(attempt, {kind: 'launching', nodeId: 'a'});
    else if (action.kind === 'forget') this.record(attempt, {kind: 'forgetting'});
    else this.record(attempt, {kind: 'ending', rank: action.rank, ending: {signal: action.signal, cause: action.cause, at: this.now}});
  }

  private find(name: string): LocalAttempt {
    const found = [...this.attempts.values()].filter(({plan}) => `${plan.jobId}.${plan.attempt}`.startsWith(name)).at(-1);
    if (found === undefined) throw new Error(`no attempt ${name}`);
    return found;
  }

  private record(attempt: LocalAttempt, fact: Fact): void {
    const key = attemptKey(attempt.plan);
    this.attempts.set(key, observe(this.attempts.get(key)!, fact));
  }

  private forget(name: string): void {
    const {plan, ranks} = this.find(name);
    this.attempts.delete(attemptKey(plan));
    if (ranks.length > 0) this.retired.add(attemptKey(plan));
  }
}

function planOf(text: string): GenerationPlan {
  const [, jobId, attempt, generation, devices] = /^(\w+)\.(\d+)@(\d+):(.*)$/.exec(text)!;
  return {
    jobId: jobId!,
    attempt: Number(attempt),
    generation: Number(generation),
    ranks: devices!.split(',').map((deviceId, rank) => ({rank, nodeId: deviceId === '' ? 'b' : 'a', deviceId, localRank: rank})),
    rendezvous: {host: '10.0.0.1', port: 61_000},
    datasetId: 'd',
    datasetIndexDigest: '00'.repeat(32),
    model: {arch: 'yolov8n', nc: 'auto'},
    train: trainArgumentsSchema.parse({}),
    checkpoint: checkpointPolicySchema.parse({}),
    startFrom: null,
  };
}

function factsOf(verb: string, args: readonly string[], {ranks}: LocalAttempt): Fact[] {
  switch (verb) {
    case 'staged':
      return [{kind: 'staged', files: {indexPath: 'i', shardsDir: 's', resumeDir: null}}];
    case 'failed':
      return [{kind: 'stagingFailed', reason: endReason('staging_failed')}];
    case 'launched':
      return ranks.map(({rank}) => ({kind: 'started', rank, pid: 100 + rank}));
    case 'completed':
      return ranks.map(({rank}) => ({kind: 'exited', rank, exit: {kind: 'code', code: 0}, stderr: ''}));
    case 'killed':
      return [{kind: 'exited', rank: Number(args[1]), exit: {kind: 'signal', signal: 'SIGKILL'}, stderr: ''}];
    case 'uploads':
      return [{kind: 'uploads', pending: Number(args[1])}];
    default:
      throw new Error(`what is ${verb}?`);
  }
}

function show(action: Action): string {
  switch (action.kind) {
    case 'stage':
      return `stage ${attemptKey(action.plan)}`;
    case 'refuse':
      return `refuse ${attemptKey(action.plan)}: ${action.why}`;
    case 'signal':
      return `${action.signal} ${action.key}#${action.rank}`;
    default:
      return `${action.kind} ${action.key}`;
  }
}

describe('reconcile', () => {
  it('carries a plan out, and clears it away once it is no longer wanted', () =>
    play(`
      want j1.1@5:d0,d1   -> stage j1.1.5
      staged j1           -> launch j1.1.5
      launched j1
      completed j1
      want                -> forget j1.1.5
      gone j1
    `));

  it('does nothing about a plan that has no rank here', () => play('want j1.1@5:'));

  it('ends what is no longer wanted: politely, then not', () =>
    play(`
      want j1.1@5:d0,d1   -> stage j1.1.5
      staged j1           -> launch j1.1.5
      launched j1
      want                -> SIGTERM j1.1.5#0, SIGTERM j1.1.5#1
      after 1s
      killed j1 0
      after 1s            -> SIGKILL j1.1.5#1
      after 9s
      killed j1 1         -> forget j1.1.5
    `));

  it('ends a process that was being made when it stopped being wanted, as soon as it has a pid', () =>
    play(`
      want j1.1@5:d0      -> stage j1.1.5
      staged j1           -> launch j1.1.5
      want
      launched j1         -> SIGTERM j1.1.5#0
    `));

  it('starts the next attempt on a device only when the last process of the one before is gone', () =>
    play(`
      want j1.1@5:d0,d1   -> stage j1.1.5
      staged j1           -> launch j1.1.5
      launched j1
      want j1.2@9:d1      -> SIGTERM j1.1.5#0, SIGTERM j1.1.5#1, stage j1.2.9
      staged j1.2
      killed j1.1 0
      killed j1.1 1       -> forget j1.1.5, launch j1.2.9
    `));

  it('lets two jobs run beside each other on different devices', () =>
    play(`
      want j1.1@5:d0 j2.1@6:d1   -> stage j1.1.5, stage j2.1.6
      staged j2                  -> launch j2.1.6
      staged j1                  -> launch j1.1.5
    `));

  it('uploads to the end what a job that ended well has left', () =>
    play(`
      want j1.1@5:d0      -> stage j1.1.5
      staged j1           -> launch j1.1.5
      launched j1
      uploads j1 2
      completed j1
      want
      uploads j1 0        -> forget j1.1.5
    `));

  it('drops the uploads of an attempt that was ended', () =>
    play(`
      want j1.1@5:d0      -> stage j1.1.5
      staged j1           -> launch j1.1.5
      launched j1
      uploads j1 2
      want                -> SIGTERM j1.1.5#0
      killed j1 0         -> forget j1.1.5
    `));

  it('tells of an attempt that failed for as long as it is wanted', () =>
    play(`
      want j1.1@5:d0      -> stage j1.1.5
      failed j1
      after 60s
      want                -> forget j1.1.5
    `));

  it('stops fetching for a plan that is no longer wanted, and begins anew when it is wanted again', () =>
    play(`
      want j1.1@5:d0      -> stage j1.1.5
      want                -> forget j1.1.5
      want j1.1@5:d0
      gone j1             -> stage j1.1.5
    `));

  it('runs no plan twice, and none that was overtaken', () =>
    play(`
      want j1.2@9:d0      -> stage j1.2.9
      staged j1           -> launch j1.2.9
      launched j1
      want j1.1@5:d1 j1.2@9:d0   -> refuse j1.1.5: generation 9 of the job is known
      completed j1               -> refuse j1.1.5: generation 9 of the job is known
      want                       -> forget j1.2.9
      gone j1
      want j1.2@9:d0             -> refuse j1.2.9: it had its run here
    `));

  it('ends all ranks when the agent stops, starts none, and goes on telling of them', () =>
    play(`
      want j1.1@5:d0 j2.1@6:d1   -> stage j1.1.5, stage j2.1.6
      staged j1                  -> launch j1.1.5
      launched j1
      stop                       -> SIGTERM j1.1.5#0
      staged j2
      killed j1 0
    `));

  it('ends nothing before a coordinator has said what is wanted', () => {
    const attempt = observe(observe(newAttempt(planOf('j1.1@5:d0')), {kind: 'launching', nodeId: 'a'}), {kind: 'started', rank: 0, pid: 7});
    const attempts = new Map([[attemptKey(attempt.plan), attempt]]);
    const {actions} = reconcile({plans: undefined, stopping: false}, {attempts, retired: new Set()}, 0, {nodeId: 'a', termGraceMs: 1});
    expect(actions).toEqual([]);
  });

  it('says when to look again: at the end of the earliest grace', () => {
    const ending = {signal: 'SIGTERM', at: 700, cause: 'unwanted'} as const;
    const facts: Fact[] = [
      {kind: 'launching', nodeId: 'a'},
      {kind: 'started', rank: 0, pid: 7},
      {kind: 'ending', rank: 0, ending},
    ];
    const attempt = facts.reduce(observe, newAttempt(planOf('j1.1@5:d0')));
    const attempts = new Map([[attemptKey(attempt.plan), attempt]]);
    const {wakeAt} = reconcile({plans: [], stopping: false}, {attempts, retired: new Set()}, 1000, {nodeId: 'a', termGraceMs: 2000});
    expect(wakeAt).toBe(2700);
  });
});
