import {decide} from '../../coordinator/core/decide.js';
import {desired} from '../../coordinator/core/desired.js';
import {noteExits} from '../../coordinator/core/exits.js';
import {explain} from '../../coordinator/core/explain.js';
import {considerQueue} from '../../coordinator/core/queue.js';
import {DEFAULT_POLICY, type Decision, type NodeView, type Snapshot} from '../../coordinator/core/snapshot.js';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {type EndCode, endReason} from '../../shared/endReason.js';
import {type Instant, instant} from '../../shared/ids.js';
import type {Device, DeviceKind, NodeReport, ObservedAttempt, ObservedRank} from '../../shared/observation.js';
import {Records, readyDataset} from '../sim/records.js';

/**
 * A cluster that a script plays by hand: each line is one thing that happens, and `tick` lets the real core decide and tells what it
 * decided. README.md in this folder lists the lines.
 */
export class Scenario {
  private readonly records = new Records();
  private readonly nodes = new Map<string, NodeView>();
  private now = 0;

  constructor() {
    this.records.putDataset('d', readyDataset(1000));
  }

  /** Runs one line and returns what it prints. */
  run(line: string): string[] {
    const [command = '', ...rest] = line.trim().split(/\s+/);
    const {words, options} = parseArguments(rest);
    switch (command) {
      case 'nodes':
        return this.addNodes(options);
      case 'dataset':
        return this.setDataset(words);
      case 'submit':
        return this.submit(words[0]!, options);
      case 'cancel':
        return quietly(() => this.records.cancel(words[0]!, this.instant()));
      case 'agents':
        return quietly(() => this.agentsObey(words[0] === 'fetch'));
      case 'rank':
        return this.setRank(words);
      case 'running':
        return quietly(() => this.eachRank(words[0]!, rank => ({rank: rank.rank, deviceId: rank.deviceId, state: 'running', pid: 1})));
      case 'completed':
        return quietly(() =>
          this.eachRank(words[0]!, ({rank, deviceId}) => ({rank, deviceId, state: 'exited', reason: endReason('completed', '100 epochs')})),
        );
      case 'staging-failed':
        return this.failStaging(words);
      case 'uploads':
        return quietly(() => this.editAttempt(words[0]!, words[1]!, attempt => ({...attempt, pendingUploads: Number(words[2])})));
      case 'lose':
        return quietly(() => this.editNode(words[0]!, view => ({...view, connected: false})));
      case 'back':
        return this.bringBack(words[0]!, words[1] === 'anew');
      case 'takeover':
        return this.takeOver();
      case 'checkpoint':
        return this.commitCheckpoint(words[0]!, options);
      case 'wait':
        return quietly(() => this.pass(Math.round(Number.parseFloat(words[0]!) * 1000)));
      case 'clock':
        return quietly(() => this.setClock(Math.round(Number.parseFloat(words[0]!) * 1000)));
      case 'tick':
        return this.tick();
      case 'desired':
        return desired(this.snapshot(), words[0]!).map(plan => `${words[0]} shall run ${plan.jobId}/${plan.attempt}`);
      case 'explain':
        return this.explain(words[0]!);
      default:
        throw new Error(`no such command: ${line}`);
    }
  }

  /** Lets the core decide until it has nothing more to say; then tells who waits for what, and when it wants to look again. */
  private tick(): string[] {
    const said: string[] = [];
    for (let round = 0; round < 20; round++) {
      const snapshot = this.snapshot();
      const deliberation = decide(snapshot, this.instant(), DEFAULT_POLICY);
      const done = this.records.commit(deliberation, snapshot, this.instant());
      if (done.length === 0) return [...said, ...this.waiting(), ...this.lookAgain(deliberation.lookAgainAt)];
      said.push(...done.map(decision => describe(decision)));
    }
    throw new Error(`the core does not come to rest: ${said.slice(-3).join(' | ')}`);
  }

  private waiting(): string[] {
    return considerQueue(this.snapshot(), this.instant(), DEFAULT_POLICY).map(({job, position, standing}) => {
      const reasons = standing.kind === 'waits' ? standing.reasons.map(reason => reason.message).join('; ') : 'nothing';
      return `${job.id} ${job.status.phase} (${position}): ${reasons}`;
    });
  }

  private lookAgain(at: Instant | undefined): string[] {
    return at === undefined ? [] : [`look again in ${(at - this.now) / 1000} s`];
  }

  private explain(jobId: string): string[] {
    const {summary, history} = explain(jobId, this.snapshot(), this.instant(), DEFAULT_POLICY);
    return [summary, ...history.map(({at, text}) => `  ${at / 1000} s  ${text}`)];
  }

