import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {attemptKey, type EndingCause, endedWell, isAlive, type LocalAttempt, type LocalRank, placementsOn} from './localAttempt.js';

/** The next thing to do to bring this node nearer to what is wanted. Each changes what is observed, so that it is not asked for twice. */
export type Action =
  /** Make room for a plan that is new here, and fetch its inputs. */
  | {readonly kind: 'stage'; readonly plan: GenerationPlan}
  /** Start this node's ranks. */
  | {readonly kind: 'launch'; readonly key: string}
  | {
      readonly kind: 'signal';
      readonly key: string;
      readonly rank: number;
      readonly signal: 'SIGTERM' | 'SIGKILL';
      readonly cause: EndingCause;
    }
  /** Stop fetching, drop uploads, clear the folder away. */
  | {readonly kind: 'forget'; readonly key: string}
  /** A plan that was overtaken by a newer one of its job, or that already had its run here: not carried out (L4, L5). */
  | {readonly kind: 'refuse'; readonly plan: GenerationPlan; readonly why: string};

export interface Wanted {
  /** Undefined until a coordinator has said it: nothing is started or ended on a guess. */
  readonly plans: readonly GenerationPlan[] | undefined;
  /** The agent is stopping: ranks end, nothing starts, and what became of them is still told. */
  readonly stopping: boolean;
}

/** What is here. */
export interface Local {
  readonly attempts: ReadonlyMap<string, LocalAttempt>;
  /** Attempts that had their run here and were cleared away. */
  readonly retired: ReadonlySet<string>;
}

export interface ReconcilePolicy {
  readonly nodeId: string;
  /** How long a rank has to end by itself after SIGTERM, ms. */
  readonly termGraceMs: number;
}

export interface Reconciliation {
  readonly actions: readonly Action[];
  /** When to look again even if nothing happens (monotonic, ms). */
  readonly wakeAt: number | undefined;
}

/** What to do next, judged only from what is wanted, what is here, and the time `now` (monotonic, ms). */
export function reconcile(wanted: Wanted, local: Local, now: number, policy: ReconcilePolicy): Reconciliation {
  const {attempts} = local;
  const wantedKeys = wantedHere(wanted, policy.nodeId);
  const unwanted = [...attempts.values()].filter(attempt => !wantedKeys.has(attemptKey(attempt.plan)));
  const settled = wanted.stopping || wanted.plans !== undefined ? unwanted : [];
  const cause: EndingCause = wanted.stopping ? 'agentStopping' : 'unwanted';
  return {
    actions: [
      ...settled.flatMap(attempt => endRanks(attempt, cause, now, policy.termGraceMs)),
      ...(wanted.stopping ? [] : settled.filter(isOver).map(attempt => ({kind: 'forget', key: attemptKey(attempt.plan)}) as const)),
      ...[...wantedKeys.values()].flatMap(plan => advance(plan, local, policy.nodeId)),
    ],
    wakeAt: nextDeadline(settled, now, policy.termGraceMs),
  };
}

/** The plans that shall run and have ranks on this node, by key; the oldest first. */
function wantedHere(wanted: Wanted, nodeId: string): Map<string, GenerationPlan> {
  const plans = wanted.stopping ? [] : (wanted.plans ?? []);
  const here = plans.filter(plan => placementsOn(plan, nodeId).length > 0).sort((a, b) => a.generation - b.generation);
  return new Map(here.map(plan => [attemptKey(plan), plan]));
}

/** SIGTERM at first, SIGKILL when the grace is over. */
function endRanks(attempt: LocalAttempt, cause: EndingCause, now: number, graceMs: number): Action[] {
  return attempt.ranks.flatMap(rank => {
    const signal = dueSignal(rank, now, graceMs);
    return signal === undefined ? [] : [{kind: 'signal' as const, key: attemptKey(attempt.plan), rank: rank.rank, signal, cause}];
  });
}

function dueSignal(rank: LocalRank, now: number, graceMs: number): 'SIGTERM' | 'SIGKILL' | undefined {
  // A process that is being made has no pid yet; it is ended as soon as it has one.
  if (rank.state === 'exited' || rank.pid === 0) return undefined;
  if (rank.ending === null) return 'SIGTERM';
  return rank.ending.signal === 'SIGTERM' && now - rank.ending.at >= graceMs ? 'SIGKILL' : undefined;
}

/** Whether an attempt that is no longer wanted can be cleared away: nothing runs, and no upload is of use any more. */
function isOver(attempt: LocalAttempt): boolean {
  if (attempt.forgetting || attempt.ranks.some(isAlive)) return false;
  return !endedWell(attempt) || attempt.pendingUploads === 0;
}

/** The next step of a plan that is wanted here. */
function advance(plan: GenerationPlan, {attempts, retired}: Local, nodeId: string): Action[] {
  const attempt = attempts.get(attemptKey(plan));
  if (attempt === undefined) {
    const newer = newestGeneration(plan.jobId, attempts);
    if (newer > plan.generation) return [{kind: 'refuse', plan, why: `generation ${newer} of the job is known`}];
    if (retired.has(attemptKey(plan))) return [{kind: 'refuse', plan, why: 'it had its run here'}];
    return [{kind: 'stage', plan}];
  }
  const isReady = attempt.stage.phase === 'ready' && attempt.ranks.length === 0 && !attempt.forgetting;
  return isReady && devicesAreFree(plan, attempts, nodeId) ? [{kind: 'launch', key: attemptKey(plan)}] : [];
}

function newestGeneration(jobId: string, attempts: ReadonlyMap<string, LocalAttempt>): number {
  return Math.max(0, ...[...attempts.values()].filter(({plan}) => plan.jobId === jobId).map(({plan}) => plan.generation));
}

/** Whether no rank of another attempt is alive on a device of the plan (L5). */
function devicesAreFree(plan: GenerationPlan, attempts: ReadonlyMap<string, LocalAttempt>, nodeId: string): boolean {
  const needed = new Set(placementsOn(plan, nodeId).map(placement => placement.deviceId));
  return ![...attempts.values()].some(
    other => attemptKey(other.plan) !== attemptKey(plan) && other.ranks.some(rank => isAlive(rank) && needed.has(rank.deviceId)),
  );
}

function nextDeadline(unwanted: readonly LocalAttempt[], now: number, graceMs: number): number | undefined {
  const deadlines = unwanted
    .flatMap(attempt => attempt.ranks)
    .flatMap(rank => (rank.state !== 'exited' && rank.ending?.signal === 'SIGTERM' ? [rank.ending.at + graceMs] : []))
    .filter(deadline => deadline > now);
  return deadlines.length === 0 ? undefined : Math.min(...deadlines);
}
