import {z} from 'zod';
import type {AttemptPlan} from './attemptPlan.js';
import type {EndReason} from './endReason.js';

/** What an agent sees on its node. Reports carry the whole of it; nothing is inferred from a message that did not come. */

export type DeviceKind = 'cuda' | 'cpu';

export interface Device {
  /** A GPU's UUID, or `cpu-0`. */
  readonly id: string;
  readonly kind: DeviceKind;
  /** CUDA ordinal, or CPU slot number. */
  readonly index: number;
  readonly model: string;
  readonly memoryBytes: number;
  /** CPU threads that a rank on it may use. */
  readonly threads: number;
  /** How this GPU reaches the node's others, by their id: `NV12`, `PIX`, `SYS`, … (nvidia-smi topo -m). */
  readonly links: Readonly<Record<string, string>>;
}

export type RankState =
  | {readonly state: 'starting'; readonly pid: number}
  /** Has taken its first optimizer step. */
  | {readonly state: 'running'; readonly pid: number}
  /** The process and its children are gone. */
  | {readonly state: 'exited'; readonly reason: EndReason};

export type ObservedRank = {readonly rank: number; readonly deviceId: string} & RankState;

export interface ObservedAttempt {
  readonly jobId: string;
  readonly attempt: number;
  readonly generation: number;
  readonly stage:
    | {readonly phase: 'fetching'; readonly message: string}
    | {readonly phase: 'ready'}
    | {readonly phase: 'failed'; readonly reason: EndReason};
  /** Empty until they were started; once started, a rank stays in the list until the attempt is forgotten. */
  readonly ranks: readonly ObservedRank[];
  /** Checkpoint and artifact files that are still to be uploaded; events that are still to be told count as one more. */
  readonly pendingUploads: number;
}

export interface NodeReport {
  readonly attempts: readonly ObservedAttempt[];
  /** Ports held for the rendezvous of attempts to come, on the node's address. */
  readonly rendezvousPorts: readonly number[];
}

export interface NodeIdentity {
  readonly nodeId: string;
  readonly hostname: string;
  readonly agentVersion: string;
  /** Where other nodes' ranks reach this one's. */
  readonly address: string;
  readonly devices: readonly Device[];
}

/** A node as stored: its identity at its last session. */
export type NodeRecord = NodeIdentity;

const deviceSchema = z.object({
  id: z.string().regex(/^[A-Za-z0-9._:-]{1,128}$/),
  kind: z.enum(['cuda', 'cpu']),
  index: z.number().int().min(0),
  model: z.string().max(256),
  memoryBytes: z.number().int().min(0),
  threads: z.number().int().min(1),
  links: z.record(z.string(), z.string()),
});

export const nodeRecordSchema: z.ZodType<NodeRecord> = z.object({
  nodeId: z.string().min(1),
  hostname: z.string().max(256),
  agentVersion: z.string().max(64),
  address: z.string().min(1).max(256),
  devices: z.array(deviceSchema).max(256),
});

/** Whether an observed attempt is that of the plan. */
export function isOfPlan(observed: ObservedAttempt, plan: AttemptPlan & {readonly generation: number}): boolean {
  return observed.jobId === plan.jobId && observed.attempt === plan.attempt && observed.generation === plan.generation;
}
