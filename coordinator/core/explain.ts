import {assertNever} from '../../shared/assertNever.js';
import {type GenerationPlan, planNodes} from '../../shared/attemptPlan.js';
import type {CheckpointRecord} from '../../shared/checkpoint.js';
import {type Instant, instant} from '../../shared/ids.js';
import type {AttemptRecord, JobRecord} from '../../shared/job.js';
import {progressByNode, remains} from './attempt.js';
import {countDevices} from './placement.js';
import {presence} from './presence.js';
import {considerQueue, isToBeRestarted, type Reason} from './queue.js';
import type {Policy, Snapshot} from './snapshot.js';

/** What a job is doing, what it waits for, and what was decided about it and why. */
export interface Explanation {
  /** Everything that keeps it from its next step; empty when nothing does. */
  readonly waitingFor: readonly Reason[];
  /** While it waits for devices: 1 is next. */
  readonly queuePosition: number | undefined;
  /** One sentence. */
  readonly summary: string;
  /** Oldest first. */
  readonly history: readonly HistoryLine[];
}

export interface HistoryLine {
  readonly at: Instant;
  readonly text: string;
}

/** Explains one job. Its queue comes from the very computation that places jobs. */
export function explain(jobId: string, snapshot: Snapshot, now: Instant, policy: Policy): Explanation {
  const job = snapshot.jobs.get(jobId)?.value;
  if (job === undefined) throw new Error(`no job ${jobId} to explain`);
  const standing = standingOf(job, snapshot, now, policy);
  return {...standing, summary: summary(job, standing, snapshot), history: history(job, snapshot.checkpoints.get(jobId) ?? [])};
}

type JobStanding = Pick<Explanation, 'waitingFor' | 'queuePosition'>;

/** As `explain` has it, of every job that has not ended; for lists, at the price of one. */
export function standings(snapshot: Snapshot, now: Instant, policy: Policy): Map<string, JobStanding> {
  const all = new Map<string, JobStanding>();
  for (const {value: job} of snapshot.jobs.values())
    if (job.status.phase !== 'ended') all.set(job.id, {waitingFor: unqueuedReasons(job, snapshot, now, policy), queuePosition: undefined});
  for (const {job, position, standing} of considerQueue(snapshot, now, policy))
    all.set(job.id, {waitingFor: standing.kind === 'waits' ? standing.reasons : [], queuePosition: position});
  return all;
}

function standingOf(job: JobRecord, snapshot: Snapshot, now: Instant, policy: Policy): JobStanding {
  return standings(snapshot, now, policy).get(job.id) ?? {waitingFor: [], queuePosition: undefined};
}

/** What a job waits for that is not in the queue: its staging, its last files, nodes that do not speak, or the end of its processes. */
function unqueuedReasons(job: JobRecord, snapshot: Snapshot, now: Instant, policy: Policy): Reason[] {
  const plan = snapshot.plans.get(job.id);
  const attempt = job.attempts.find(candidate => candidate.number === plan?.attempt);
  if (plan === undefined || attempt === undefined) return [];
  const isLeaving = job.cancelRequestedAt !== null || (job.status.phase === 'recovering' && !isToBeRestarted(job));
  if (!isLeaving) return [...underwayReasons(plan, snapshot, now, policy), ...silentNodeReasons(planNodes(plan), snapshot, now, policy)];
  return remains(plan, attempt, snapshot, now, policy).flatMap((node): Reason[] => {
    if (node.kind === 'gone') return [];
    if (node.kind === 'alive') return [{code: 'processes_ending', message: `its processes are still ending on ${node.nodeId}`}];
    return [{code: 'node_silent', message: `node ${node.nodeId} is not connected; it counts as lost in ${seconds(node.until - now)}`}];
  });
}

function underwayReasons(plan: GenerationPlan, snapshot: Snapshot, now: Instant, policy: Policy): Reason[] {
  return progressByNode(plan, snapshot, now, policy).flatMap(({nodeId, observed}): Reason[] => {
    const {stage, ranks, pendingUploads} = observed;
    if (stage.phase === 'fetching') return [{code: 'staging', message: `${nodeId} fetches: ${stage.message}`}];
    const isDone = ranks.length > 0 && ranks.every(rank => rank.state === 'exited');
    if (!isDone || pendingUploads === 0) return [];
    return [{code: 'uploading', message: `${nodeId} has ${pendingUploads} ${pendingUploads === 1 ? 'file' : 'files'} still to upload`}];
  });
}

