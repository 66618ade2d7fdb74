import {type AttemptPlan, attemptPlanSchema, type GenerationPlan} from '../attemptPlan.js';
import {type CheckpointManifest, checkpointManifestSchema, type FileDigest, fileDigestSchema} from '../checkpoint.js';
import type {OutboxEvent} from '../event.js';
import * as pb from '../gen/tenfold/v1/agent.js';
import {DeviceKind, type Device as WireDevice} from '../gen/tenfold/v1/cluster.js';
import {
  type Device,
  type NodeIdentity,
  type NodeReport,
  nodeRecordSchema,
  type ObservedAttempt,
  type ObservedRank,
} from '../observation.js';
import {
  checkpointFromProto,
  checkpointPolicyCandidate,
  checkpointPolicyToProto,
  checkpointToProto,
  endReasonFromProto,
  endReasonToProto,
  fileDigestFromProto,
  fileDigestToProto,
  idIn,
  MalformedMessageError,
  manifestPartsFromProto,
  manifestPartsToProto,
  modelToProto,
  parsed,
  present,
  rankPlacementFromProto,
  rankPlacementToProto,
  wholeNumber,
} from './common.js';

/** Messages of AgentService as the domain's types, both ways. `…FromProto` throws `MalformedMessageError`. */

/** What an agent says first on a session. */
export interface AgentHello {
  readonly identity: NodeIdentity;
  /** Names the spool: sequences of another outbox are other events. */
  readonly outboxId: string;
  readonly report: NodeReport;
}

/** What an upload begins with. */
export interface UploadStart {
  readonly jobId: string;
  readonly attempt: number;
  readonly generation: number;
  /** The file as it shall be when complete. */
  readonly file: FileDigest;
  readonly offset: number;
  readonly target: {readonly kind: 'checkpoint'; readonly manifest: CheckpointManifest} | {readonly kind: 'artifact'};
}

// --- Hello

export function helloToProto(hello: AgentHello): pb.Hello {
  const {nodeId, hostname, agentVersion, address, devices} = hello.identity;
  return {
    nodeId,
    hostname,
    agentVersion,
    address,
    devices: devices.map(device => deviceToProto(device)),
    outboxId: hello.outboxId,
    report: reportToProto(hello.report),
  };
}

export function helloFromProto(hello: pb.Hello): AgentHello {
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(hello.outboxId))
    throw new MalformedMessageError('hello.outbox_id', 'must be 1 to 64 plain characters');
  const identity = {
    nodeId: idIn('nodes', hello.nodeId, 'hello.node_id'),
    hostname: hello.hostname,
    agentVersion: hello.agentVersion,
    address: hello.address,
    devices: hello.devices.map(deviceFromProto),
  };
  return {
    identity: parsed(nodeRecordSchema, identity, 'hello'),
    outboxId: hello.outboxId,
    report: reportFromProto(present(hello.report, 'hello.report')),
  };
}

/** `job`: the resource name of the job that holds the device, when that is known. */
export function deviceToProto(device: Device, job = ''): WireDevice {
  return {
    id: device.id,
    kind: device.kind === 'cuda' ? DeviceKind.DEVICE_KIND_CUDA : DeviceKind.DEVICE_KIND_CPU,
    index: device.index,
    model: device.model,
    memoryBytes: BigInt(device.memoryBytes),
    threads: device.threads,
    links: {...device.links},
    job,
  };
}

function deviceFromProto(device: WireDevice): Device {
  const {id, index, model, threads, links} = device;
  return {
    id,
    kind: deviceKindFromProto(device.kind),
    index,
    model,
    memoryBytes: wholeNumber(device.memoryBytes, 'device.memory_bytes'),
    threads,
    links,
  };
}

function deviceKindFromProto(kind: DeviceKind): Device['kind'] {
  if (kind === DeviceKind.DEVICE_KIND_CUDA) return 'cuda';
  if (kind === DeviceKind.DEVICE_KIND_CPU) return 'cpu';
  throw new MalformedMessageError('device.kind', `is unknown: ${kind}`);
}

