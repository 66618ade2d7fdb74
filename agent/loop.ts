import type {GenerationPlan} from '../shared/attemptPlan.js';
import type {Clock} from '../shared/clock.js';
import {endReason} from '../shared/endReason.js';
import {AGENT_RANK} from '../shared/event.js';
import type {Log} from '../shared/log.js';
import type {NodeReport} from '../shared/observation.js';
import type {AgentEvent, TrainerEvent} from '../shared/trainerContract.js';
import {retrying} from './adapters/retrying.js';
import {type AttemptLaunch, type LaunchSite, launch, type RankLaunch, UnknownDeviceError} from './core/launch.js';
import {attemptKey, isAlive, type LocalAttempt, placementsOn} from './core/localAttempt.js';
import {AGENT_RESTARTED, type Fact, newAttempt, observe, type ProcessExit, reportOf} from './core/observe.js';
import {type Action, reconcile, type Wanted} from './core/reconcile.js';
import {
  type AttemptFolders,
  type EventLog,
  type RankSink,
  type RendezvousPorts,
  type RunningTrainer,
  type Staging,
  StagingFailedError,
  type Trainers,
  type Upload,
  type Uploads,
} from './ports.js';

export interface AgentLoopDeps {
  readonly site: Omit<LaunchSite, 'folder'>;
  /** How long a rank has to end by itself after SIGTERM, ms. */
  readonly termGraceMs: number;
  readonly trainers: Trainers;
  readonly staging: Staging;
  readonly uploads: Uploads;
  readonly folders: AttemptFolders;
  readonly rendezvous: RendezvousPorts;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Log;
  /** The report differs from the last one that was asked for. */
  onReportChanged(): void;
}

/** Who is to end anyway waits so long for a disk that does not take how a rank ended. */
const EXIT_WRITE_LIMIT_MS = 1500;
/** Attempts that had their run are remembered, so that a plan that is named once more does not run twice. */
const REMEMBERED_ATTEMPTS = 1000;

/**
 * Compares what is wanted with what is here, and acts, at each change of either. All that happens becomes a fact about an attempt; what to
 * do next is judged from the facts by `reconcile`. An action first changes the facts and then does its work, so it is never begun twice.
 */
export class AgentLoop {
  private readonly attempts = new Map<string, LocalAttempt>();
  private readonly retired = new Set<string>();
  private readonly refused = new Set<string>();
  private readonly trainers = new Map<string, RunningTrainer>();
  private readonly stagings = new Map<string, {abort: AbortController; settled: Promise<void>}>();
  private readonly checkpointsMade = new Map<string, number>();
  private readonly exitsBeingWritten = new Set<Promise<unknown>>();
  /** Uploads that the disk does not take for now, each with its attempt's key. */
  private readonly unqueued = new Map<Upload, string>();
  /** Ranks that finished what could not be queued before they had to end. */
  private readonly unsaved = new Set<string>();
  private watchers: (() => void)[] = [];
  private wanted: Wanted = {plans: undefined, stopping: false};
  private passIsDue = false;
  private alarm = new AbortController();
  private lastReport = '';

  constructor(private readonly deps: AgentLoopDeps) {
    deps.uploads.onChange(plan => this.recordUploads(plan));
  }

  /** Takes over what an earlier agent left: its ranks are gone, its uploads go on. */
  async recover(): Promise<void> {
    for (const attempt of await this.deps.folders.recover()) {
      const {plan} = attempt;
      this.attempts.set(attemptKey(plan), attempt);
      for (const rank of attempt.ranks) {
        if (rank.state !== 'exited' || rank.reason !== AGENT_RESTARTED) continue;
        await this.deps.folders.recordExit(plan, rank.rank, rank.reason);
        this.say(plan, rank.rank, {type: 'exited', code: rank.reason.code, message: rank.reason.message});
      }
      await this.deps.uploads.resume(plan, this.deps.folders.pathOf(plan)).catch(error => {
        this.deps.log.warn('uploads of an earlier agent are lost', {job: plan.jobId, attempt: plan.attempt, error});
      });
    }
    this.wake();
  }

