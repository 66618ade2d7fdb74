import {describe, expect, it} from 'vitest';
import type {GenerationPlan} from '../attemptPlan.js';
import {endReason} from '../endReason.js';
import * as pb from '../gen/tenfold/v1/agent.js';
import {checkpointPolicySchema} from '../jobSpec.js';
import {trainArgumentsSchema} from '../trainArguments.js';
import * as wire from './agent.js';

const sha256 = 'ab'.repeat(32);
const manifest = {step: 300, cursor: {epoch: 5, offset: 0}, files: [{name: 'model.safetensors', bytes: 24_000_000, sha256}], map50: 0.8};
const plan: GenerationPlan = {
  jobId: 'defects-s',
  attempt: 2,
  generation: 4711,
  ranks: [
    {rank: 0, nodeId: 'node-a', deviceId: 'GPU-1f', localRank: 0},
    {rank: 1, nodeId: 'node-b', deviceId: 'cpu-0', localRank: 0},
  ],
  rendezvous: {host: '10.0.0.7', port: 29_400},
  datasetId: 'defects',
  datasetIndexDigest: sha256,
  model: {arch: 'yolov8n', nc: 'auto'},
  train: trainArgumentsSchema.parse({epochs: 6, imgsz: 160}),
  checkpoint: checkpointPolicySchema.parse({every: {epochs: 2, steps: 100}, keep: {best: 0, last: 3}}),
  startFrom: {...manifest, attempt: 1, committedAt: 1_795_000_000_000},
};
const hello: wire.AgentHello = {
  identity: {
    nodeId: 'node-a',
    hostname: 'a.example',
    agentVersion: '0.1.0',
    address: '10.0.0.7',
    devices: [{id: 'GPU-1f', kind: 'cuda', index: 0, model: 'A100', memoryBytes: 85_899_345_920, threads: 8, links: {'GPU-2e': 'NV12'}}],
  },
  outboxId: 'f81d4fae',
  report: {
    rendezvousPorts: [29_400],
    attempts: [
      {jobId: 'j1', attempt: 1, generation: 9, stage: {phase: 'fetching', message: '3 of 4 shards'}, ranks: [], pendingUploads: 0},
      {
        jobId: 'j2',
        attempt: 3,
        generation: 12,
        stage: {phase: 'ready'},
        pendingUploads: 2,
        ranks: [
          {rank: 0, deviceId: 'GPU-1f', state: 'running', pid: 4242},
          {rank: 1, deviceId: 'GPU-2e', state: 'exited', reason: endReason('killed', 'SIGKILL')},
        ],
      },
      {
        jobId: 'j3',
        attempt: 1,
        generation: 13,
        stage: {phase: 'failed', reason: endReason('staging_failed')},
        ranks: [],
        pendingUploads: 0,
      },
    ],
  },
};

/** Through the bytes, as a peer would get it. */
function throughBytes<T>(codec: {encode(message: T): {finish(): Uint8Array}; decode(bytes: Uint8Array): T}, message: T): T {
  return codec.decode(codec.encode(message).finish());
}

describe('messages between agent and coordinator', () => {
  it('carry a hello whole', () => {
    expect(wire.helloFromProto(throughBytes(pb.Hello, wire.helloToProto(hello)))).toEqual(hello);
  });

  it('carry a plan whole', () => {
    const desired = throughBytes(pb.DesiredState, wire.desiredToProto(4700, [plan, {...plan, startFrom: null}]));
    expect(wire.desiredFromProto(desired)).toEqual({leaderGeneration: 4700, plans: [plan, {...plan, startFrom: null}]});
  });

  it('carry events and uploads whole', () => {
    const event = {sequence: 7, jobId: 'j1', attempt: 1, generation: 9, rank: -1, json: '{"type":"staged"}'};
    expect(wire.outboxEventFromProto(throughBytes(pb.AgentEvent, wire.outboxEventToProto(event)))).toEqual(event);
    const file = manifest.files[0]!;
    const common = {jobId: 'j1', attempt: 1, generation: 9, file, offset: 1024};
    for (const target of [{kind: 'artifact'}, {kind: 'checkpoint', manifest}] as const)
      expect(wire.uploadStartFromProto(throughBytes(pb.UploadHeader, wire.uploadStartToProto({...common, target})))).toEqual({
        ...common,
        target,
      });
  });

  it.each([
    ['a node id with a slash', {nodeId: '../leader'}, 'hello.node_id'],
    ['no report', {report: undefined}, 'hello.report'],
    ['a port that cannot be', {report: {attempts: [], rendezvousPorts: [70_000]}}, 'report.rendezvous_ports'],
    ['a kind of device of another version', {devices: [{...wire.helloToProto(hello).devices[0]!, kind: 9}]}, 'device.kind'],
  ])('refuse %s', (_, defect, field) => {
    expect(() => wire.helloFromProto({...wire.helloToProto(hello), ...defect})).toThrow(field);
  });
});