  private addNodes(options: Map<string, string>): string[] {
    const {kind = 'cuda', address, ...counts} = Object.fromEntries(options);
    for (const [nodeId, count] of Object.entries(counts)) {
      const devices = Array.from({length: Number(count)}, (_, index) => device(kind as DeviceKind, index));
      const record = {nodeId, hostname: nodeId, agentVersion: '1', address: address ?? `host-${nodeId}`, devices};
      const report = {attempts: [], rendezvousPorts: [7001, 7002]};
      this.nodes.set(nodeId, {record, connected: true, lastSeenAt: this.instant(), report, exitsSeenAt: new Map()});
    }
    return [];
  }

  private setDataset([id, state]: string[]): string[] {
    const problem = {code: 'class_out_of_range', severity: 'error' as const, file: 'labels/1.txt', line: 3, message: 'class 9 of 5'};
    if (state === 'ready') this.records.putDataset(id!, readyDataset(1000));
    else if (state === 'failed') this.records.putDataset(id!, {state, problems: [problem], problemCounts: {class_out_of_range: 1}});
    else this.records.putDataset(id!, {state: 'registering'});
    return [];
  }

  private submit(id: string, options: Map<string, string>): string[] {
    const number = (name: string, otherwise: number) => Number(options.get(name) ?? otherwise);
    const spec = {
      data: `datasets/${options.get('data') ?? 'd'}`,
      priority: number('priority', 50),
      train: {batch: 128},
      resources: {gpus: number('gpus', 1)},
      policy: {restarts: {infra: number('infra', 10), user: number('user', 0)}},
    };
    this.records.submit(id, spec, this.instant());
    return [];
  }

  /** Every agent that is here carries out its desired state: starts what is new (or only fetches for it), ends and forgets what is not named. */
  private agentsObey(onlyFetch: boolean): void {
    const snapshot = this.snapshot();
    for (const [nodeId, view] of this.nodes) {
      if (!view.connected || view.report === null) continue;
      const attempts = desired(snapshot, nodeId).map(plan => obey(plan, nodeId, view.report!, onlyFetch));
      this.report(nodeId, {...view.report, attempts});
    }
  }

  private setRank([jobId, number, state, ...message]: string[]): string[] {
    const rank = Number(number);
    const placement = this.plan(jobId!).ranks[rank]!;
    const {deviceId, nodeId} = placement;
    const next: ObservedRank =
      state === 'running' || state === 'starting'
        ? {rank, deviceId, state, pid: 1}
        : {rank, deviceId, state: 'exited', reason: endReason(state as EndCode, message.join(' '))};
    return quietly(() =>
      this.editAttempt(jobId!, nodeId, attempt => ({
        ...attempt,
        stage: {phase: 'ready'},
        ranks: [...attempt.ranks.filter(other => other.rank !== rank), next].sort((a, b) => a.rank - b.rank),
      })),
    );
  }

  private eachRank(jobId: string, state: (rank: {rank: number; deviceId: string}) => ObservedRank): void {
    for (const {nodeId} of this.plan(jobId).ranks) {
      if (this.nodes.get(nodeId)!.report === null) continue;
      this.editAttempt(jobId, nodeId, attempt => ({...attempt, stage: {phase: 'ready'}, ranks: attempt.ranks.map(state)}));
    }
  }

  private failStaging([jobId, nodeId, code, ...message]: string[]): string[] {
    const reason = endReason(code as EndCode, message.join(' '));
    return quietly(() => this.editAttempt(jobId!, nodeId!, attempt => ({...attempt, stage: {phase: 'failed', reason}, ranks: []})));
  }

  private bringBack(nodeId: string, anew: boolean): string[] {
    const {report} = this.nodes.get(nodeId)!;
    const kept = report ?? this.beforeTakeover.get(nodeId)!;
    this.editNode(nodeId, view => ({...view, connected: true, report: kept}));
    this.report(nodeId, anew ? {...kept, attempts: []} : kept);
    return [];
  }

  private readonly beforeTakeover = new Map<string, NodeReport>();

  /** Another coordinator leads: it has the records, but no agent has spoken to it. The ranks go on meanwhile. */
  private takeOver(): string[] {
    for (const [nodeId, view] of this.nodes) {
      if (view.report !== null) this.beforeTakeover.set(nodeId, view.report);
      this.nodes.set(nodeId, {...view, connected: false, report: null, lastSeenAt: this.instant(), exitsSeenAt: new Map()});
    }
    return [];
  }

  private commitCheckpoint(jobId: string, options: Map<string, string>): string[] {
    const step = Number(options.get('step'));
    const cursor = {epoch: Number(options.get('epoch') ?? 1), offset: Number(options.get('offset') ?? 0)};
    const files = [{name: 'model.safetensors', bytes: 1, sha256: '0'.repeat(64)}];
    const plan = this.plan(jobId);
    const record = {step, cursor, files, attempt: plan.attempt, committedAt: this.now};
    return this.records.commitCheckpoint(jobId, plan.generation, record) ? [] : ['refused'];
  }

