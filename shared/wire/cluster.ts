import * as pb from '../gen/tenfold/v1/cluster.js';
import type {NodeRecord} from '../observation.js';
import {deviceToProto} from './agent.js';

/** Messages of ClusterService. */

/** What is known of a node beside its record. */
export interface NodeOutlook {
  readonly state: 'ready' | 'silent' | 'lost';
  readonly lastSeenAt: number;
  /** The job that holds a device; undefined: free. */
  jobOn(deviceId: string): string | undefined;
}

export function nodeToProto(node: NodeRecord, outlook: NodeOutlook): pb.Node {
  return {
    name: `nodes/${node.nodeId}`,
    state: STATES[outlook.state],
    hostname: node.hostname,
    agentVersion: node.agentVersion,
    address: node.address,
    devices: node.devices.map(device => {
      const job = outlook.jobOn(device.id);
      return deviceToProto(device, job === undefined ? '' : `jobs/${job}`);
    }),
    lastSeenTime: new Date(outlook.lastSeenAt),
  };
}

const STATES = {
  ready: pb.NodeState.NODE_STATE_READY,
  silent: pb.NodeState.NODE_STATE_SILENT,
  lost: pb.NodeState.NODE_STATE_LOST,
} as const;

/** `READY`, `SILENT`, `LOST`. */
export function nodeStateName(state: pb.NodeState): string {
  return pb.nodeStateToJSON(state).replace('NODE_STATE_', '');
}
