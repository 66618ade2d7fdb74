import {Bell} from '../shared/bell.js';
import type {Clock} from '../shared/clock.js';
import type {EndReason} from '../shared/endReason.js';
import {isUnavailable} from '../shared/errors.js';
import type {Instant} from '../shared/ids.js';
import {errorChain, type Log, type LogFields} from '../shared/log.js';
import {actingFence} from './acting.js';
import type {Keys} from './adapters/etcdKeys.js';
import {Backoff} from './backoff.js';
import type {ClusterState} from './clusterState.js';
import {apply, type RecordChanges} from './core/apply.js';
import {decide} from './core/decide.js';
import type {Decision, Policy, Snapshot} from './core/snapshot.js';
import type {FencedStore} from './fencedStore.js';
import type {Comparison, Leadership, Operation} from './ports.js';
import type {Sessions} from './sessions.js';
import {takeOpenSnapshot} from './takeSnapshot.js';

export interface LoopParts {
  readonly state: ClusterState;
  readonly sessions: Sessions;
  readonly fenced: FencedStore;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly log: Log;
  readonly policy: Policy;
}

/** How long to wait before deciding anew when a decision was refused, so that a fault of ours cannot spin. */
const AFTER_REFUSAL_MS = 20;

/**
 * The leader's loop: read, decide, commit. It runs whenever something changed (changes that come together are one) and when a decision
 * asked to be looked at again. While this process does not lead, or the store is away, it waits.
 */
export class Loop {
  private readonly bell = new Bell();
  /** As `Snapshot` has it. */
  readonly refused = new Map<string, number>();
  private readonly bugsTold = new Set<string>();
  /** The store did not answer: something may have been committed that is not shown here yet. */
  private isUnsure = false;

  constructor(private readonly parts: LoopParts) {}

  async run(signal: AbortSignal): Promise<void> {
    const {state, sessions, leadership, clock, log} = this.parts;
    const unsubscribe = [state, sessions, leadership].map(source => source.onChange(this.bell.ring));
    const backoff = new Backoff(clock);
    while (!signal.aborted) {
      try {
        const lookAgainAt = actingFence(leadership, state) === undefined ? undefined : await this.turn();
        backoff.reset();
        await this.wait(lookAgainAt, signal);
      } catch (error) {
        this.isUnsure = true;
        if (!isUnavailable(error)) log.error('deciding failed', {error});
        else if (backoff.isFirst) log.warn('decisions could not be committed; trying on', {error: errorChain(error)});
        await backoff.wait(signal);
      }
    }
    for (const stop of unsubscribe) stop();
  }

  /** Decides once and commits what was decided. Returns when to look again, if something waits for a time. */
  private async turn(): Promise<Instant | undefined> {
    const {state, sessions, fenced, clock, policy} = this.parts;
    // Decided upon an older state, the same device could be given to a second job.
    if (this.isUnsure) await fenced.catchUp();
    this.isUnsure = false;
    const snapshot = takeOpenSnapshot(state, sessions.nodeViews(), this.refused);
    const now = clock.now();
    const {decisions, bugs, lookAgainAt} = decide(snapshot, now, policy);
    for (const {jobId, error} of bugs) this.tellBug('a job cannot be decided about', jobId, error);
    // All of them before the first is committed: the snapshot changes with every commit, and a record that changed meanwhile would then be
    // taken for the one that was decided upon.
    const due = decisions.flatMap(decision => this.dueOf(decision, snapshot, now) ?? []);
    let isStale = false;
    for (const each of due) {
      // Who gets which device was decided for all of them together: when one is refused, the others may want what it has got.
      if (isStale && each.decision.kind === 'place') continue;
      if (!(await this.carryOut(each))) isStale = true;
    }
    if (!isStale) return lookAgainAt;
    const soon = (clock.now() + AFTER_REFUSAL_MS) as Instant;
    return lookAgainAt !== undefined && lookAgainAt < soon ? lookAgainAt : soon;
  }

  /** Undefined when the decision cannot be carried out: a bug, which must not hold up the other jobs. */
  private dueOf(decision: Decision, snapshot: Snapshot, now: Instant): Due | undefined {
    try {
      return {decision, changes: apply(decision, snapshot, now)};
    } catch (error) {
      this.tellBug(`${decision.kind} does not fit`, decision.jobId, error);
      return undefined;
    }
  }

  /** False when it is to be decided anew: the job's record is another by now, or the store will never take what was decided. */
  private async carryOut({decision, changes}: Due): Promise<boolean> {
    const transaction = transactionFor(changes, this.parts.state.keys);
    try {
      if (!(await this.parts.fenced.commit({what: `${decision.kind} of ${decision.jobId}`, ...transaction}))) return false;
      this.tell(decision);
      return true;
    } catch (error) {
      if (isUnavailable(error)) throw error;
      this.tellBug(`${decision.kind} cannot be stored`, decision.jobId, error);
      if (decision.kind !== 'place') return true;
      this.refused.set(decision.jobId, changes.jobModRevision);
      return false;
    }
  }

  /** Once each: it is met again at every turn. */
  private tellBug(message: string, job: string, error: unknown): void {
    const bug = `${job}: ${errorChain(error)}`;
    if (!this.bugsTold.has(bug)) this.parts.log.error(message, {job, error});
    this.bugsTold.add(bug);
  }

  private tell(decision: Decision): void {
    const {log} = this.parts;
    const job = decision.jobId;
    switch (decision.kind) {
      case 'place':
        log.info('attempt placed', {job, attempt: decision.plan.attempt, reason: decision.reason});
        break;
      case 'markRunning':
        log.info('all ranks are training', {job, attempt: decision.attempt});
        break;
      case 'endAttempt':
        log.warn('attempt ended', {job, attempt: decision.attempt, ...toldReason(decision.endReason)});
        break;
      case 'endJob':
        log.info('job ended', {job, outcome: decision.outcome, ...toldReason(decision.endReason)});
        break;
    }
  }

  private wait(lookAgainAt: Instant | undefined, signal: AbortSignal): Promise<void> {
    const {clock} = this.parts;
    if (lookAgainAt === undefined) return this.bell.wait(signal);
    return this.bell.waitAtMost(clock, lookAgainAt - clock.now(), signal);
  }
}

/** A decision, and what it changes. */
interface Due {
  readonly decision: Decision;
  readonly changes: RecordChanges;
}

interface Transaction {
  readonly comparisons: readonly Comparison[];
  readonly operations: readonly Operation[];
}

/** Refused when the job's record is not as it was when decided upon, so that nothing is decided on what is over. */
function transactionFor({job, jobModRevision, plan}: RecordChanges, keys: Keys): Transaction {
  const comparisons: Comparison[] = [{key: keys.job(job.id), target: 'mod', revision: jobModRevision}];
  const operations: Operation[] = [{kind: 'put', key: keys.job(job.id), value: JSON.stringify(job)}];
  if (plan === undefined) return {comparisons, operations};
  const key = keys.plan(plan.jobId, plan.attempt);
  return {
    comparisons: [...comparisons, {key, target: 'create', revision: 0}],
    operations: [...operations, {kind: 'put', key, value: JSON.stringify(plan)}],
  };
}

function toldReason({code, message}: EndReason): LogFields {
  return {code, reason: message};
}
