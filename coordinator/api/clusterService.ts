import {notFound} from '../../shared/errors.js';
import type * as pb from '../../shared/gen/tenfold/v1/cluster.js';
import {type Instant, idFromResourceName} from '../../shared/ids.js';
import {nodeToProto} from '../../shared/wire/cluster.js';
import {presence} from '../core/presence.js';
import type {NodeView, Snapshot} from '../core/snapshot.js';
import {pageOf} from './opaqueToken.js';
import type {ApiParts} from './parts.js';

/** ClusterService: the nodes as the leader knows them. */
export class ClusterService implements pb.ClusterServiceImplementation {
  constructor(private readonly parts: ApiParts) {}

  async listNodes(request: pb.ListNodesRequest): Promise<pb.ListNodesResponse> {
    const snapshot = this.parts.snapshot();
    const nodes = [...snapshot.nodes.values()].sort((a, b) => (a.record.nodeId < b.record.nodeId ? -1 : 1));
    const {page, nextPageToken} = pageOf(nodes, request, {
      purpose: 'ListNodes',
      subject: '',
      keyOf: ({record}) => record.nodeId,
      bytesOf: ({record}) => JSON.stringify(record).length,
      isAfter: ({record}, key) => record.nodeId > key,
    });
    const show = this.viewer(snapshot);
    return {nodes: page.map(show), nextPageToken};
  }

  async getNode(request: pb.GetNodeRequest): Promise<pb.Node> {
    const snapshot = this.parts.snapshot();
    const id = idFromResourceName('nodes', request.name);
    const node = id === undefined ? undefined : snapshot.nodes.get(id);
    if (node === undefined) throw notFound('node', id === undefined ? JSON.stringify(request.name.slice(0, 80)) : `nodes/${id}`);
    return this.viewer(snapshot)(node);
  }

  private viewer(snapshot: Snapshot): (node: NodeView) => pb.Node {
    const now = this.parts.clock.now();
    const holders = deviceHolders(snapshot);
    return node => {
      const {nodeId} = node.record;
      return nodeToProto(node.record, {
        state: this.stateOf(node, now),
        lastSeenAt: node.lastSeenAt,
        jobOn: deviceId => holders.get(`${nodeId}/${deviceId}`),
      });
    };
  }

  private stateOf(node: NodeView, now: Instant): 'ready' | 'silent' | 'lost' {
    const {kind} = presence(node, now, this.parts.policy);
    return kind === 'here' ? 'ready' : kind;
  }
}

/** Which job holds which device, by `node/device`: those of the newest plans, until every node has reported the plan's ranks gone. */
function deviceHolders({plans, jobs, nodes}: Snapshot): ReadonlyMap<string, string> {
  const holders = new Map<string, string>();
  for (const plan of plans.values()) {
    const phase = jobs.get(plan.jobId)?.value.status.phase;
    const isActive = phase === 'staging' || phase === 'running';
    for (const {nodeId, deviceId, rank} of plan.ranks) {
      const observed = nodes.get(nodeId)?.report?.attempts.find(({generation}) => generation === plan.generation);
      const isAlive = observed?.ranks.some(candidate => candidate.rank === rank && candidate.state !== 'exited') ?? false;
      if (isActive || isAlive) holders.set(`${nodeId}/${deviceId}`, plan.jobId);
    }
  }
  return holders;
}