function silentNodeReasons(nodeIds: readonly string[], snapshot: Snapshot, now: Instant, policy: Policy): Reason[] {
  return nodeIds.flatMap((nodeId): Reason[] => {
    const node = presence(snapshot.nodes.get(nodeId), now, policy);
    if (node.kind !== 'silent') return [];
    return [
      {
        code: 'node_silent',
        message: `node ${nodeId} is not connected; training goes on, and it counts as lost in ${seconds(node.lostAt - now)}`,
      },
    ];
  });
}

function seconds(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}

function summary(job: JobRecord, {waitingFor, queuePosition}: JobStanding, snapshot: Snapshot): string {
  const why = waitingFor.map(reason => reason.message).join('; ');
  if (job.status.phase === 'ended') return endSummary(job.status);
  if (job.cancelRequestedAt !== null) return why === '' ? 'Being cancelled.' : `Being cancelled: ${why}.`;
  const place = queuePosition === undefined ? '' : `, number ${queuePosition} in the queue`;
  switch (job.status.phase) {
    case 'queued':
      return why === '' ? `Queued${place}: it starts now.` : `Queued${place}: ${why}.`;
    case 'staging':
      return `Attempt ${job.status.attempt} is being prepared on ${where(job, snapshot)}${why && `; ${why}`}.`;
    case 'running':
      return `Attempt ${job.status.attempt} is training on ${where(job, snapshot)}${why && `; ${why}`}.`;
    case 'recovering':
      return `Attempt ${job.status.after} ended (${job.attempts.at(-1)?.endReason?.message ?? ''})${recovery(job, place, why)}.`;
    default:
      return assertNever(job.status);
  }
}

function recovery(job: JobRecord, place: string, why: string): string {
  if (!isToBeRestarted(job)) return `; the job fails for good${why && `: ${why}`}`;
  return `; to be resumed${place}${why === '' ? ' now' : `: ${why}`}`;
}

function endSummary(status: JobRecord['status'] & {phase: 'ended'}): string {
  const outcome = {succeeded: 'Succeeded', failed: 'Failed', cancelled: 'Cancelled'}[status.outcome];
  return `${outcome}: ${status.reason.message}.`;
}

function where(job: JobRecord, {plans, nodes}: Snapshot): string {
  const ranks = plans.get(job.id)?.ranks ?? [];
  const devices = ranks.flatMap(({nodeId, deviceId}) => nodes.get(nodeId)?.record.devices.find(({id}) => id === deviceId) ?? []);
  return `${countDevices(ranks.length, devices[0]?.kind ?? 'cuda')} of ${planNodes({ranks}).join(', ')}`;
}

/** What happened, from the record alone. `checkpoints` lend their epochs, as far as they are still kept. */
export function history(job: JobRecord, checkpoints: readonly CheckpointRecord[]): HistoryLine[] {
  const lines: HistoryLine[] = [
    {at: instant(job.createdAt), text: `submitted with priority ${job.spec.priority}`},
    ...job.attempts.flatMap(attempt => attemptHistory(attempt, checkpoints)),
  ];
  if (job.cancelRequestedAt !== null) lines.push({at: instant(job.cancelRequestedAt), text: 'cancel requested'});
  if (job.status.phase === 'ended') lines.push({at: instant(job.status.at), text: `${job.status.outcome}: ${job.status.reason.message}`});
  return lines
    .map((line, i) => ({line, i}))
    .sort((a, b) => a.line.at - b.line.at || a.i - b.i)
    .map(({line}) => line);
}

function attemptHistory(attempt: AttemptRecord, checkpoints: readonly CheckpointRecord[]): HistoryLine[] {
  const name = `attempt ${attempt.number}`;
  const lines = [{at: instant(attempt.createdAt), text: `${name} placed: ${attempt.placementReason}; ${startOf(attempt, checkpoints)}`}];
  if (attempt.runningAt !== null) lines.push({at: instant(attempt.runningAt), text: `${name}: every rank has taken its first step`});
  if (attempt.endedAt !== null && attempt.endReason !== null)
    lines.push({at: instant(attempt.endedAt), text: `${name} ended, ${attempt.endReason.code}: ${attempt.endReason.message}`});
  return lines;
}

function startOf(attempt: AttemptRecord, checkpoints: readonly CheckpointRecord[]): string {
  if (attempt.startStep === 0) return 'from the start';
  const checkpoint = checkpoints.find(candidate => candidate.step === attempt.startStep && candidate.attempt < attempt.number);
  const position = checkpoint === undefined ? '' : `, epoch ${checkpoint.cursor.epoch} sample ${checkpoint.cursor.offset}`;
  return `from the checkpoint at step ${attempt.startStep}${position}`;
}
