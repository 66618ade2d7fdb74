import {text} from 'node:stream/consumers';
import {type DatasetIndex, type DatasetRecord, datasetIndexSchema} from '../../shared/dataset.js';
import {precondition} from '../../shared/errors.js';
import type * as pb from '../../shared/gen/tenfold/v1/dataset.js';
import {objectKeys} from '../objectKeys.js';
import {ObjectNotFoundError, type ObjectStore} from '../ports.js';

/** Reads a data set's index and shards again and compares each with its digest; a response a shard, the last one is the result. */
export async function* verifyDataset(
  objects: ObjectStore,
  dataset: DatasetRecord,
  signal: AbortSignal,
): AsyncGenerator<pb.VerifyDatasetResponse> {
  const {status} = dataset;
  const name = `datasets/${dataset.id}`;
  if (status.state !== 'ready') throw precondition('DATASET_NOT_READY', name, `${name} is ${status.state}; there is nothing to verify yet`);
  const index = await readIndex(objects, status.indexDigest);
  const shards = index === undefined ? [] : Object.values(index.splits).flatMap(split => split.shards);
  const damaged: string[] = index === undefined ? [status.indexDigest] : [];
  let shardsDone = 0;
  yield {shardsDone, shardsTotal: shards.length, damaged: [...damaged]};
  for (const {digest, bytes} of shards) {
    if (signal.aborted) return;
    if (!(await isIntact(objects, digest, bytes))) damaged.push(digest);
    yield {shardsDone: ++shardsDone, shardsTotal: shards.length, damaged: [...damaged]};
  }
}

/** Undefined when the index is missing or damaged: then nothing can be said of the shards. */
async function readIndex(objects: ObjectStore, digest: string): Promise<DatasetIndex | undefined> {
  const key = objectKeys.blob(digest);
  const bytes = await objects.size(key);
  if (bytes === undefined || !(await isIntact(objects, digest, bytes))) return undefined;
  return datasetIndexSchema.parse(JSON.parse(await text(objects.read(key))));
}

async function isIntact(objects: ObjectStore, digest: string, bytes: number): Promise<boolean> {
  try {
    return await objects.verify(objectKeys.blob(digest), bytes, digest);
  } catch (error) {
    if (error instanceof ObjectNotFoundError) return false;
    throw error;
  }
}