  /** The whole of what shall run here. */
  setWanted(plans: readonly GenerationPlan[]): void {
    this.wanted = {...this.wanted, plans};
    this.wake();
  }

  report(): NodeReport {
    return reportOf(this.attempts.values(), this.deps.rendezvous.held());
  }

  /**
   * Ends all ranks and resolves when they are gone. Those that are amid training make a checkpoint first, if it is with the
   * coordinator within `checkpointLimitMs`; 0: none.
   */
  async stop(checkpointLimitMs: number): Promise<void> {
    if (checkpointLimitMs > 0) await this.checkpointAll(checkpointLimitMs);
    this.wanted = {...this.wanted, stopping: true};
    for (const {abort} of this.stagings.values()) abort.abort(new Error('the agent is stopping'));
    this.wake();
    await this.until(() => ![...this.attempts.values()].some(attempt => attempt.ranks.some(isAlive)));
  }

  /** Looks and acts once for however many changes there were since the last look. */
  private wake(): void {
    if (this.passIsDue) return;
    this.passIsDue = true;
    setImmediate(() => {
      this.passIsDue = false;
      this.pass();
    });
  }

  private pass(): void {
    const {clock, site, termGraceMs} = this.deps;
    const now = clock.monotonic();
    const policy = {nodeId: site.nodeId, termGraceMs};
    const {actions, wakeAt} = reconcile(this.wanted, {attempts: this.attempts, retired: this.retired}, now, policy);
    for (const action of actions) this.act(action);
    this.setAlarm(wakeAt === undefined ? undefined : wakeAt - now);
    this.tellChange();
  }

  private act(action: Action): void {
    switch (action.kind) {
      case 'stage':
        this.attempts.set(attemptKey(action.plan), newAttempt(action.plan));
        this.beginStaging(action.plan);
        return;
      case 'launch':
        this.beginLaunch(this.attempts.get(action.key)!);
        return;
      case 'signal': {
        const {plan} = this.attempts.get(action.key)!;
        const ending = {signal: action.signal, cause: action.cause, at: this.deps.clock.monotonic()};
        this.record(plan, {kind: 'ending', rank: action.rank, ending});
        this.trainers.get(rankKey(plan, action.rank))?.signal(action.signal);
        return;
      }
      case 'forget': {
        const {plan} = this.attempts.get(action.key)!;
        this.record(plan, {kind: 'forgetting'});
        this.inBackground(plan, 'clearing an attempt away', this.forget(plan));
        return;
      }
      case 'refuse':
        if (!this.refused.has(attemptKey(action.plan)))
          this.deps.log.warn('a plan is not carried out', {job: action.plan.jobId, attempt: action.plan.attempt, why: action.why});
        this.refused.add(attemptKey(action.plan));
    }
  }

  private beginStaging(plan: GenerationPlan): void {
    const {staging, folders, log} = this.deps;
    const abort = new AbortController();
    const progress = (message: string): void => this.record(plan, {kind: 'stagingProgress', message});
    const stage = async (): Promise<void> => {
      await folders.create(plan);
      const files = await staging.stage(plan, folders.pathOf(plan), progress, abort.signal);
      this.say(plan, AGENT_RANK, {type: 'staged', message: 'the data set and the checkpoint are here'});
      this.record(plan, {kind: 'staged', files});
    };
    const settled = stage().catch(error => {
      if (abort.signal.aborted) return;
      const message = error instanceof Error ? error.message : String(error);
      const reason = error instanceof StagingFailedError ? error.reason : endReason('staging_failed', message);
      log.warn('an attempt could not be prepared', {job: plan.jobId, attempt: plan.attempt, error});
      this.record(plan, {kind: 'stagingFailed', reason});
    });
    this.stagings.set(attemptKey(plan), {abort, settled});
  }

