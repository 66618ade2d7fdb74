import type {ClusterState} from './clusterState.js';
import type {NodeView, Snapshot} from './core/snapshot.js';

/** Everything that decisions are made from, as it is known now. It stays as it is while the caller does not await. */
export function takeSnapshot(state: ClusterState, nodes: ReadonlyMap<string, NodeView>, refused?: ReadonlyMap<string, number>): Snapshot {
  const {jobs, newestPlans: plans, datasets, checkpoints} = state;
  return {jobs, plans, nodes, datasets, checkpoints, refused};
}

/** As `takeSnapshot`, without the jobs that have ended: what is still to be decided does not depend on them, and they only grow in number. */
export function takeOpenSnapshot(
  state: ClusterState,
  nodes: ReadonlyMap<string, NodeView>,
  refused?: ReadonlyMap<string, number>,
): Snapshot {
  return {...takeSnapshot(state, nodes, refused), jobs: state.openJobs, plans: state.openPlans};
}
