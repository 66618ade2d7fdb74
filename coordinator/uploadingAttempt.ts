import type {GenerationPlan} from '../shared/attemptPlan.js';
import {notFound, precondition} from '../shared/errors.js';
import {activeAttempt, type JobRecord} from '../shared/job.js';
import type {ClusterState} from './clusterState.js';
import type {Versioned} from './core/snapshot.js';

/** An attempt whose uploads are taken: it is the job's current one. */
export interface UploadingAttempt {
  readonly job: Versioned<JobRecord>;
  readonly plan: GenerationPlan;
}

/**
 * The attempt that something is uploaded for. Throws `precondition` when it is not the job's current one any more (L4): repeating the
 * upload cannot help then.
 */
export function uploadingAttempt(
  state: ClusterState,
  {jobId, attempt, generation}: Pick<GenerationPlan, 'jobId' | 'attempt' | 'generation'>,
): UploadingAttempt {
  const job = state.jobs.get(jobId);
  if (job === undefined) throw notFound('job', `jobs/${jobId}`);
  const plan = state.plan(jobId, attempt);
  if (plan?.generation !== generation)
    throw precondition('STALE_GENERATION', `jobs/${jobId}`, `attempt ${attempt} of jobs/${jobId} has no generation ${generation}`);
  const active = activeAttempt(job.value);
  if (active?.number !== attempt) {
    const now = active === undefined ? `is ${job.value.status.phase}` : `is at attempt ${active.number}`;
    throw precondition('STALE_ATTEMPT', `jobs/${jobId}`, `attempt ${attempt} of jobs/${jobId} is over: the job ${now}`);
  }
  return {job, plan};
}
