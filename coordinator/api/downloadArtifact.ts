import type {FileDigest} from '../../shared/checkpoint.js';
import {invalid, notFound, precondition, unavailable} from '../../shared/errors.js';
import type * as pb from '../../shared/gen/tenfold/v1/job.js';
import {CHUNK_BYTES} from '../../shared/grpc.js';
import {fileDigestToProto, wholeNumber} from '../../shared/wire/common.js';
import {objectKeys} from '../objectKeys.js';
import {ObjectNotFoundError} from '../ports.js';
import type {JobViews} from './jobViews.js';
import type {ApiParts} from './parts.js';

/** A file that can be downloaded, and where it lies. */
interface Download {
  readonly file: FileDigest;
  readonly key: string;
}

/** The bytes of an artifact or of a checkpoint's file from an offset on; the first response says what the whole file is. */
export async function* downloadArtifact(
  parts: ApiParts,
  views: JobViews,
  request: pb.DownloadArtifactRequest,
  signal: AbortSignal,
): AsyncGenerator<pb.DownloadArtifactResponse> {
  const {file, key} = findDownload(parts, views, request.name);
  const offset = wholeNumber(request.offset, 'offset');
  // Before the offset is judged: it may be that of another file, which this one has replaced.
  yield {file: fileDigestToProto(file), chunk: Buffer.alloc(0)};
  if (offset > file.bytes) throw invalid({path: 'offset', message: `is beyond the end: the file has ${file.bytes} bytes`});
  if (offset === file.bytes) return;
  const stream = parts.objects.read(key, offset);
  const stop = (): void => void stream.destroy();
  signal.addEventListener('abort', stop);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; at += CHUNK_BYTES) yield {file: undefined, chunk: chunk.subarray(at, at + CHUNK_BYTES)};
    }
  } catch (error) {
    if (signal.aborted) return;
    throw error instanceof ObjectNotFoundError ? replacedOrLost(request.name, file, findDownload(parts, views, request.name)) : error;
  } finally {
    signal.removeEventListener('abort', stop);
    stream.destroy();
  }
}

/** What to tell when a file's bytes are not there. Those of a running job are replaced; one that is gone makes `findDownload` throw. */
function replacedOrLost(name: string, file: FileDigest, now: Download): Error {
  if (now.file.sha256 !== file.sha256) return unavailable(`${name} was replaced by a newer one just now; try again`);
  return precondition('BYTES_LOST', name, `the bytes of ${name} are no longer in the coordinator's store`);
}

function findDownload(parts: ApiParts, views: JobViews, name: string): Download {
  const match = /^(jobs\/[^/]+)\/(artifacts|checkpoints)\/(.+)$/.exec(name);
  if (match === null) throw invalid({path: 'name', message: 'must be jobs/{id}/artifacts/{path} or jobs/{id}/checkpoints/{step}/{file}'});
  const [, job = '', collection, rest = ''] = match;
  const {id} = views.record(job).value;
  const download = collection === 'artifacts' ? findArtifact(parts, id, rest) : findCheckpointFile(parts, id, rest);
  if (download === undefined) throw notFound(collection === 'artifacts' ? 'artifact' : 'checkpoint', name);
  return download;
}

function findArtifact({state}: ApiParts, jobId: string, path: string): Download | undefined {
  const artifact = state.artifacts.get(jobId)?.find(({file}) => file.name === path);
  return artifact && {file: artifact.file, key: objectKeys.artifact(jobId, artifact.file)};
}

function findCheckpointFile({state}: ApiParts, jobId: string, path: string): Download | undefined {
  const [step = '', ...name] = path.split('/');
  const checkpoint = state.checkpoints.get(jobId)?.find(candidate => String(candidate.step) === step);
  const file = checkpoint?.files.find(candidate => candidate.name === name.join('/'));
  return checkpoint && file && {file, key: objectKeys.checkpointFile(jobId, checkpoint.step, checkpoint.attempt, file.name)};
}