  private pass(ms: number): void {
    for (const [nodeId, view] of this.nodes) if (view.connected) this.nodes.set(nodeId, {...view, lastSeenAt: instant(this.now + ms)});
    this.now += ms;
  }

  /** What is known of nodes is kept by the monotonic clock, and looks as long ago as before. */
  private setClock(byMs: number): void {
    const moved = (at: Instant): Instant => instant(at + byMs);
    for (const [nodeId, view] of this.nodes) {
      const exitsSeenAt = new Map([...view.exitsSeenAt].map(([exit, at]) => [exit, moved(at)]));
      this.nodes.set(nodeId, {...view, lastSeenAt: moved(view.lastSeenAt), exitsSeenAt});
    }
    this.now += byMs;
  }

  private plan(jobId: string): GenerationPlan {
    const plan = this.records.plan(jobId);
    if (plan === undefined) throw new Error(`${jobId} has no plan`);
    return plan;
  }

  private editAttempt(jobId: string, nodeId: string, edit: (attempt: ObservedAttempt) => ObservedAttempt): void {
    const report = this.nodes.get(nodeId)?.report;
    if (report?.attempts.some(attempt => attempt.jobId === jobId) !== true) throw new Error(`node ${nodeId} does not report ${jobId}`);
    this.report(nodeId, {...report, attempts: report.attempts.map(attempt => (attempt.jobId === jobId ? edit(attempt) : attempt))});
  }

  private report(nodeId: string, report: NodeReport): void {
    this.editNode(nodeId, view => ({
      ...view,
      report,
      lastSeenAt: this.instant(),
      exitsSeenAt: noteExits(view.exitsSeenAt, report, this.instant()),
    }));
  }

  private editNode(nodeId: string, edit: (view: NodeView) => NodeView): void {
    const view = this.nodes.get(nodeId);
    if (view === undefined) throw new Error(`no node ${nodeId}`);
    this.nodes.set(nodeId, edit(view));
  }

  private snapshot(): Snapshot {
    return this.records.snapshot(this.nodes);
  }

  private instant(): Instant {
    return instant(this.now);
  }
}

function describe(decision: Decision): string {
  switch (decision.kind) {
    case 'place': {
      const {plan} = decision;
      const ranks = plan.ranks.map(rank => `${rank.nodeId}/${rank.deviceId}`).join(' ');
      const start = plan.startFrom === null ? 'the start' : `step ${plan.startFrom.step}`;
      return `${decision.jobId}: attempt ${plan.attempt} placed on ${ranks} from ${start} (${decision.reason})`;
    }
    case 'markRunning':
      return `${decision.jobId}: attempt ${decision.attempt} running`;
    case 'endAttempt':
      return `${decision.jobId}: attempt ${decision.attempt} ended, ${decision.endReason.code}: ${decision.endReason.message}`;
    case 'endJob':
      return `${decision.jobId}: ${decision.outcome}, ${decision.endReason.code}: ${decision.endReason.message}`;
  }
}

function obey(plan: GenerationPlan, nodeId: string, report: NodeReport, onlyFetch: boolean): ObservedAttempt {
  const known = report.attempts.find(attempt => attempt.jobId === plan.jobId && attempt.generation === plan.generation);
  if (known !== undefined && (onlyFetch || known.stage.phase !== 'fetching')) return known;
  const ranks = plan.ranks.filter(rank => rank.nodeId === nodeId);
  const {jobId, attempt, generation} = plan;
  if (onlyFetch) return {jobId, attempt, generation, stage: {phase: 'fetching', message: '0 of 3 shards'}, ranks: [], pendingUploads: 0};
  const starting = ranks.map(({rank, deviceId}) => ({rank, deviceId, state: 'starting' as const, pid: 1}));
  return {jobId, attempt, generation, stage: {phase: 'ready'}, ranks: starting, pendingUploads: 0};
}

function device(kind: DeviceKind, index: number): Device {
  return {id: `${kind === 'cuda' ? 'gpu' : 'cpu'}-${index}`, kind, index, model: 'any', memoryBytes: 2 ** 34, threads: 1, links: {}};
}

function parseArguments(rest: readonly string[]): {words: string[]; options: Map<string, string>} {
  const options = new Map(rest.filter(word => word.includes('=')).map(word => word.split('=', 2) as [string, string]));
  return {words: rest.filter(word => !word.includes('=')), options};
}

function quietly(act: () => void): string[] {
  act();
  return [];
}
