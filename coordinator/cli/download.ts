import {createHash} from 'node:crypto';
import {createReadStream} from 'node:fs';
import {mkdir, open, readdir, rename, rm, stat} from 'node:fs/promises';
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
 * already and verifies is left as it is. While a job runs its files are replaced: what is fetched is the file that the coordinator has
 * then, and not the one that it had when it was listed. Returns its path.
 */
export async function download(jobs: JobServiceClient, request: DownloadRequest): Promise<string> {
  const {folder, name} = request;
  // A name is data of the server's: it must not lead out of the folder.
  if (!isSafeRelativePath(request.file.name))
    throw new Error(`the coordinator named a file ${JSON.stringify(request.file.name)}, which is no plain path`);
  const target = path.join(folder, ...request.file.name.split('/'));
  await mkdir(path.dirname(target), {recursive: true});
  for (let {file} = request; ; ) {
    if (await isIntact(target, file)) return target;
    const partial = await partialOf(target, file);
    const served = await fetchInto(jobs, {...request, file}, partial);
    if (served.sha256 !== file.sha256) {
      file = served;
      continue;
    }
    if (!(await isIntact(partial, file))) {
      await rm(partial, {force: true});
      throw new Error(`${name} arrived damaged, and was thrown away; run the command again`);
    }
    await rename(partial, target);
    return target;
  }
}

/** Where a file lies until it is whole; what was fetched of others that had its name goes. */
async function partialOf(target: string, {sha256}: FileDigest): Promise<string> {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new Error(`the coordinator named a digest ${JSON.stringify(sha256)}, which is no SHA-256`);
  const {dir, base} = path.parse(target);
  const partial = `${base}.${sha256.slice(0, 12)}.part`;
  const isPartial = (name: string): boolean => name.startsWith(base) && /^\.[0-9a-f]{12}\.part$/.test(name.slice(base.length));
  for (const name of await readdir(dir)) if (isPartial(name) && name !== partial) await rm(path.join(dir, name), {force: true});
  return path.join(dir, partial);
}

/** Fetches the rest of a file. Returns what the coordinator sends: when that is another file, nothing was fetched. */
async function fetchInto(jobs: JobServiceClient, {name, file, signal, onProgress}: DownloadRequest, partial: string): Promise<FileDigest> {
  const total = Number(file.bytes);
  const there = (await sizeOf(partial)) ?? 0;
  const offset = there <= total ? there : 0;
  const output = await open(partial, offset > 0 ? 'a' : 'w');
  try {
    let done = offset;
    for await (const {chunk, file: served = file} of jobs.downloadArtifact({name, offset: BigInt(offset)}, {signal})) {
      if (served.sha256 !== file.sha256) return served;
      await output.writeFile(chunk);
      done += chunk.length;
      onProgress?.(done, total);
    }
    await output.sync();
    return file;
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