// --- Report

export function reportToProto(report: NodeReport): pb.Report {
  return {attempts: report.attempts.map(observedAttemptToProto), rendezvousPorts: [...report.rendezvousPorts]};
}

export function reportFromProto(report: pb.Report): NodeReport {
  const badPort = report.rendezvousPorts.find(port => port < 1 || port > 65_535);
  if (badPort !== undefined) throw new MalformedMessageError('report.rendezvous_ports', `holds ${badPort}`);
  return {attempts: report.attempts.map(observedAttemptFromProto), rendezvousPorts: report.rendezvousPorts};
}

function observedAttemptToProto(observed: ObservedAttempt): pb.ObservedAttempt {
  const {jobId, attempt, stage, ranks, pendingUploads} = observed;
  return {
    jobId,
    attempt,
    generation: BigInt(observed.generation),
    phase: STAGE_PHASES[stage.phase],
    message: stage.phase === 'fetching' ? stage.message : '',
    failure: stage.phase === 'failed' ? endReasonToProto(stage.reason) : undefined,
    ranks: ranks.map(observedRankToProto),
    pendingUploads,
  };
}

const STAGE_PHASES = {
  fetching: pb.StagePhase.STAGE_PHASE_FETCHING,
  ready: pb.StagePhase.STAGE_PHASE_READY,
  failed: pb.StagePhase.STAGE_PHASE_FAILED,
} as const;

function observedAttemptFromProto(observed: pb.ObservedAttempt): ObservedAttempt {
  return {
    jobId: idIn('jobs', observed.jobId, 'report.attempts.job_id'),
    attempt: observed.attempt,
    generation: wholeNumber(observed.generation, 'report.attempts.generation'),
    stage: stageFromProto(observed),
    ranks: observed.ranks.map(observedRankFromProto),
    pendingUploads: observed.pendingUploads,
  };
}

function stageFromProto({phase, message, failure}: pb.ObservedAttempt): ObservedAttempt['stage'] {
  switch (phase) {
    case pb.StagePhase.STAGE_PHASE_FETCHING:
      return {phase: 'fetching', message};
    case pb.StagePhase.STAGE_PHASE_READY:
      return {phase: 'ready'};
    case pb.StagePhase.STAGE_PHASE_FAILED:
      return {phase: 'failed', reason: endReasonFromProto(failure, 'report.attempts.failure')};
    default:
      throw new MalformedMessageError('report.attempts.phase', `is unknown: ${phase}`);
  }
}

function observedRankToProto(observed: ObservedRank): pb.ObservedRank {
  const {rank, deviceId: device} = observed;
  switch (observed.state) {
    case 'starting':
      return {rank, device, pid: observed.pid, state: pb.RankState.RANK_STATE_STARTING, endReason: undefined};
    case 'running':
      return {rank, device, pid: observed.pid, state: pb.RankState.RANK_STATE_RUNNING, endReason: undefined};
    case 'exited':
      return {rank, device, pid: 0, state: pb.RankState.RANK_STATE_EXITED, endReason: endReasonToProto(observed.reason)};
  }
}

function observedRankFromProto({rank, device: deviceId, pid, state, endReason}: pb.ObservedRank): ObservedRank {
  switch (state) {
    case pb.RankState.RANK_STATE_STARTING:
      return {rank, deviceId, state: 'starting', pid};
    case pb.RankState.RANK_STATE_RUNNING:
      return {rank, deviceId, state: 'running', pid};
    case pb.RankState.RANK_STATE_EXITED:
      return {rank, deviceId, state: 'exited', reason: endReasonFromProto(endReason, 'report.attempts.ranks.end_reason')};
    default:
      throw new MalformedMessageError('report.attempts.ranks.state', `is unknown: ${state}`);
  }
}

// --- Events

