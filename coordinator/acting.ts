import type {ClusterState} from './clusterState.js';
import type {Fence, Leadership} from './ports.js';

/**
 * The fence, while this process may act upon what it knows: it leads, and its mirror shows everything that leaders before it committed.
 * Acting on an older mirror would, for instance, tell agents to end attempts that it has not heard of yet.
 */
export function actingFence(leadership: Leadership, state: ClusterState): Fence | undefined {
  const fence = leadership.fence();
  return fence !== undefined && state.shows(fence.revision) ? fence : undefined;
}
