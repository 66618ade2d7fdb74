import type {CheckpointRecord} from '../../shared/checkpoint.js';
import type {JobSpec} from '../../shared/jobSpec.js';
import {provedBad} from './restart.js';
import type {Snapshot} from './snapshot.js';

/**
 * Which checkpoints of a job may be deleted. Kept are the newest `last` and the `best` by mAP50-95, those that proved bad not counting;
 * and whatever is needed: the newest one always, and the one that the newest attempt started from, while the job has not ended.
 */
export function expiredCheckpoints(snapshot: Snapshot, jobId: string): CheckpointRecord[] {
  const job = snapshot.jobs.get(jobId)?.value;
  const newestFirst = [...(snapshot.checkpoints.get(jobId) ?? [])].sort((a, b) => b.step - a.step);
  if (job === undefined) return [];
  const sound = newestFirst.filter(checkpoint => !provedBad(job, checkpoint));
  const startedFrom = job.status.phase === 'ended' ? undefined : snapshot.plans.get(jobId)?.startFrom?.step;
  const kept = new Set([newestFirst[0]?.step, startedFrom, ...keptSteps(sound, job.spec.checkpoint.keep)]);
  return newestFirst.filter(checkpoint => !kept.has(checkpoint.step));
}

/** Of equally good ones the newest. */
function keptSteps(newestFirst: readonly CheckpointRecord[], keep: JobSpec['checkpoint']['keep']): number[] {
  const scored = newestFirst.filter(checkpoint => checkpoint.map50_95 !== undefined);
  const bestFirst = scored.sort((a, b) => b.map50_95! - a.map50_95!);
  return [...newestFirst.slice(0, keep.last), ...bestFirst.slice(0, keep.best)].map(checkpoint => checkpoint.step);
}
