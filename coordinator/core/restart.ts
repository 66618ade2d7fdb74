import type {CheckpointRecord} from '../../shared/checkpoint.js';
import type {EndCode, EndReason, Fault} from '../../shared/endReason.js';
import {type Instant, instant} from '../../shared/ids.js';
import type {AttemptRecord, JobRecord} from '../../shared/job.js';

/** Whether, when, and from where a job is tried again. All of it follows from the job's record, so that every leader judges alike. */

/**
 * Whether another attempt is due after one that ended with `reason`; `endedBefore` are the attempts that had ended until then.
 * `policy.restarts` counts by fault; a fault of the data is never tried again. A rank that was stopped from outside counts as the
 * infrastructure's; but that an agent is stopped on purpose, for an upgrade of its host say, is charged to nobody.
 */
export function mayRestart(job: JobRecord, endedBefore: readonly AttemptRecord[], reason: EndReason): boolean {
  const {infra, user} = job.spec.policy.restarts;
  const chargedTo = restartsChargedTo(reason);
  if (chargedTo === 'nobody') return true;
  if (chargedTo === 'data') return false;
  const used = endedBefore.filter(attempt => attempt.endReason !== null && restartsChargedTo(attempt.endReason) === chargedTo).length;
  return used < (chargedTo === 'user' ? user : infra);
}

function restartsChargedTo({code, fault}: EndReason): Exclude<Fault, 'none'> | 'nobody' {
  if (code === 'agent_stopped') return 'nobody';
  return fault === 'none' ? 'infra' : fault;
}

/** The attempts that are over, oldest first. */
export function endedAttempts(job: JobRecord): AttemptRecord[] {
  return job.attempts.filter(attempt => attempt.endedAt !== null);
}

/** The nodes by whose fault attempts ended, each with those attempts' numbers. */
export function failuresByNode(job: JobRecord): ReadonlyMap<string, readonly number[]> {
  const failures = new Map<string, number[]>();
  for (const {number, failedNode} of endedAttempts(job))
    if (failedNode !== undefined) failures.set(failedNode, [...(failures.get(failedNode) ?? []), number]);
  return failures;
}

const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 60_000;

/** Ends that say nothing of the next attempt: it starts from another checkpoint, or its agent is another one. */
const WITHOUT_PAUSE: ReadonlySet<EndCode> = new Set<EndCode>(['bad_checkpoint', 'agent_stopped']);

/** How many attempts in a row, up to now, ended before their ranks had taken a step. */
export function fruitlessInARow(job: JobRecord): number {
  const isFruitless = ({runningAt, endReason}: AttemptRecord): boolean =>
    runningAt === null && (endReason === null || !WITHOUT_PAUSE.has(endReason.code));
  return endedAttempts(job).reduce((count, attempt) => (isFruitless(attempt) ? count + 1 : 0), 0);
}

/**
 * When a recovering job may be tried again. At once after an attempt that trained; after those that did not, the pauses double from 1 s
 * to 60 s, so that a passing trouble (a full disk, a store away) does not eat the whole restart budget. An end that is yet to come was
 * noted by a clock that ran ahead of this one: how long ago it was cannot be told, and nothing waits for it.
 */
export function restartDueAt(job: JobRecord, now: Instant): Instant {
  const last = endedAttempts(job).at(-1);
  const fruitless = fruitlessInARow(job);
  if (last?.endedAt == null || last.endedAt > now || fruitless === 0) return instant(0);
  return instant(last.endedAt + Math.min(FIRST_DELAY_MS * 2 ** (fruitless - 1), LONGEST_DELAY_MS));
}

/**
 * The newest committed checkpoint that has not proved bad; undefined: start from the beginning. A checkpoint proved bad when an attempt
 * that started from it ended with `bad_checkpoint`; one that a later attempt committed at the same step is another one.
 */
export function checkpointToStartFrom(job: JobRecord, checkpoints: readonly CheckpointRecord[]): CheckpointRecord | undefined {
  const sound = checkpoints.filter(checkpoint => !provedBad(job, checkpoint));
  return sound.reduce<CheckpointRecord | undefined>((best, next) => (best === undefined || next.step > best.step ? next : best), undefined);
}

export function provedBad(job: JobRecord, checkpoint: CheckpointRecord): boolean {
  return job.attempts.some(
    attempt => attempt.endReason?.code === 'bad_checkpoint' && attempt.startStep === checkpoint.step && attempt.number > checkpoint.attempt,
  );
}