  private beginLaunch({plan, stage}: LocalAttempt): void {
    if (stage.phase !== 'ready') throw new Error(`launching ${attemptKey(plan)}, which is ${stage.phase}`);
    try {
      const folder = this.deps.folders.pathOf(plan);
      const prepared = launch(plan, stage.files, {...this.deps.site, folder});
      this.record(plan, {kind: 'launching', nodeId: this.deps.site.nodeId});
      this.inBackground(plan, 'starting ranks', this.startRanks(plan, prepared));
    } catch (error) {
      if (!(error instanceof UnknownDeviceError)) throw error;
      this.record(plan, {kind: 'stagingFailed', reason: endReason('staging_failed', error.message)});
    }
  }

  private async startRanks(plan: GenerationPlan, prepared: AttemptLaunch): Promise<void> {
    const {folders, rendezvous} = this.deps;
    try {
      await folders.recordLaunch(plan, prepared);
      if (prepared.ranks.some(({rank}) => rank === 0)) await rendezvous.release(plan.rendezvous.port);
    } catch (error) {
      for (const {rank} of prepared.ranks) await this.exited(plan, rank, {kind: 'spawnFailed', message: (error as Error).message}, '');
      throw error;
    }
    await Promise.all(prepared.ranks.map(rank => this.runRank(plan, rank)));
  }

  /** One rank from its start to its end. */
  private async runRank(plan: GenerationPlan, rankLaunch: RankLaunch): Promise<void> {
    const {rank, deviceId} = rankLaunch;
    let trainer: RunningTrainer;
    try {
      trainer = await this.deps.trainers.start(rankLaunch, this.sinkOf(plan, rank));
    } catch (error) {
      return this.exited(plan, rank, {kind: 'spawnFailed', message: (error as Error).message}, '');
    }
    this.trainers.set(rankKey(plan, rank), trainer);
    this.say(plan, rank, {type: 'started', pid: trainer.pid, device: deviceId});
    this.record(plan, {kind: 'started', rank, pid: trainer.pid});
    const {exit, stderr} = await trainer.ended;
    this.trainers.delete(rankKey(plan, rank));
    await this.exited(plan, rank, exit, stderr);
  }

  /**
   * A rank is gone. What must not be forgotten is on disk before it is told; that a rank was killed is told at once, since that is also
   * what an agent says that knows nothing more.
   */
  private async exited(plan: GenerationPlan, rank: number, exit: ProcessExit, stderr: string): Promise<void> {
    // Who had to end before his files were safe has not completed: the next attempt writes them again.
    const fact: Fact = {kind: 'exited', rank, exit: this.unsaved.delete(rankKey(plan, rank)) ? ENDED : exit, stderr};
    const known = this.attempts.get(attemptKey(plan));
    const after = known === undefined ? undefined : observe(known, fact).ranks.find(candidate => candidate.rank === rank);
    if (after?.state !== 'exited') throw new Error(`rank ${rank} of ${attemptKey(plan)} ended, which is not known here`);
    this.say(plan, rank, {type: 'exited', code: after.reason.code, message: after.reason.message});
    this.deps.log.info('a rank ended', {job: plan.jobId, attempt: plan.attempt, rank, code: after.reason.code, why: after.reason.message});
    const onFailure = (error: unknown): void => this.deps.log.error('an exit could not be written down', {job: plan.jobId, rank, error});
    const written = this.deps.folders.recordExit(plan, rank, after.reason).catch(onFailure);
    this.exitsBeingWritten.add(written);
    const durable = Promise.all([written, this.deps.events.flush()]).catch(onFailure);
    const isTold = after.reason.code === 'killed' || (await this.unlessToEnd(plan, rank, durable));
    this.record(plan, isTold ? fact : {...fact, exit: ENDED});
    await written;
    this.exitsBeingWritten.delete(written);
  }

  /** Waits until it is durable how a rank ended; false: the disk does not take it, and the rank was to end anyway. */
  private async unlessToEnd(plan: GenerationPlan, rank: number, durable: Promise<unknown>): Promise<boolean> {
    const settled = new AbortController();
    const {clock} = this.deps;
    const givenUp = this.until(() => this.isEnding(plan, rank)).then(() => clock.sleep(EXIT_WRITE_LIMIT_MS, settled.signal));
    const isDurable = await Promise.race([durable.then(() => true), givenUp.then(() => false)]);
    settled.abort();
    return isDurable;
  }

