import type {GenerationPlan} from '../shared/attemptPlan.js';
import {isSafeRelativePath} from '../shared/checkpoint.js';
import {invalid, unavailable} from '../shared/errors.js';
import type {UploadStart} from '../shared/wire/agent.js';
import {actingFence} from './acting.js';
import type {Checkpoints} from './checkpoints.js';
import type {ClusterState} from './clusterState.js';
import {Exclusive} from './exclusive.js';
import {objectKeys} from './objectKeys.js';
import type {Leadership, ObjectStore} from './ports.js';
import type {RunArtifacts} from './runArtifacts.js';
import {uploadingAttempt} from './uploadingAttempt.js';

export interface UploadsParts {
  readonly state: ClusterState;
  readonly leadership: Leadership;
  readonly objects: ObjectStore;
  readonly checkpoints: Checkpoints;
  readonly artifacts: RunArtifacts;
}

export interface UploadResult {
  /** Of this file, in the store. */
  readonly receivedBytes: number;
  /** Complete, and as the digest says. */
  readonly fileVerified: boolean;
  /** The whole checkpoint is committed, or the artifact registered. */
  readonly committed: boolean;
}

/** Takes the files of checkpoints and artifacts from agents. A broken upload goes on where it broke. */
export class Uploads {
  private readonly oneAtATime = new Exclusive();

  constructor(private readonly parts: UploadsParts) {}

  /**
   * Takes one file's bytes from `start.offset` on; without any chunk, only tells how much is there. A complete file is verified, and the
   * last one of a checkpoint commits it. A file that does not verify is dropped, to be sent from its beginning.
   */
  async upload(start: UploadStart, chunks: AsyncIterable<Uint8Array>): Promise<UploadResult> {
    const {state, leadership} = this.parts;
    if (!isSafeRelativePath(start.file.name)) throw invalid({path: 'header.file_name', message: 'must be a plain relative path'});
    if (actingFence(leadership, state) === undefined) throw unavailable('this coordinator does not lead now');
    const {plan} = uploadingAttempt(state, start);
    const key = keyOf(start);
    const receivedBytes = await this.oneAtATime.run(key, () => this.receive(key, start, chunks));
    if (receivedBytes !== 'verified') return {receivedBytes, fileVerified: false, committed: false};
    return {receivedBytes: start.file.bytes, fileVerified: true, committed: await this.commit(plan, start)};
  }

  private async receive(key: string, {file, offset}: UploadStart, chunks: AsyncIterable<Uint8Array>): Promise<number | 'verified'> {
    const {objects} = this.parts;
    if ((await objects.size(key)) === file.bytes) return 'verified';
    const here = await objects.received(key);
    const iterator = chunks[Symbol.asyncIterator]();
    const first = await iterator.next();
    if (first.done && here !== file.bytes) return here;
    if (!first.done && here !== offset)
      throw unavailable(`${here} bytes of ${file.name} are here, the upload began at ${offset}`, {retryAfterMs: 0});
    const received = await objects.receive(key, here, limited(first, iterator, file.bytes - here));
    if (received !== file.bytes) return received;
    return (await objects.complete(key, file.bytes, file.sha256)) ? 'verified' : 0;
  }

  private commit(plan: GenerationPlan, start: UploadStart): Promise<boolean> {
    const {checkpoints, artifacts} = this.parts;
    if (start.target.kind === 'artifact') return artifacts.register(start);
    return checkpoints.commitIfComplete(plan, start.target.manifest);
  }
}

function keyOf({jobId, attempt, file, target}: UploadStart): string {
  return target.kind === 'artifact'
    ? objectKeys.artifact(jobId, file)
    : objectKeys.checkpointFile(jobId, target.manifest.step, attempt, file.name);
}

/** The chunks as they come, refused when they are more than the file may still hold. */
async function* limited(first: IteratorResult<Uint8Array>, rest: AsyncIterator<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let left = bytes;
  for (let next = first; !next.done; next = await rest.next()) {
    left -= next.value.byteLength;
    if (left < 0) throw invalid({path: 'chunk', message: 'the file is longer than its digest says'});
    yield next.value;
  }
}
