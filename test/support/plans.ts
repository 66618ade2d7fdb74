import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {checkpointPolicySchema} from '../../shared/jobSpec.js';
import {trainArgumentsSchema} from '../../shared/trainArguments.js';

/** A plan with one rank on the device `cpu-0` of each node, in their order; `over` replaces what matters to the test. */
export function planFor(nodeIds: readonly string[], over: Partial<GenerationPlan> = {}): GenerationPlan {
  return {
    jobId: 'j1',
    attempt: 1,
    generation: 5,
    ranks: nodeIds.map((nodeId, rank) => ({rank, nodeId, deviceId: 'cpu-0', localRank: 0})),
    rendezvous: {host: '127.0.0.1', port: 61_000},
    datasetId: 'd',
    datasetIndexDigest: '00'.repeat(32),
    model: {arch: 'yolov8n', nc: 'auto'},
    train: trainArgumentsSchema.parse({}),
    checkpoint: checkpointPolicySchema.parse({}),
    startFrom: null,
    ...over,
  };
}