  private async forget(plan: GenerationPlan): Promise<void> {
    const key = attemptKey(plan);
    const staging = this.stagings.get(key);
    staging?.abort.abort(new Error('the attempt is no longer wanted'));
    await staging?.settled;
    await this.deps.uploads.abandon(plan);
    await Promise.all(this.exitsBeingWritten);
    this.deps.staging.release(plan);
    if (placementsOn(plan, this.deps.site.nodeId)[0]?.rank === 0) this.deps.rendezvous.reclaim(plan.rendezvous.port);
    await this.deps.folders.remove(plan).catch(error => {
      this.deps.log.warn('the folder of an attempt could not be removed; the next start tries again', {job: plan.jobId, error});
    });
    if (this.attempts.get(key)!.ranks.length > 0) this.retire(key);
    this.stagings.delete(key);
    this.checkpointsMade.delete(key);
    this.attempts.delete(key);
    this.changed();
  }

  private retire(key: string): void {
    this.retired.add(key);
    if (this.retired.size > REMEMBERED_ATTEMPTS) this.retired.delete(this.retired.values().next().value!);
  }

  private sinkOf(plan: GenerationPlan, rank: number): RankSink {
    return {
      event: async (event, json) => {
        await this.takeUpload(plan, rank, event);
        this.deps.events.append({...idsOf(plan), rank}, event.type, json);
        if (event.type === 'step' || event.type === 'end') this.record(plan, {kind: 'event', rank, event});
      },
      badEvent: async (line, message) => this.say(plan, rank, {type: 'bad_event', line, message}),
      log: async (stream, line) => this.say(plan, rank, {type: 'log', stream, line}),
    };
  }

  /** What a rank finished is queued for the coordinator before its event is told. */
  private async takeUpload(plan: GenerationPlan, rank: number, event: TrainerEvent): Promise<void> {
    const upload = uploadOf(event);
    if (upload === undefined) return;
    try {
      await this.queueUpload(plan, rank, upload);
      const key = attemptKey(plan);
      if (upload.kind === 'checkpoint') this.checkpointsMade.set(key, (this.checkpointsMade.get(key) ?? 0) + 1);
    } catch (error) {
      if (mayPass(error)) this.unsaved.add(rankKey(plan, rank));
      this.deps.log.error('a file of a trainer cannot be uploaded', {job: plan.jobId, attempt: plan.attempt, rank, error});
      this.say(plan, rank, {type: 'bad_event', line: JSON.stringify(event).slice(0, 1000), message: (error as Error).message});
    }
  }

  /** Tries until the disk takes it, or the rank is told to end; meanwhile it counts as pending, and the rank's next words wait. */
  private async queueUpload(plan: GenerationPlan, rank: number, upload: Upload): Promise<void> {
    const {uploads, folders, clock, log} = this.deps;
    const isFinal = (error: unknown): boolean => !mayPass(error) || this.isEnding(plan, rank);
    const onFailure = (error: unknown): void => {
      if (this.unqueued.has(upload)) return;
      log.error('the disk does not take a file of a trainer; trying again', {job: plan.jobId, attempt: plan.attempt, rank, error});
      this.unqueued.set(upload, attemptKey(plan));
      this.recordUploads(plan);
    };
    try {
      const add = (): Promise<void> => uploads.add(plan, folders.pathOf(plan), upload);
      await retrying(add, isFinal, clock, new AbortController().signal, onFailure);
    } finally {
      if (this.unqueued.delete(upload)) this.recordUploads(plan);
    }
  }

  private isEnding(plan: GenerationPlan, rank: number): boolean {
    const known = this.attempts.get(attemptKey(plan))?.ranks.find(candidate => candidate.rank === rank);
    return known === undefined || known.state === 'exited' || known.ending !== null;
  }

  private recordUploads(plan: GenerationPlan): void {
    const unqueued = [...this.unqueued.values()].filter(key => key === attemptKey(plan)).length;
    this.record(plan, {kind: 'uploads', pending: this.deps.uploads.pending(plan) + unqueued});
  }

