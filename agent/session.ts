import type {GenerationPlan} from '../shared/attemptPlan.js';
import {Bell} from '../shared/bell.js';
import type {Clock} from '../shared/clock.js';
import type {AgentServiceClient, SessionRequest, SessionResponse} from '../shared/gen/tenfold/v1/agent.js';
import {errorChain, type Log, type LogFields} from '../shared/log.js';
import type {NodeIdentity, NodeReport, ObservedAttempt} from '../shared/observation.js';
import {desiredFromProto, helloToProto, outboxEventToProto, reportToProto} from '../shared/wire/agent.js';
import {wholeNumber} from '../shared/wire/common.js';
import {backoffMs, RECONNECT_BACKOFF} from './adapters/retrying.js';
import type {Outbox} from './outbox.js';

export interface SessionDeps {
  readonly client: Pick<AgentServiceClient, 'session'>;
  readonly identity: NodeIdentity;
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly log: Log;
  /** Longest silence: without any change a report is sent all the same. */
  readonly heartbeatMs: number;
  /** What is here now. */
  report(): NodeReport;
  /** The coordinator's whole truth for this node. */
  onDesired(plans: readonly GenerationPlan[]): void;
}

/** A coordinator that takes the call must say something within this. */
const WELCOME_LIMIT_MS = 10_000;
/** A conversation that lasted so long went well, and its end is a new trouble: the next try is made at once. */
const WELL_AFTER_MS = 5000;
/** How often a node that stays offline says why, though nothing has changed. */
const REMINDER_MS = 60_000;

/**
 * The one stream to the coordinator. Up: who we are, what is here (at each change, and as a heartbeat), and events from the outbox.
 * Down: what shall run here, and what was acknowledged. When the link breaks it is made again, for ever; nothing else waits for it.
 *
 * Events go before the report of a change that came after them, one batch at least, so that a rank's last words are told before its end.
 */
export class Session {
  private readonly bell = new Bell();
  private reportIsDue = false;
  private finishing = false;
  /** The greatest fence of a leader that was heard: an older one has been overtaken (L4). */
  private leaderGeneration = 0;
  private readonly news: LinkNews;

  constructor(private readonly deps: SessionDeps) {
    this.news = new LinkNews(deps.clock, deps.log);
    deps.outbox.onDurable(() => this.bell.ring());
  }

  /** Something in the report has changed. */
  reportChanged(): void {
    this.reportIsDue = true;
    this.bell.ring();
  }

  /** Runs until `signal` aborts or, after `finish`, until everything is told. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted && !(this.finishing && failures > 0)) {
      const outcome = await this.converse(signal);
      if (signal.aborted || (this.finishing && outcome.error === undefined)) return;
      failures = outcome.wentWell ? 1 : failures + 1;
      this.news.broke(outcome, failures);
      await this.deps.clock.sleep(backoffMs(RECONNECT_BACKOFF, failures, Math.random()), signal);
    }
  }

  /** Tells what is left to tell; then `run` returns. */
  finish(): void {
    this.finishing = true;
    this.reportChanged();
  }

  /** One stream from its opening to its end, which is always an outcome and never thrown. */
  private async converse(signal: AbortSignal): Promise<Outcome> {
    const {clock, outbox} = this.deps;
    const link = new AbortController();
    const ended = AbortSignal.any([signal, link.signal]);
    const conversation = new Conversation(outbox.acknowledged, clock);
    const impatience = setTimeout(() => link.abort(new Error('the coordinator did not answer')), WELCOME_LIMIT_MS);
    try {
      for await (const response of this.deps.client.session(this.requests(conversation, ended), {signal: ended})) {
        clearTimeout(impatience);
        this.receive(response, conversation);
      }
      return conversation.outcome();
    } catch (error) {
      return conversation.outcome(link.signal.aborted ? link.signal.reason : error);
    } finally {
      clearTimeout(impatience);
      link.abort();
    }
  }

  private async *requests(conversation: Conversation, ended: AbortSignal): AsyncGenerator<SessionRequest> {
    const {outbox, clock, heartbeatMs, identity} = this.deps;
    const report = this.reportAfter(outbox.acknowledged);
    yield {message: {$case: 'hello', value: helloToProto({identity, outboxId: outbox.id, report})}};
    await conversation.welcomed(ended);
    let sentSequence = conversation.firstAcknowledged;
    let reportedAt = clock.monotonic();
    while (!ended.aborted) {
      const events = await outbox.read(sentSequence);
      if (events.length > 0) {
        sentSequence = events[events.length - 1]!.sequence;
        yield {message: {$case: 'events', value: {events: events.map(outboxEventToProto)}}};
      }
      const untilHeartbeatMs = reportedAt + heartbeatMs - clock.monotonic();
      if (this.reportIsDue || untilHeartbeatMs <= 0) {
        reportedAt = clock.monotonic();
        yield {message: {$case: 'report', value: reportToProto(this.reportAfter(sentSequence))}};
      } else if (events.length === 0) {
        if (this.finishing && outbox.acknowledged >= outbox.durable) return;
        await this.bell.waitAtMost(clock, untilHeartbeatMs, ended);
      }
    }
  }

