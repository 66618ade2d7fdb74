import type {Readable} from 'node:stream';
import type {CallContext} from 'nice-grpc';
import {type DomainError, notFound} from '../../shared/errors.js';
import type * as pb from '../../shared/gen/tenfold/v1/agent.js';
import {agentMessageFromProto, coordinatorMessageToProto, uploadStartFromProto} from '../../shared/wire/agent.js';
import {idIn, MalformedMessageError, wholeNumber} from '../../shared/wire/common.js';
import type {Checkpoints} from '../checkpoints.js';
import {objectKeys} from '../objectKeys.js';
import {ObjectNotFoundError, type ObjectStore} from '../ports.js';
import type {Sessions} from '../sessions.js';
import type {Uploads} from '../uploads.js';

export interface AgentServiceParts {
  readonly sessions: Sessions;
  readonly uploads: Uploads;
  readonly checkpoints: Checkpoints;
  readonly objects: ObjectStore;
}

/** AgentService over gRPC: messages become domain types, and the rooms behind do the work. */
export function agentService({sessions, uploads, checkpoints, objects}: AgentServiceParts): pb.AgentServiceImplementation {
  return {
    async *session(requests, {signal}: CallContext) {
      for await (const message of sessions.serve(mapped(requests, agentMessageFromProto), signal)) yield coordinatorMessageToProto(message);
    },

    async uploadCheckpoint(requests) {
      const iterator = requests[Symbol.asyncIterator]();
      const first = await iterator.next();
      if (first.done || first.value.part?.$case !== 'header') throw new MalformedMessageError('part', 'must be a header first');
      const result = await uploads.upload(uploadStartFromProto(first.value.part.value), chunksOf(iterator));
      return {...result, receivedBytes: BigInt(result.receivedBytes)};
    },

    async *fetchShard({digest, offset}) {
      if (!/^[0-9a-f]{64}$/.test(digest)) throw new MalformedMessageError('digest', 'must be a SHA-256 in lower-case hex');
      yield* bytesOf(objects.read(objectKeys.blob(digest), wholeNumber(offset, 'offset')), notFound('shard', `shards/${digest}`));
    },

    async *fetchCheckpoint({jobId, step, fileName, offset}) {
      const job = idIn('jobs', jobId, 'job_id');
      const {bytes} = checkpoints.read(job, wholeNumber(step, 'step'), fileName, wholeNumber(offset, 'offset'));
      yield* bytesOf(bytes, notFound('checkpoint', `jobs/${job}/checkpoints/${step}/${fileName}`));
    },
  };
}

async function* bytesOf(object: Readable, missing: DomainError): AsyncGenerator<{chunk: Buffer}> {
  try {
    for await (const chunk of object) yield {chunk: chunk as Buffer};
  } catch (error) {
    throw error instanceof ObjectNotFoundError ? missing : error;
  }
}

async function* mapped<A, B>(items: AsyncIterable<A>, change: (item: A) => B): AsyncGenerator<B> {
  for await (const item of items) yield change(item);
}

async function* chunksOf(requests: AsyncIterator<pb.UploadCheckpointRequest>): AsyncGenerator<Uint8Array> {
  for (let next = await requests.next(); !next.done; next = await requests.next()) {
    if (next.value.part?.$case !== 'chunk') throw new MalformedMessageError('part', 'must be a chunk after the header');
    yield next.value.part.value;
  }
}
