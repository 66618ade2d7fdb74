import type {ClusterState} from './clusterState.js';
import type {NodeView, Snapshot} from './core/snapshot.js';

/** Everything that decisions are made from, as it is known now. It stays as it is while the caller does not await. */
export function takeSnapshot(state: ClusterState, nodes: ReadonlyMap<string, NodeView>, refused?: ReadonlyMap<string, number>): Snapshot {
  const {jobs, newestPlans: plans, datasets, checkpoints} = state;
  return {jobs, plans, nodes, datasets, checkpoints, refused};
}
