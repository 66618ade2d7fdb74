import {mkdir, readFile, rm} from 'node:fs/promises';
import {join} from 'node:path';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {type CheckpointRecord, type FileDigest, isSafeRelativePath} from '../../shared/checkpoint.js';
import type {Clock} from '../../shared/clock.js';
import {type DatasetIndex, datasetIndexSchema} from '../../shared/dataset.js';
import {endReason} from '../../shared/endReason.js';
import {problemOf} from '../../shared/errors.js';
import type {AgentServiceClient} from '../../shared/gen/tenfold/v1/agent.js';
import type {Log} from '../../shared/log.js';
import {attemptKey, type StagedFiles} from '../core/localAttempt.js';
import {type Staging, StagingFailedError} from '../ports.js';
import {type Blob, type BlobCache, DigestMismatchError} from './blobCache.js';
import {linkOrCopy} from './durableFiles.js';
import {isWorthRepeating, retrying, withIdleLimit} from './retrying.js';

export interface PlanStagingDeps {
  readonly client: AgentServiceClient;
  readonly cache: BlobCache;
  readonly clock: Clock;
  readonly log: Log;
}

const CONCURRENT_FETCHES = 3;
/** A link on which nothing comes for so long is given up and tried anew. */
const IDLE_LIMIT_MS = 20_000;
/** A coordinator that is away is waited for; one that answers with errors of its own is not, for ever. */
const MAX_ODD_FAILURES = 20;

/** Brings what a plan needs from the coordinator's store into the cache. */
export class PlanStaging implements Staging {
  constructor(private readonly deps: PlanStagingDeps) {}

  async stage(plan: GenerationPlan, folder: string, progress: (message: string) => void, signal: AbortSignal): Promise<StagedFiles> {
    try {
      await this.fetchDataset(plan, progress, signal);
      const resumeDir = plan.startFrom === null ? null : await this.fetchCheckpoint(plan, plan.startFrom, folder, progress, signal);
      // All that the attempt needs is held by now. Where nothing had to be fetched, nothing has made room for what its ranks will write.
      await this.deps.cache.makeRoom();
      return {indexPath: this.deps.cache.pathOf(plan.datasetIndexDigest), shardsDir: this.deps.cache.dir, resumeDir};
    } catch (error) {
      signal.throwIfAborted();
      throw failureOf(error);
    }
  }

  release(plan: GenerationPlan): void {
    this.deps.cache.letGo(attemptKey(plan));
  }

  private async fetchDataset(plan: GenerationPlan, progress: (message: string) => void, signal: AbortSignal): Promise<void> {
    const holder = attemptKey(plan);
    await this.ensure(this.shard(plan.datasetIndexDigest, undefined), holder, false, signal);
    const index = await this.readIndex(plan.datasetIndexDigest);
    const shards = Object.values(index.splits).flatMap(split => split.shards);
    const totalBytes = shards.reduce((sum, shard) => sum + shard.bytes, 0);
    let done = 0;
    await forEachOf(shards, CONCURRENT_FETCHES, signal, async ({digest, bytes}, unlessFailed) => {
      await this.ensure(this.shard(digest, bytes), holder, false, unlessFailed);
      progress(`${++done} of ${shards.length} shards, ${megabytes(totalBytes)} MB in all`);
    });
  }

  private async readIndex(digest: string): Promise<DatasetIndex> {
    const parsed = datasetIndexSchema.safeParse(JSON.parse(await readFile(this.deps.cache.pathOf(digest), 'utf8')));
    if (!parsed.success) throw new StagingFailedError(endReason('staging_failed', `the index of the data set is malformed: ${digest}`));
    return parsed.data;
  }

  /** Into a folder of its own, as links to the cache. Files that are here already are read through before they are trusted. */
  private async fetchCheckpoint(
    plan: GenerationPlan,
    checkpoint: CheckpointRecord,
    folder: string,
    progress: (message: string) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const resumeDir = join(folder, 'resume');
    await rm(resumeDir, {recursive: true, force: true});
    await mkdir(resumeDir);
    progress(`the checkpoint of step ${checkpoint.step}`);
    for (const file of checkpoint.files) {
      if (!isSafeRelativePath(file.name) || file.name.includes('/')) throw badCheckpoint(checkpoint, `it names a file ${file.name}`);
      await this.ensureCheckpointFile(plan, checkpoint, file, signal);
      await linkOrCopy(this.deps.cache.pathOf(file.sha256), join(resumeDir, file.name));
    }
    return resumeDir;
  }