export function outboxEventToProto(event: OutboxEvent): pb.AgentEvent {
  return {...event, sequence: BigInt(event.sequence), generation: BigInt(event.generation)};
}

export function outboxEventFromProto(event: pb.AgentEvent): OutboxEvent {
  return {
    sequence: wholeNumber(event.sequence, 'events.sequence'),
    jobId: idIn('jobs', event.jobId, 'events.job_id'),
    attempt: event.attempt,
    generation: wholeNumber(event.generation, 'events.generation'),
    rank: event.rank,
    json: event.json,
  };
}

// --- Desired state

export function desiredToProto(leaderGeneration: number, plans: readonly GenerationPlan[]): pb.DesiredState {
  return {leaderGeneration: BigInt(leaderGeneration), attempts: plans.map(planToProto)};
}

export function desiredFromProto(desired: pb.DesiredState): {leaderGeneration: number; plans: GenerationPlan[]} {
  return {
    leaderGeneration: wholeNumber(desired.leaderGeneration, 'desired.leader_generation'),
    plans: desired.attempts.map(planFromProto),
  };
}

export function planToProto(plan: GenerationPlan): pb.AttemptPlan {
  return {
    jobId: plan.jobId,
    attempt: plan.attempt,
    generation: BigInt(plan.generation),
    ranks: plan.ranks.map(rankPlacementToProto),
    rendezvousHost: plan.rendezvous.host,
    rendezvousPort: plan.rendezvous.port,
    datasetId: plan.datasetId,
    datasetIndexDigest: plan.datasetIndexDigest,
    model: modelToProto(plan.model),
    train: plan.train,
    checkpoint: checkpointPolicyToProto(plan.checkpoint),
    startFrom: plan.startFrom === null ? undefined : checkpointToProto(plan.jobId, plan.startFrom),
  };
}

export function planFromProto(plan: pb.AttemptPlan): GenerationPlan {
  const model = present(plan.model, 'plan.model');
  const candidate = {
    jobId: idIn('jobs', plan.jobId, 'plan.job_id'),
    attempt: plan.attempt,
    ranks: plan.ranks.map(placement => rankPlacementFromProto(placement, 'plan.ranks')),
    rendezvous: {host: plan.rendezvousHost, port: plan.rendezvousPort},
    datasetId: idIn('datasets', plan.datasetId, 'plan.dataset_id'),
    datasetIndexDigest: plan.datasetIndexDigest,
    model: {arch: model.arch, nc: model.nc},
    train: plan.train,
    checkpoint: checkpointPolicyCandidate(plan.checkpoint),
    startFrom: plan.startFrom === undefined ? null : checkpointFromProto(plan.startFrom, 'plan.start_from'),
  };
  const complete: AttemptPlan = parsed(attemptPlanSchema, candidate, 'plan');
  return {...complete, generation: wholeNumber(plan.generation, 'plan.generation')};
}

// --- Uploads

export function uploadStartToProto(start: UploadStart): pb.UploadHeader {
  return {
    jobId: start.jobId,
    attempt: start.attempt,
    generation: BigInt(start.generation),
    fileName: start.file.name,
    offset: BigInt(start.offset),
    target:
      start.target.kind === 'checkpoint'
        ? {$case: 'checkpoint', value: manifestPartsToProto(start.target.manifest)}
        : {$case: 'artifact', value: fileDigestToProto(start.file)},
  };
}

