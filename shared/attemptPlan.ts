import {z} from 'zod';
import {checkpointRecordSchema} from './checkpoint.js';
import {checkpointPolicySchema, modelSchema} from './jobSpec.js';
import {trainArgumentsSchema} from './trainArguments.js';

export const rankPlacementSchema = z.object({
  rank: z.number().int().min(0),
  nodeId: z.string(),
  deviceId: z.string(),
  localRank: z.number().int().min(0),
});
export type RankPlacement = z.infer<typeof rankPlacementSchema>;

/**
 * The immutable statement of one attempt, as stored. It leaves no choice to whoever carries it out.
 * Its generation is the revision at which its key was created, so it is not part of the value.
 */
export const attemptPlanSchema = z.object({
  jobId: z.string(),
  attempt: z.number().int().min(1),
  /** In the order of rank; their number is the world size. */
  ranks: z.array(rankPlacementSchema).min(1),
  rendezvous: z.object({host: z.string(), port: z.number().int()}),
  datasetId: z.string(),
  datasetIndexDigest: z.string(),
  model: modelSchema,
  train: trainArgumentsSchema,
  checkpoint: checkpointPolicySchema,
  /** The checkpoint to start from; null: from the start. */
  startFrom: checkpointRecordSchema.nullable(),
});
export type AttemptPlan = z.infer<typeof attemptPlanSchema>;
/** A plan together with the generation that its commit gave it. */
export type GenerationPlan = AttemptPlan & {readonly generation: number};

/** The nodes of a plan, each once, in the order of their lowest rank: a node's place is its GROUP_RANK. */
export function planNodes(plan: Pick<AttemptPlan, 'ranks'>): string[] {
  return [...new Set(plan.ranks.map(placement => placement.nodeId))];
}
