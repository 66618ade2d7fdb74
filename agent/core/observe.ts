import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {type EndReason, endReason, endReasonOfExit} from '../../shared/endReason.js';
import type {NodeReport, ObservedAttempt, ObservedRank} from '../../shared/observation.js';
import type {TrainerEvent} from '../../shared/trainerContract.js';
import {type Ending, type EndingCause, type LocalAttempt, type LocalRank, placementsOn, type StagedFiles} from './localAttempt.js';

/** How a trainer process ended: by itself, or by a signal. */
export type ProcessExit =
  | {readonly kind: 'code'; readonly code: number}
  | {readonly kind: 'signal'; readonly signal: string}
  /** It could not be started. */
  | {readonly kind: 'spawnFailed'; readonly message: string};

/** Something that happened to an attempt on this node. */
export type Fact =
  | {readonly kind: 'stagingProgress'; readonly message: string}
  | {readonly kind: 'staged'; readonly files: StagedFiles}
  | {readonly kind: 'stagingFailed'; readonly reason: EndReason}
  /** Its processes are about to be made. */
  | {readonly kind: 'launching'; readonly nodeId: string}
  | {readonly kind: 'started'; readonly rank: number; readonly pid: number}
  | {readonly kind: 'event'; readonly rank: number; readonly event: TrainerEvent}
  | {readonly kind: 'ending'; readonly rank: number; readonly ending: Ending}
  /** The process and its children are gone and all it said was read. `stderr`: its last lines. */
  | {readonly kind: 'exited'; readonly rank: number; readonly exit: ProcessExit; readonly stderr: string}
  | {readonly kind: 'uploads'; readonly pending: number}
  | {readonly kind: 'forgetting'};

/** An attempt whose plan has just arrived. */
export function newAttempt(plan: GenerationPlan): LocalAttempt {
  return {plan, stage: {phase: 'fetching', message: 'starting'}, ranks: [], pendingUploads: 0, forgetting: false};
}

/** The attempt after a fact. Of a staging that is over, and of a rank that has exited, no fact changes anything: what is final stays (L8). */
export function observe(attempt: LocalAttempt, fact: Fact): LocalAttempt {
  switch (fact.kind) {
    case 'stagingProgress':
      return attempt.stage.phase === 'fetching' ? {...attempt, stage: {phase: 'fetching', message: fact.message}} : attempt;
    case 'staged':
      return attempt.stage.phase === 'fetching' ? {...attempt, stage: {phase: 'ready', files: fact.files}} : attempt;
    case 'stagingFailed':
      return {...attempt, stage: {phase: 'failed', reason: fact.reason}};
    case 'launching':
      return {...attempt, ranks: placementsOn(attempt.plan, fact.nodeId).map(({rank, deviceId}) => startingRank(rank, deviceId))};
    case 'uploads':
      return {...attempt, pendingUploads: fact.pending};
    case 'forgetting':
      return {...attempt, forgetting: true};
    default:
      return {...attempt, ranks: attempt.ranks.map(rank => (rank.rank === fact.rank ? observeRank(rank, fact) : rank))};
  }
}

type RankFact = Extract<Fact, {readonly rank: number}>;

function observeRank(rank: LocalRank, fact: RankFact): LocalRank {
  if (rank.state === 'exited') return rank;
  switch (fact.kind) {
    case 'started':
      return {...rank, pid: fact.pid};
    case 'ending':
      return {...rank, ending: fact.ending};
    case 'event':
      if (fact.event.type === 'step') return {...rank, state: 'running'};
      return fact.event.type === 'end' ? {...rank, lastWords: fact.event.message} : rank;
    case 'exited':
      return {
        rank: rank.rank,
        deviceId: rank.deviceId,
        state: 'exited',
        reason: reasonOf(fact.exit, rank.ending, rank.lastWords || fact.stderr),
      };
  }
}

function startingRank(rank: number, deviceId: string): LocalRank {
  return {rank, deviceId, state: 'starting', pid: 0, ending: null, lastWords: ''};
}

/**
 * Why a rank ended. A rank that the agent told to end was ended by it, whatever code it then left with; only a completed training is one
 * all the same.
 */
function reasonOf(exit: ProcessExit, ending: Ending | null, lastWords: string): EndReason {
  if (exit.kind === 'spawnFailed') return endReason('io_error', `the trainer could not be started: ${exit.message}`);
  if (ending !== null && !(exit.kind === 'code' && exit.code === 0)) return ENDED_BY_AGENT[ending.cause];
  if (exit.kind === 'code') return endReasonOfExit(exit.code, lastWords);
  const hint = exit.signal === 'SIGKILL' ? ' (from outside, or by the kernel when memory ran out)' : '';
  return endReason('killed', `ended by ${exit.signal}${hint}${lastWords === '' ? '' : `: ${lastWords}`}`);
}

const ENDED_BY_AGENT: Readonly<Record<EndingCause, EndReason>> = {
  unwanted: endReason('killed', 'ended by the agent: the attempt was no longer wanted'),
  agentStopping: endReason('agent_stopped', 'ended by the agent: the agent is stopping'),
};

/** The reason of ranks that were alive when their agent died. */
export const AGENT_RESTARTED: EndReason = endReason('killed', 'the agent was restarted, and its ranks had ended with it');

/** What the coordinator is told of this node. */
export function reportOf(attempts: Iterable<LocalAttempt>, rendezvousPorts: readonly number[]): NodeReport {
  const observed = [...attempts].map(observedAttempt).sort((a, b) => a.generation - b.generation);
  return {attempts: observed, rendezvousPorts};
}

function observedAttempt({plan, stage, ranks, pendingUploads}: LocalAttempt): ObservedAttempt {
  return {
    jobId: plan.jobId,
    attempt: plan.attempt,
    generation: plan.generation,
    stage: stage.phase === 'ready' ? {phase: 'ready'} : stage,
    ranks: ranks.map(observedRank),
    pendingUploads,
  };
}

function observedRank(rank: LocalRank): ObservedRank {
  const {rank: number, deviceId} = rank;
  if (rank.state === 'exited') return {rank: number, deviceId, state: 'exited', reason: rank.reason};
  return {rank: number, deviceId, state: rank.state, pid: rank.pid};
}