export function uploadStartFromProto(header: pb.UploadHeader): UploadStart {
  const common = {
    jobId: idIn('jobs', header.jobId, 'header.job_id'),
    attempt: header.attempt,
    generation: wholeNumber(header.generation, 'header.generation'),
    offset: wholeNumber(header.offset, 'header.offset'),
  };
  const target = present(header.target, 'header.target');
  if (target.$case === 'artifact') {
    const file = parsed(fileDigestSchema, fileDigestFromProto(target.value, 'header.artifact'), 'header.artifact');
    if (file.name !== header.fileName) throw new MalformedMessageError('header.file_name', `differs from the artifact's name ${file.name}`);
    return {...common, file, target: {kind: 'artifact'}};
  }
  const manifest = parsed(checkpointManifestSchema, manifestPartsFromProto(target.value, 'header.checkpoint'), 'header.checkpoint');
  const file = manifest.files.find(candidate => candidate.name === header.fileName);
  if (file === undefined)
    throw new MalformedMessageError('header.file_name', `is not a file of the checkpoint: ${header.fileName.slice(0, 80)}`);
  return {...common, file, target: {kind: 'checkpoint', manifest}};
}

// --- The session's messages, both ways

export type AgentMessage =
  | {readonly kind: 'hello'; readonly hello: AgentHello}
  | {readonly kind: 'report'; readonly report: NodeReport}
  /** In the order of their sequence. */
  | {readonly kind: 'events'; readonly events: readonly OutboxEvent[]};

export type CoordinatorMessage =
  | {
      readonly kind: 'welcome';
      readonly leaderGeneration: number;
      readonly coordinatorVersion: string;
      /**
       * Everything up to here is on the coordinator's disk. It may be less than what was acknowledged before (0 after a restart of the
       * coordinator): then the outbox sends whatever it still has, and the journal drops what it knows.
       */
      readonly acknowledged: number;
    }
  | {readonly kind: 'desired'; readonly leaderGeneration: number; readonly plans: readonly GenerationPlan[]}
  | {readonly kind: 'acknowledged'; readonly sequence: number};

export function agentMessageToProto(message: AgentMessage): pb.SessionRequest {
  switch (message.kind) {
    case 'hello':
      return {message: {$case: 'hello', value: helloToProto(message.hello)}};
    case 'report':
      return {message: {$case: 'report', value: reportToProto(message.report)}};
    case 'events':
      return {message: {$case: 'events', value: {events: message.events.map(outboxEventToProto)}}};
  }
}

export function agentMessageFromProto(request: pb.SessionRequest): AgentMessage {
  const message = present(request.message, 'message');
  switch (message.$case) {
    case 'hello':
      return {kind: 'hello', hello: helloFromProto(message.value)};
    case 'report':
      return {kind: 'report', report: reportFromProto(message.value)};
    case 'events':
      return {kind: 'events', events: message.value.events.map(outboxEventFromProto)};
  }
}

export function coordinatorMessageToProto(message: CoordinatorMessage): pb.SessionResponse {
  switch (message.kind) {
    case 'welcome': {
      const {leaderGeneration, coordinatorVersion, acknowledged} = message;
      const value = {leaderGeneration: BigInt(leaderGeneration), coordinatorVersion, acknowledgedSequence: BigInt(acknowledged)};
      return {message: {$case: 'welcome', value}};
    }
    case 'desired':
      return {message: {$case: 'desired', value: desiredToProto(message.leaderGeneration, message.plans)}};
    case 'acknowledged':
      return {message: {$case: 'acknowledged', value: {sequence: BigInt(message.sequence)}}};
  }
}

export function coordinatorMessageFromProto(response: pb.SessionResponse): CoordinatorMessage {
  const message = present(response.message, 'message');
  switch (message.$case) {
    case 'welcome': {
      const {leaderGeneration, coordinatorVersion, acknowledgedSequence} = message.value;
      return {
        kind: 'welcome',
        leaderGeneration: wholeNumber(leaderGeneration, 'welcome.leader_generation'),
        coordinatorVersion,
        acknowledged: wholeNumber(acknowledgedSequence, 'welcome.acknowledged_sequence'),
      };
    }
    case 'desired':
      return {kind: 'desired', ...desiredFromProto(message.value)};
    case 'acknowledged':
      return {kind: 'acknowledged', sequence: wholeNumber(message.value.sequence, 'acknowledged.sequence')};
  }
}
