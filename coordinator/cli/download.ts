import {createHash} from 'node:crypto';
import {createReadStream} from 'node:fs';
import {mkdir, open, rename, rm, stat} from 'node:fs/promises';
import * as path from 'node:path';
import {isSafeRelativePath} from '../../shared/checkpoint.js';
import type {FileDigest, JobServiceClient} from '../../shared/gen/tenfold/v1/job.js';

export interface DownloadRequest {
  /** `jobs/{id}/artifacts/{path}` or `jobs/{id}/checkpoints/{step}/{file}` */
  readonly name: string;
  readonly file: FileDigest;
  /** The folder that `file.name` is put into. */
  readonly folder: string;
  readonly signal: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * Fetches a file, verifies its SHA-256, and only then gives it its name; goes on where an earlier try was cut off. A file that is there
 * already and verifies is left as it is. Returns its path.
 */
export async function download(jobs: JobServiceClient, request: DownloadRequest): Promise<string> {
  const {file, folder} = request;
  // A name is data of the server's: it must not lead out of the folder.
  if (!isSafeRelativePath(file.name)) throw new Error(`the coordinator named a file ${JSON.stringify(file.name)}, which is no plain path`);
  const target = path.join(folder, ...file.name.split('/'));
  if (await isIntact(target, file)) return target;
  const partial = `${target}.part`;
  await mkdir(path.dirname(target), {recursive: true});
  await fetchInto(jobs, request, partial);
  if (!(await isIntact(partial, file))) {
    await rm(partial, {force: true});
    throw new Error(`${request.name} arrived damaged, and was thrown away; run the command again`);
  }
  await rename(partial, target);
  return target;
}

async function fetchInto(jobs: JobServiceClient, {name, file, signal, onProgress}: DownloadRequest, partial: string): Promise<void> {
  const total = Number(file.bytes);
  const there = (await sizeOf(partial)) ?? 0;
  const offset = there <= total ? there : 0;
  const output = await open(partial, offset > 0 ? 'a' : 'w');
  try {
    let done = offset;
    for await (const {chunk} of jobs.downloadArtifact({name, offset: BigInt(offset)}, {signal})) {
      await output.writeFile(chunk);
      done += chunk.length;
      onProgress?.(done, total);
    }
    await output.sync();
  } finally {
    await output.close();
  }
}

async function isIntact(file: string, {bytes, sha256}: FileDigest): Promise<boolean> {
  if ((await sizeOf(file)) !== Number(bytes)) return false;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex') === sha256;
}

async function sizeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
