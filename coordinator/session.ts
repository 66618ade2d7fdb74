import {Bell} from '../shared/bell.js';
import {DomainError, unavailable} from '../shared/errors.js';
import type {OutboxEvent} from '../shared/event.js';
import type {AgentHello, AgentMessage, CoordinatorMessage} from '../shared/wire/agent.js';
import {MalformedMessageError} from '../shared/wire/common.js';
import {actingFence} from './acting.js';
import {Backoff} from './backoff.js';
import {desired} from './core/desired.js';
import type {Sessions} from './sessions.js';
import {takeOpenSnapshot} from './takeSnapshot.js';

/** Longer than any heartbeat that an agent can be given (a minute). A broken link is mostly noticed within seconds, by gRPC's keepalive. */
const SILENT_MS = 65_000;
/**
 * For how long a disk may take nothing before the session ends: reports wait behind events, and what is not heard is not known. Shorter than
 * the 5 s after which an agent takes a conversation for one that went well: it shall come again less and less often.
 */
const DISK_PATIENCE_MS = 3000;

/**
 * One agent's session. What it hears goes to `Sessions` (reports) and to the journal (events, one batch after the other, so that a slow disk
 * slows the agent down); what it says is always the newest: the node's whole desired state, and how far its outbox is acknowledged.
 */
export class AgentSession {
  private readonly bell = new Bell();
  private readonly ended = new AbortController();
  private readonly signal: AbortSignal;
  private readonly unsubscribe: (() => void)[];
  private acknowledged = 0;
  private hungUp = false;
  /** Monotonic. */
  private heardAt: number;
  private failure: unknown;
  /** Origins of refused events that were told, once each. */
  private readonly refused = new Set<string>();

  constructor(
    readonly hello: AgentHello,
    private readonly sessions: Sessions,
    callSignal: AbortSignal,
  ) {
    this.signal = AbortSignal.any([callSignal, this.ended.signal]);
    const {state, leadership, clock} = sessions.parts;
    this.heardAt = clock.monotonic();
    this.unsubscribe = [state, leadership].map(source => source.onChange(this.bell.ring));
  }

  /** Whether there is an agent at its other end, as far as can be known. */
  get isWell(): boolean {
    const silentMs = this.sessions.parts.clock.monotonic() - this.heardAt;
    return !this.hungUp && !this.signal.aborted && silentMs < SILENT_MS;
  }

  /** A newer session of the same node took over. */
  replace(): void {
    this.fail(unavailable('a newer session of this node took over'));
  }

  end(): void {
    for (const stop of this.unsubscribe) stop();
    this.ended.abort();
  }

  /** Hears and speaks until the agent hangs up, the call ends, or something fails. */
  async *talk(incoming: AsyncIterator<AgentMessage>): AsyncGenerator<CoordinatorMessage> {
    // Not awaited: while it waits for the agent's next message, only the end of the call can end it.
    void this.hear(incoming);
    let told: {sequence: number; desired: string} = {sequence: 0, desired: ''};
    while (!this.signal.aborted && !this.hungUp) {
      if (this.failure !== undefined) throw this.failure;
      if (this.sessions.parts.leadership.ledByAnother()) throw unavailable('another coordinator leads now');
      if (this.acknowledged > told.sequence) {
        told = {...told, sequence: this.acknowledged};
        yield {kind: 'acknowledged', sequence: told.sequence};
      }
      const message = this.desiredNow();
      if (message !== undefined && message.fingerprint !== told.desired) {
        told = {...told, desired: message.fingerprint};
        yield message.value;
      }
      await this.bell.wait(this.signal);
    }
    if (this.failure !== undefined) throw this.failure;
  }

  /** Undefined while this process may not tell agents what to do. */
  private desiredNow(): {fingerprint: string; value: CoordinatorMessage} | undefined {
    const {leadership, state} = this.sessions.parts;
    const fence = actingFence(leadership, state);
    if (fence === undefined) return undefined;
    const {nodeId} = this.hello.identity;
    // Of the nodes, only this one matters here: with all of them, a change would cost the square of their number.
    const plans = desired(takeOpenSnapshot(state, this.sessions.viewOf(nodeId)), nodeId);
    // A plan never changes, and its generation is its own.
    const fingerprint = [fence.revision, ...plans.map(plan => plan.generation)].join(' ');
    return {fingerprint, value: {kind: 'desired', leaderGeneration: fence.revision, plans}};
  }

