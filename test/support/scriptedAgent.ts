import {expect} from 'vitest';
import type {Sessions} from '../../coordinator/sessions.js';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {OutboxEvent} from '../../shared/event.js';
import type {NodeReport, ObservedAttempt, RankState} from '../../shared/observation.js';
import type {AgentMessage, CoordinatorMessage} from '../../shared/wire/agent.js';

export const IDLE: NodeReport = {attempts: [], rendezvousPorts: [29_400, 29_401]};

/** An agent's end of a session, driven by the test line by line. */
export class ScriptedAgent {
  readonly heard: CoordinatorMessage[] = [];
  /** What ended the session, if not the test. */
  failure: unknown;
  readonly ended: Promise<void>;
  private readonly abort = new AbortController();
  private readonly outgoing: AgentMessage[] = [];
  private more: () => void = () => undefined;
  private closed = false;

  constructor(
    sessions: Pick<Sessions, 'serve'>,
    readonly nodeId: string,
    {report = IDLE, outboxId = 'box', devices = 1}: {report?: NodeReport; outboxId?: string; devices?: number} = {},
  ) {
    const identity = {
      nodeId,
      hostname: 'this-machine',
      agentVersion: 'test',
      address: '127.0.0.1',
      devices: Array.from({length: devices}, (_, index) => ({
        id: `cpu-${index}`,
        kind: 'cpu' as const,
        index,
        model: 'cpu',
        memoryBytes: 1,
        threads: 1,
        links: {},
      })),
    };
    this.say({kind: 'hello', hello: {identity, outboxId, report}});
    this.ended = this.listen(sessions).catch(error => {
      this.failure = error;
    });
  }

  say(message: AgentMessage): void {
    this.outgoing.push(message);
    this.more();
  }

  report(report: NodeReport): void {
    this.say({kind: 'report', report});
  }

  sendEvents(events: readonly OutboxEvent[]): void {
    this.say({kind: 'events', events});
  }

  /** The newest desired state that it was told; undefined: none yet. */
  get desired(): readonly GenerationPlan[] | undefined {
    return this.heard.findLast(message => message.kind === 'desired')?.plans;
  }

  get acknowledged(): number {
    return this.heard.findLast(message => message.kind === 'acknowledged')?.sequence ?? 0;
  }

  async plan(): Promise<GenerationPlan> {
    await expect.poll(() => this.desired?.length, {timeout: 10_000}).toBe(1);
    return this.desired![0]!;
  }

  hangUp(): Promise<void> {
    this.closed = true;
    this.more();
    return this.ended;
  }

  /** As when the connection breaks. */
  breakOff(): Promise<void> {
    this.abort.abort();
    this.more();
    return this.ended;
  }

  private async listen(sessions: Pick<Sessions, 'serve'>): Promise<void> {
    for await (const message of sessions.serve(this.messages(), this.abort.signal)) this.heard.push(message);
  }

  private async *messages(): AsyncGenerator<AgentMessage> {
    while (!this.closed) {
      for (let next = this.outgoing.shift(); next !== undefined; next = this.outgoing.shift()) yield next;
      this.abort.signal.throwIfAborted();
      await new Promise<void>(resolve => {
        this.more = resolve;
        if (this.outgoing.length > 0 || this.closed || this.abort.signal.aborted) resolve();
      });
    }
  }
}

/** The node's view of a plan whose ranks of this node are all in `state`. */
export function observed(plan: GenerationPlan, nodeId: string, state: RankState): ObservedAttempt {
  const ranks = plan.ranks.filter(placement => placement.nodeId === nodeId).map(({rank, deviceId}) => ({rank, deviceId, ...state}));
  return {jobId: plan.jobId, attempt: plan.attempt, generation: plan.generation, stage: {phase: 'ready'}, ranks, pendingUploads: 0};
}