  /** Has every attempt whose rank 0 trains here make a checkpoint, and waits until those are with the coordinator. */
  private async checkpointAll(limitMs: number): Promise<void> {
    const training = [...this.attempts.values()].filter(({ranks}) => ranks.some(rank => rank.rank === 0 && rank.state === 'running'));
    const before = training.map(({plan}) => this.checkpointsMade.get(attemptKey(plan)) ?? 0);
    for (const {plan, ranks} of training) for (const {rank} of ranks) this.trainers.get(rankKey(plan, rank))?.command({cmd: 'checkpoint'});
    const isSaved = ({plan}: LocalAttempt, index: number): boolean => {
      const now = this.attempts.get(attemptKey(plan));
      if (now === undefined || !now.ranks.some(isAlive)) return true;
      return (this.checkpointsMade.get(attemptKey(plan)) ?? 0) > before[index]! && now.pendingUploads === 0;
    };
    const limit = new AbortController();
    await Promise.race([this.until(() => training.every(isSaved)), this.deps.clock.sleep(limitMs, limit.signal)]);
    limit.abort();
  }

  private say(plan: GenerationPlan, rank: number, event: AgentEventBody): void {
    this.deps.events.append({...idsOf(plan), rank}, event.type, JSON.stringify({...event, t: this.deps.clock.now()}));
  }

  private record(plan: GenerationPlan, fact: Fact): void {
    const attempt = this.attempts.get(attemptKey(plan));
    if (attempt === undefined) return;
    this.attempts.set(attemptKey(plan), observe(attempt, fact));
    this.changed();
  }

  private changed(): void {
    this.wake();
    for (const watcher of [...this.watchers]) watcher();
  }

  private tellChange(): void {
    const report = JSON.stringify(this.report());
    if (report === this.lastReport) return;
    this.lastReport = report;
    this.deps.onReportChanged();
  }

  private until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise(resolve => {
      const watcher = (): void => {
        if (!condition()) return;
        this.watchers = this.watchers.filter(other => other !== watcher);
        resolve();
      };
      this.watchers.push(watcher);
    });
  }

  private setAlarm(delayMs: number | undefined): void {
    this.alarm.abort();
    this.alarm = new AbortController();
    const {signal} = this.alarm;
    if (delayMs === undefined) return;
    void this.deps.clock.sleep(delayMs, signal).then(() => {
      if (!signal.aborted) this.wake();
    });
  }

  private inBackground(plan: GenerationPlan, what: string, work: Promise<void>): void {
    work.catch(error => this.deps.log.error(`${what} failed`, {job: plan.jobId, attempt: plan.attempt, error}));
  }
}

type WithoutTime<T> = T extends unknown ? Omit<T, 't'> : never;
type AgentEventBody = WithoutTime<AgentEvent>;

function idsOf({jobId, attempt, generation}: GenerationPlan): Pick<GenerationPlan, 'jobId' | 'attempt' | 'generation'> {
  return {jobId, attempt, generation};
}

function rankKey(plan: GenerationPlan, rank: number): string {
  return `${attemptKey(plan)}#${rank}`;
}

const ENDED: ProcessExit = {kind: 'signal', signal: 'SIGKILL'};

/** Failures of a disk that may take more in a while: it is full, a quota is spent, too many files are open, or its server is away. */
const PASSING_CODES: ReadonlySet<string | undefined> = new Set(['ENOSPC', 'EDQUOT', 'EMFILE', 'EIO']);

function mayPass(error: unknown): boolean {
  return PASSING_CODES.has((error as NodeJS.ErrnoException).code);
}

/** The upload that an event announces, if it does. */
function uploadOf(event: TrainerEvent): Upload | undefined {
  if (event.type === 'artifact') {
    const {path, bytes, sha256} = event;
    return {kind: 'artifact', path, file: {name: path, bytes, sha256}};
  }
  if (event.type !== 'checkpoint') return undefined;
  const {step, cursor, files, dir} = event;
  const map50 = event.map50 ?? undefined;
  const map50_95 = event.map50_95 ?? undefined;
  return {kind: 'checkpoint', dir, manifest: {step, cursor, files, map50, map50_95}};
}
