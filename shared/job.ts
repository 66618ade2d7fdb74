import {z} from 'zod';
import {END_CODES, type EndCode} from './endReason.js';
import {jobSpecSchema} from './jobSpec.js';

export const endReasonSchema = z.object({
  code: z.enum(END_CODES as [EndCode, ...EndCode[]]),
  fault: z.enum(['none', 'user', 'data', 'infra']),
  message: z.string(),
});

/**
 * Where a job stands.
 *
 *     queued -> staging -> running -> ended
 *                  \          \
 *                   `----------`-> recovering -> staging -> …
 *
 * `queued` and `recovering` hold no attempt that may run; `recovering` remembers the one before. Every state can go to `ended`, and
 * `ended` never changes (L8).
 */
export const jobStatusSchema = z.discriminatedUnion('phase', [
  z.object({phase: z.literal('queued')}),
  z.object({phase: z.literal('staging'), attempt: z.number().int()}),
  z.object({phase: z.literal('running'), attempt: z.number().int()}),
  z.object({phase: z.literal('recovering'), after: z.number().int()}),
  z.object({phase: z.literal('ended'), outcome: z.enum(['succeeded', 'failed', 'cancelled']), reason: endReasonSchema, at: z.number()}),
]);
export type JobStatus = z.infer<typeof jobStatusSchema>;

/** Its ranks are its plan's: here they would make the record of a job that is often restarted too large for the store. */
export const attemptRecordSchema = z.object({
  number: z.number().int().min(1),
  createdAt: z.number(),
  /** When all its ranks had taken a step. */
  runningAt: z.number().nullable(),
  endedAt: z.number().nullable(),
  endReason: endReasonSchema.nullable(),
  /** The node by whose fault it ended, if it was a node's. */
  failedNode: z.string().optional(),
  /** Optimizer step of the checkpoint it started from; 0: from the start. */
  startStep: z.number().int(),
  /** Why it was placed where it is. */
  placementReason: z.string(),
});
export type AttemptRecord = z.infer<typeof attemptRecordSchema>;

/** A job as stored in etcd: what was asked, and what was decided. Everything else about it is derived. */
export const jobRecordSchema = z.object({
  id: z.string(),
  spec: jobSpecSchema,
  requestId: z.string(),
  datasetId: z.string(),
  createdAt: z.number(),
  cancelRequestedAt: z.number().nullable(),
  status: jobStatusSchema,
  /** Oldest first; the last one is the current one while the phase is staging or running. */
  attempts: z.array(attemptRecordSchema),
});
export type JobRecord = z.infer<typeof jobRecordSchema>;

/** The attempt that may run now, if any. */
export function activeAttempt(job: JobRecord): AttemptRecord | undefined {
  if (job.status.phase !== 'staging' && job.status.phase !== 'running') return undefined;
  const {attempt} = job.status;
  return job.attempts.find(candidate => candidate.number === attempt);
}