  private async hear(incoming: AsyncIterator<AgentMessage>): Promise<void> {
    try {
      for (let next = await incoming.next(); !next.done; next = await incoming.next()) {
        if (this.signal.aborted || this.failure !== undefined) return;
        await this.take(next.value);
      }
      this.hungUp = true;
      this.bell.ring();
    } catch (error) {
      if (!this.signal.aborted) this.fail(error);
    }
  }

  private async take(message: AgentMessage): Promise<void> {
    this.heardAt = this.sessions.parts.clock.monotonic();
    switch (message.kind) {
      case 'hello':
        throw new MalformedMessageError('message', 'must not be a second hello');
      case 'report':
        this.sessions.noteReport(this.hello.identity, message.report);
        return this.bell.ring();
      case 'events':
        return this.journal(message.events);
    }
  }

  private async journal(events: readonly OutboxEvent[]): Promise<void> {
    const last = events.at(-1);
    if (last === undefined) return;
    if (events.some((event, i) => i > 0 && event.sequence <= events[i - 1]!.sequence))
      throw new MalformedMessageError('events', 'must be in the order of their sequence');
    await this.append(events.filter(event => this.isOfKnownPlan(event)));
    this.acknowledged = last.sequence;
    this.sessions.noteAcknowledged(this.hello, last.sequence);
    this.bell.ring();
  }

  /**
   * While nobody leads (the store is away), events wait here and, behind them, in the agent's outbox. So they do for a moment while the disk
   * takes nothing; for longer, this session would keep back what the node's other jobs report.
   */
  private async append(events: readonly OutboxEvent[]): Promise<void> {
    const {journal, leadership, clock, log} = this.sessions.parts;
    const backoff = new Backoff(clock);
    for (;;) {
      while (leadership.fence() === undefined && this.failure === undefined && !this.signal.aborted) await this.leadershipChange();
      // Once replaced, the newer session sends these: appended now, they could overtake others that it still has to send.
      if (this.failure !== undefined || this.signal.aborted) throw this.failure ?? unavailable('the session has ended');
      try {
        return await journal.append(this.hello.identity.nodeId, this.hello.outboxId, events);
      } catch (error) {
        if (isOfDisk(error)) {
          if (backoff.elapsedMs >= DISK_PATIENCE_MS) throw error;
          const level = backoff.isFirst ? 'warn' : 'debug';
          log[level]('events cannot be written to the journal; trying again', {node: this.hello.identity.nodeId, error});
          await backoff.wait(this.signal);
        } else if (!(error instanceof DomainError) || error.problem.kind !== 'unavailable') throw error;
      }
    }
  }

  private leadershipChange(): Promise<void> {
    return new Promise(resolve => {
      const proceed = () => {
        stop();
        this.signal.removeEventListener('abort', proceed);
        resolve();
      };
      const stop = this.sessions.parts.leadership.onChange(proceed);
      this.signal.addEventListener('abort', proceed, {once: true});
    });
  }

  /** Events of attempts that no plan knows, or of another generation of them, are refused (L4): acknowledged, and not kept. */
  private isOfKnownPlan(event: OutboxEvent): boolean {
    const {state, log} = this.sessions.parts;
    if (state.plan(event.jobId, event.attempt)?.generation === event.generation) return true;
    const origin = `${event.jobId}/${event.attempt} of generation ${event.generation}`;
    if (!this.refused.has(origin)) log.warn('events of an unknown attempt are dropped', {node: this.hello.identity.nodeId, origin});
    this.refused.add(origin);
    return false;
  }

  private fail(error: unknown): void {
    this.failure ??= error;
    this.ended.abort();
    this.bell.ring();
  }
}

/** Whether a file could not be opened or written, which may pass: the disk is full, or too many files are open. */
function isOfDisk(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return typeof (error as NodeJS.ErrnoException).errno === 'number' || isOfDisk(error.cause);
}
