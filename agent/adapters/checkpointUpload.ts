import {createReadStream} from 'node:fs';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {CheckpointManifest, FileDigest} from '../../shared/checkpoint.js';
import type {Clock} from '../../shared/clock.js';
import {problemOf} from '../../shared/errors.js';
import type {AgentServiceClient, UploadCheckpointRequest, UploadCheckpointResponse} from '../../shared/gen/tenfold/v1/agent.js';
import {CHUNK_BYTES} from '../../shared/grpc.js';
import type {Log} from '../../shared/log.js';
import {type UploadStart, uploadStartToProto} from '../../shared/wire/agent.js';
import {attemptKey} from '../core/localAttempt.js';
import type {Upload, Uploads} from '../ports.js';
import type {BlobCache} from './blobCache.js';
import {sha256OfFile} from './durableFiles.js';
import {isWorthRepeating, retrying} from './retrying.js';
import {filesOf, type QueuedUpload, UploadQueue} from './uploadQueue.js';

export interface CheckpointUploadsDeps {
  readonly client: AgentServiceClient;
  /** Where committed checkpoints stay, for an attempt that starts from them on this node. */
  readonly cache: BlobCache;
  readonly clock: Clock;
  readonly log: Log;
}

/** A call may take this long, and as much more as its bytes take at the slowest rate that is put up with. */
const CALL_LIMIT_MS = 20_000;
const SLOWEST_BYTES_PER_MS = 100;
/** Of each job: the newest, and the one before in case that the newest proves bad. */
const CHECKPOINTS_KEPT = 2;

interface AttemptUploads {
  readonly queue: UploadQueue;
  readonly abort: AbortController;
  working: Promise<void> | undefined;
}

/** Brings checkpoints and artifacts to the coordinator, in their order, one attempt beside the other, however often the link breaks. */
export class CheckpointUploads implements Uploads {
  private readonly attempts = new Map<string, AttemptUploads>();
  private readonly kept = new Map<string, CheckpointManifest[]>();
  private listener: (plan: GenerationPlan) => void = () => {};

  constructor(private readonly deps: CheckpointUploadsDeps) {}

  onChange(listener: (plan: GenerationPlan) => void): void {
    this.listener = listener;
  }

  async add(plan: GenerationPlan, folder: string, upload: Upload): Promise<void> {
    const attempt = this.attemptOf(plan, () => new UploadQueue(folder, this.deps.log));
    await attempt.queue.add(upload);
    this.work(plan, attempt);
  }

  async resume(plan: GenerationPlan, folder: string): Promise<void> {
    const queue = await UploadQueue.recover(folder, this.deps.log);
    this.work(
      plan,
      this.attemptOf(plan, () => queue),
    );
  }

  pending(plan: GenerationPlan): number {
    const items = this.attempts.get(attemptKey(plan))?.queue.items ?? [];
    return items.reduce((sum, item) => sum + item.remaining, 0);
  }

  async abandon(plan: GenerationPlan): Promise<void> {
    const attempt = this.attempts.get(attemptKey(plan));
    attempt?.abort.abort(new Error('the attempt was given up'));
    await attempt?.working;
    this.attempts.delete(attemptKey(plan));
  }

  /** Stops everything that is under way; what is left lies on disk for the next agent. */
  async close(): Promise<void> {
    const working = [...this.attempts.values()].map(attempt => {
      attempt.abort.abort(new Error('the agent is stopping'));
      return attempt.working;
    });
    await Promise.all(working);
    this.attempts.clear();
  }

  private attemptOf(plan: GenerationPlan, makeQueue: () => UploadQueue): AttemptUploads {
    const known = this.attempts.get(attemptKey(plan));
    if (known !== undefined) return known;
    const attempt = {queue: makeQueue(), abort: new AbortController(), working: undefined};
    this.attempts.set(attemptKey(plan), attempt);
    return attempt;
  }

  private work(plan: GenerationPlan, attempt: AttemptUploads): void {
    this.listener(plan);
    if (attempt.queue.items.length === 0) return;
    attempt.working ??= this.settleAll(plan, attempt).catch(error => {
      if (!attempt.abort.signal.aborted) this.deps.log.error('uploads stopped', {job: plan.jobId, attempt: plan.attempt, error});
    });
  }

  private async settleAll(plan: GenerationPlan, attempt: AttemptUploads): Promise<void> {
    const {queue, abort} = attempt;
    try {
      for (let item = queue.items[0]; item !== undefined; item = queue.items[0]) {
        const outcome = await this.settle(plan, queue, item, abort.signal);
        if (outcome === 'done') await this.keepLocally(plan, queue, item.upload);
        const dropped = outcome === 'attemptRefused' ? [...queue.items] : [item];
        for (const each of dropped) await queue.remove(each);
        this.listener(plan);
      }
    } finally {
      // In the same turn as the last look at the queue: what comes later begins to work anew.
      attempt.working = undefined;
    }
  }

