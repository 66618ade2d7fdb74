import type {AttemptPlan} from '../../shared/attemptPlan.js';
import type {JobRecord} from '../../shared/job.js';
import type {Gang} from './placement.js';
import {checkpointToStartFrom} from './restart.js';
import type {Snapshot} from './snapshot.js';

/** The plan of a job's next attempt on `gang`. It states everything; whoever carries it out chooses nothing. */
export function planFor(job: JobRecord, gang: Gang, snapshot: Snapshot): AttemptPlan {
  const dataset = snapshot.datasets.get(job.datasetId)?.value;
  if (dataset?.status.state !== 'ready') throw new Error(`job ${job.id} is to be placed, but data set ${job.datasetId} is not ready`);
  return {
    jobId: job.id,
    attempt: job.attempts.length + 1,
    ranks: [...gang.ranks],
    rendezvous: gang.rendezvous,
    datasetId: job.datasetId,
    datasetIndexDigest: dataset.status.indexDigest,
    model: job.spec.model,
    train: job.spec.train,
    checkpoint: job.spec.checkpoint,
    startFrom: checkpointToStartFrom(job, snapshot.checkpoints.get(job.id) ?? []) ?? null,
  };
}