  /**
   * What is here, as the coordinator may know it that was sent the events up to `sentSequence`. While there are later ones, no attempt may
   * look settled: one that ended before its last events are told would be final without them. Another report is due then.
   */
  private reportAfter(sentSequence: number): NodeReport {
    const report = this.deps.report();
    this.reportIsDue = this.deps.outbox.durable > sentSequence;
    if (!this.reportIsDue) return report;
    const hasEnded = ({ranks}: ObservedAttempt): boolean => ranks.length > 0 && ranks.every(({state}) => state === 'exited');
    const unsettled = (attempt: ObservedAttempt): ObservedAttempt => ({...attempt, pendingUploads: attempt.pendingUploads + 1});
    return {...report, attempts: report.attempts.map(attempt => (hasEnded(attempt) ? unsettled(attempt) : attempt))};
  }

  private receive({message}: SessionResponse, conversation: Conversation): void {
    const {outbox} = this.deps;
    switch (message?.$case) {
      case 'welcome': {
        this.heedLeader(wholeNumber(message.value.leaderGeneration, 'welcome.leader_generation'));
        outbox.acknowledge(wholeNumber(message.value.acknowledgedSequence, 'welcome.acknowledged_sequence'));
        this.news.connected({version: message.value.coordinatorVersion, leader: this.leaderGeneration});
        conversation.welcome(wholeNumber(message.value.acknowledgedSequence, 'welcome.acknowledged_sequence'));
        return;
      }
      case 'desired': {
        const desired = desiredFromProto(message.value);
        this.heedLeader(desired.leaderGeneration);
        this.deps.onDesired(desired.plans);
        return;
      }
      case 'acknowledged':
        outbox.acknowledge(wholeNumber(message.value.sequence, 'acknowledged.sequence'));
        conversation.achieved = true;
        if (this.finishing) this.bell.ring();
        return;
      case undefined:
        // A message of a newer coordinator: what it is for cannot be known here.
        return;
    }
  }

  private heedLeader(generation: number): void {
    if (generation < this.leaderGeneration)
      throw new Error(
        `a leader of generation ${generation} spoke after one of ${this.leaderGeneration}; if the cluster's etcd was made anew, restart this agent`,
      );
    this.leaderGeneration = generation;
  }
}

/** How a conversation ended. */
interface Outcome {
  readonly wasWelcome: boolean;
  /** Something was acknowledged, or it lasted. A coordinator that welcomes us and then fails, again and again, must not be asked at once. */
  readonly wentWell: boolean;
  /** Undefined: the coordinator hung up. */
  readonly error?: unknown;
}

/** Says that there is a link, or why there is none: whenever that changes, and now and then for as long as it stays so. */
class LinkNews {
  private last = '';
  private saidAt = 0;
  private backIsNews = true;

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  broke({wasWelcome, error}: Outcome, failures: number): void {
    const message = wasWelcome ? 'the link to the coordinator broke; what runs goes on' : 'there is no link to the coordinator';
    const what = `${message}: ${errorChain(error)}`;
    const now = this.clock.monotonic();
    const isNews = failures === 1 || what !== this.last || now - this.saidAt >= REMINDER_MS;
    this.log[isNews ? 'warn' : 'debug'](message, {failures, error});
    if (isNews) this.saidAt = now;
    this.last = what;
    this.backIsNews = isNews || !wasWelcome;
  }

  /** News after each time that there was no link; after a link that broke, as much as its end was. */
  connected(fields: LogFields): void {
    this.log[this.backIsNews ? 'info' : 'debug']('connected to the coordinator', fields);
  }
}

/** What both directions of one stream share. */
class Conversation {
  /** Something was acknowledged. */
  achieved = false;
  /** Monotonic; undefined: the coordinator has not welcomed us yet. */
  private welcomeAt: number | undefined;
  private readonly arrival = new AbortController();

  /** `firstAcknowledged`: what the coordinator has of this outbox; events are sent from the next one on. */
  constructor(
    public firstAcknowledged: number,
    private readonly clock: Clock,
  ) {}

  welcome(acknowledgedSequence: number): void {
    this.welcomeAt = this.clock.monotonic();
    this.firstAcknowledged = acknowledgedSequence;
    this.arrival.abort();
  }

  outcome(error?: unknown): Outcome {
    const lasted = this.welcomeAt !== undefined && this.clock.monotonic() - this.welcomeAt >= WELL_AFTER_MS;
    return {wasWelcome: this.welcomeAt !== undefined, wentWell: this.achieved || lasted, error};
  }

  /** Resolves when the coordinator has welcomed us, or the stream has ended. */
  welcomed(ended: AbortSignal): Promise<void> {
    const either = AbortSignal.any([this.arrival.signal, ended]);
    if (either.aborted) return Promise.resolve();
    return new Promise(resolve => either.addEventListener('abort', () => resolve(), {once: true}));
  }
}
