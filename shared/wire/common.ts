import {z} from 'zod';
import type {AttemptPlan} from '../attemptPlan.js';
import type {CheckpointManifest, CheckpointRecord, Cursor, FileDigest} from '../checkpoint.js';
import {END_CODES, type EndReason} from '../endReason.js';
import {DomainError} from '../errors.js';
import type * as pb from '../gen/tenfold/v1/job.js';
import {idFromResourceName} from '../ids.js';

/** Pieces that several messages hold. What comes from a peer is checked; a bad one throws `MalformedMessageError`. */

/** A peer's message breaks the contract. `field` is its path in the proto. */
export class MalformedMessageError extends DomainError {
  constructor(field: string, problem: string) {
    super({kind: 'invalid', message: `${field} ${problem}`, fields: [{path: field, message: problem}]});
  }
}

/** Parses what was put together from a message by a schema of the domain. */
export function parsed<T>(schema: z.ZodType<T>, candidate: unknown, message: string): T {
  const result = schema.safeParse(candidate);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new MalformedMessageError([message, ...issue.path.map(String)].join('.'), `is malformed: ${issue.message}`);
}

export function present<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw new MalformedMessageError(field, 'is missing');
  return value;
}

/** An int64 as a number: it must be at least 0 and exact. */
export function wholeNumber(value: bigint, field: string): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedMessageError(field, `is out of range: ${value}`);
  return Number(value);
}

export function idIn(collection: 'jobs' | 'nodes' | 'datasets', name: string, field: string): string {
  const id = idFromResourceName(collection, name);
  if (id === undefined)
    throw new MalformedMessageError(field, `is not the name of one of ${collection}: ${JSON.stringify(name.slice(0, 80))}`);
  return id;
}

const wireEndReasonSchema = z.object({
  code: z.enum(END_CODES as [EndReason['code'], ...EndReason['code'][]]),
  fault: z.enum(['none', 'user', 'data', 'infra']),
  message: z.string(),
});

export function endReasonFromProto(reason: pb.EndReason | undefined, field: string): EndReason {
  return parsed(wireEndReasonSchema, present(reason, field), field);
}

export function endReasonToProto(reason: EndReason): pb.EndReason {
  return {code: reason.code, fault: reason.fault, message: reason.message};
}

export function rankPlacementToProto(placement: AttemptPlan['ranks'][number]): pb.RankPlacement {
  return {rank: placement.rank, node: `nodes/${placement.nodeId}`, device: placement.deviceId, localRank: placement.localRank};
}

export function rankPlacementFromProto(placement: pb.RankPlacement, field: string): AttemptPlan['ranks'][number] {
  const {rank, device, localRank} = placement;
  return {rank, nodeId: idIn('nodes', placement.node, `${field}.node`), deviceId: device, localRank};
}

export function cursorToProto(cursor: Cursor): pb.Cursor {
  return {epoch: cursor.epoch, offset: BigInt(cursor.offset)};
}

export function cursorFromProto(cursor: pb.Cursor | undefined, field: string): Cursor {
  const {epoch, offset} = present(cursor, field);
  return {epoch, offset: wholeNumber(offset, `${field}.offset`)};
}

export function fileDigestToProto(file: FileDigest): pb.FileDigest {
  return {name: file.name, bytes: BigInt(file.bytes), sha256: file.sha256};
}

export function fileDigestFromProto(file: pb.FileDigest, field: string): FileDigest {
  return {name: file.name, bytes: wholeNumber(file.bytes, `${field}.bytes`), sha256: file.sha256};
}

/** What a manifest and a committed checkpoint have in common. */
export function manifestPartsToProto(manifest: CheckpointManifest) {
  return {
    step: BigInt(manifest.step),
    cursor: cursorToProto(manifest.cursor),
    files: manifest.files.map(fileDigestToProto),
    map50: manifest.map50,
    map5095: manifest.map50_95,
  };
}

export function manifestPartsFromProto(
  message: {step: bigint; cursor: pb.Cursor | undefined; files: pb.FileDigest[]; map50?: number; map5095?: number},
  field: string,
): CheckpointManifest {
  return {
    step: wholeNumber(message.step, `${field}.step`),
    cursor: cursorFromProto(message.cursor, `${field}.cursor`),
    files: message.files.map(file => fileDigestFromProto(file, `${field}.files`)),
    ...(message.map50 !== undefined && {map50: message.map50}),
    ...(message.map5095 !== undefined && {map50_95: message.map5095}),
  };
}

export function checkpointToProto(jobId: string, record: CheckpointRecord): pb.Checkpoint {
  return {
    name: `jobs/${jobId}/checkpoints/${record.step}`,
    ...manifestPartsToProto(record),
    attempt: record.attempt,
    commitTime: new Date(record.committedAt),
  };
}

export function checkpointFromProto(message: pb.Checkpoint, field: string): CheckpointRecord {
  return {
    ...manifestPartsFromProto(message, field),
    attempt: message.attempt,
    committedAt: present(message.commitTime, `${field}.commit_time`).getTime(),
  };
}

export function modelToProto(model: AttemptPlan['model']): pb.ModelSpec {
  return {arch: model.arch, nc: model.nc === 'auto' ? undefined : model.nc};
}

export function checkpointPolicyToProto({every, keep}: AttemptPlan['checkpoint']): pb.CheckpointPolicy {
  return {everyEpochs: every.epochs, everySteps: every.steps, keepLast: keep.last, keepBest: keep.best};
}

/** As a user may have written it: what is absent takes its default when parsed by the domain's schema. */
export function checkpointPolicyCandidate(policy: pb.CheckpointPolicy | undefined): unknown {
  if (policy === undefined) return undefined;
  const every =
    policy.everyEpochs === undefined && policy.everySteps === undefined
      ? undefined
      : {epochs: policy.everyEpochs, steps: policy.everySteps};
  return {every, keep: {best: policy.keepBest, last: policy.keepLast}};
}