  private async ensureCheckpointFile(
    plan: GenerationPlan,
    checkpoint: CheckpointRecord,
    file: FileDigest,
    signal: AbortSignal,
  ): Promise<void> {
    const {client} = this.deps;
    const request = {jobId: plan.jobId, step: BigInt(checkpoint.step), fileName: file.name};
    const blob: Blob = {
      digest: file.sha256,
      bytes: file.bytes,
      fetch: (offset, abort) => chunksOf(options => client.fetchCheckpoint({...request, offset: BigInt(offset)}, options), abort),
    };
    try {
      await this.ensure(blob, attemptKey(plan), true, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof DigestMismatchError) throw badCheckpoint(checkpoint, `${file.name} does not verify`, error);
      if (problemOf(error).kind === 'notFound') throw badCheckpoint(checkpoint, `${file.name} is missing in the store`, error);
      throw error;
    }
  }

  private shard(digest: string, bytes: number | undefined): Blob {
    const {client} = this.deps;
    return {
      digest,
      bytes,
      fetch: (offset, abort) => chunksOf(options => client.fetchShard({digest, offset: BigInt(offset)}, options), abort),
    };
  }

  private async ensure(blob: Blob, holder: string, verify: boolean, signal: AbortSignal): Promise<void> {
    const {cache, clock, log} = this.deps;
    cache.hold(blob.digest, holder);
    let oddFailures = 0;
    await retrying(
      async () => {
        if (!(await cache.has(blob.digest, blob.bytes, verify))) await cache.fetch(blob, signal);
      },
      error => isFinal(error) || (problemOf(error).kind === 'internal' && ++oddFailures > MAX_ODD_FAILURES),
      clock,
      signal,
      (error, failures) => log[failures === 1 ? 'info' : 'debug']('a fetch is tried again', {digest: blob.digest, error}),
    );
  }
}

type StreamCall = (options: {signal: AbortSignal}) => AsyncIterable<{chunk: Uint8Array}>;

/** The chunks of a fetch, given up when the link is silent. */
async function* chunksOf(call: StreamCall, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const link = new AbortController();
  const stream = call({signal: AbortSignal.any([signal, link.signal])});
  for await (const {chunk} of withIdleLimit(stream, IDLE_LIMIT_MS, reason => link.abort(reason))) yield chunk;
}

function badCheckpoint(checkpoint: CheckpointRecord, problem: string, cause?: unknown): StagingFailedError {
  return new StagingFailedError(endReason('bad_checkpoint', `the checkpoint of step ${checkpoint.step}: ${problem}`), {cause});
}

function isFinal(error: unknown): boolean {
  return error instanceof DigestMismatchError || isFileError(error) || !isWorthRepeating(problemOf(error));
}

function isFileError(error: unknown): boolean {
  return typeof (error as NodeJS.ErrnoException | undefined)?.errno === 'number';
}

/** What the coordinator is told of a failed staging. */
function failureOf(error: unknown): StagingFailedError {
  if (error instanceof StagingFailedError) return error;
  const message = problemOf(error).message;
  return new StagingFailedError(endReason(isFileError(error) ? 'io_error' : 'staging_failed', message), {cause: error});
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}

/**
 * Runs `work` on all items, at most `limit` at once. The first failure ends it: what else is under way is aborted, and over before the
 * failure is thrown, so that nothing is heard of it afterwards.
 */
async function forEachOf<T>(
  items: readonly T[],
  limit: number,
  signal: AbortSignal,
  work: (item: T, unlessFailed: AbortSignal) => Promise<void>,
): Promise<void> {
  const remaining = [...items].reverse();
  const failed = new AbortController();
  const unlessFailed = AbortSignal.any([signal, failed.signal]);
  const worker = async (): Promise<void> => {
    for (let item = remaining.pop(); item !== undefined && !unlessFailed.aborted; item = remaining.pop()) await work(item, unlessFailed);
  };
  await Promise.all(Array.from({length: limit}, () => worker().catch(error => failed.abort(error))));
  unlessFailed.throwIfAborted();
}