  /** Uploads one checkpoint or artifact until it is committed or refused. */
  private async settle(
    plan: GenerationPlan,
    queue: UploadQueue,
    item: QueuedUpload,
    signal: AbortSignal,
  ): Promise<'done' | 'refused' | 'attemptRefused'> {
    const {log, clock} = this.deps;
    const what = {job: plan.jobId, attempt: plan.attempt, upload: nameOf(item.upload)};
    try {
      await retrying(
        () => this.uploadAll(plan, queue, item, signal),
        isFinal,
        clock,
        signal,
        (error, failures) => log[failures === 1 ? 'info' : 'debug']('an upload is tried again', {...what, error}),
      );
      log.debug('uploaded', what);
      return 'done';
    } catch (error) {
      signal.throwIfAborted();
      log.warn('an upload is given up', {...what, error});
      return isOfTheAttempt(error) ? 'attemptRefused' : 'refused';
    }
  }

  /** One pass over the files of an upload. Throws `NotCommittedError` when all are there and the whole is not yet committed. */
  private async uploadAll(plan: GenerationPlan, queue: UploadQueue, item: QueuedUpload, signal: AbortSignal): Promise<void> {
    const files = filesOf(item.upload);
    let committed = false;
    for (const [index, file] of files.entries()) {
      const answer = await this.uploadFile(startOf(plan, item.upload, file), queue.pathOf(file), signal);
      committed ||= answer.committed;
      item.remaining = Math.max(1, files.length - index - 1);
      this.listener(plan);
    }
    if (!committed) throw new NotCommittedError(`${nameOf(item.upload)} is with the coordinator, but not yet committed`);
  }

  /** Sends what the coordinator lacks of one file. */
  private async uploadFile(start: UploadStart, path: string, signal: AbortSignal): Promise<UploadCheckpointResponse> {
    const {file} = start;
    const asked = await this.call(start, undefined, signal);
    if (asked.fileVerified) return asked;
    const answer = await this.call({...start, offset: Number(asked.receivedBytes)}, path, signal);
    if (answer.fileVerified) return answer;
    if ((await sha256OfFile(path)) !== file.sha256) throw new ChangedFileError(`${file.name} is not what the trainer said it was`);
    throw new Error(`${file.name} arrived damaged`);
  }

  /** `path`: of the file whose bytes from the offset on are sent; undefined: only asks. */
  private call(start: UploadStart, path: string | undefined, signal: AbortSignal): Promise<UploadCheckpointResponse> {
    const bytes = path === undefined ? 0 : start.file.bytes - start.offset;
    const limit = AbortSignal.timeout(CALL_LIMIT_MS + Math.ceil(bytes / SLOWEST_BYTES_PER_MS));
    return this.deps.client.uploadCheckpoint(requestsOf(start, path), {signal: AbortSignal.any([signal, limit])});
  }

  /** Keeps a job's newest committed checkpoints on this node: the next attempt may start from one of them. */
  private async keepLocally(plan: GenerationPlan, queue: UploadQueue, upload: Upload): Promise<void> {
    if (upload.kind !== 'checkpoint') return;
    try {
      for (const file of upload.manifest.files) await this.deps.cache.adopt(queue.pathOf(file), file.sha256);
      const kept = [...(this.kept.get(plan.jobId) ?? []), upload.manifest];
      const overtaken = kept.splice(0, Math.max(0, kept.length - CHECKPOINTS_KEPT));
      this.kept.set(plan.jobId, kept);
      const needed = new Set(kept.flatMap(({files}) => files.map(({sha256}) => sha256)));
      for (const {sha256} of overtaken.flatMap(({files}) => files)) if (!needed.has(sha256)) await this.deps.cache.drop(sha256);
    } catch (error) {
      this.deps.log.warn('a checkpoint could not be kept on this node', {job: plan.jobId, step: upload.manifest.step, error});
    }
  }
}

/** A file changed after the trainer had announced it. */
class ChangedFileError extends Error {
  override readonly name = 'ChangedFileError';
}

class NotCommittedError extends Error {
  override readonly name = 'NotCommittedError';
}

function isFinal(error: unknown): boolean {
  if (error instanceof ChangedFileError || (error as NodeJS.ErrnoException).code === 'ENOENT') return true;
  const problem = problemOf(error);
  return !isWorthRepeating(problem) && problem.kind !== 'denied';
}

/** Whether a refusal holds for all that the attempt could upload: another attempt is current, the job has ended, or it is gone. */
function isOfTheAttempt(error: unknown): boolean {
  const {kind} = problemOf(error);
  return kind === 'stale' || kind === 'precondition' || kind === 'notFound';
}

async function* requestsOf(start: UploadStart, path: string | undefined): AsyncGenerator<UploadCheckpointRequest> {
  yield {part: {$case: 'header', value: uploadStartToProto(start)}};
  if (path === undefined) return;
  for await (const chunk of createReadStream(path, {start: start.offset, highWaterMark: CHUNK_BYTES}))
    yield {part: {$case: 'chunk', value: chunk as Buffer}};
}

function startOf(plan: GenerationPlan, upload: Upload, file: FileDigest): UploadStart {
  const {jobId, attempt, generation} = plan;
  const target = upload.kind === 'checkpoint' ? ({kind: 'checkpoint', manifest: upload.manifest} as const) : ({kind: 'artifact'} as const);
  return {jobId, attempt, generation, file, offset: 0, target};
}

function nameOf(upload: Upload): string {
  return upload.kind === 'checkpoint' ? `checkpoint of step ${upload.manifest.step}` : upload.path;
}
