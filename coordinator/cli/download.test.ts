import {createHash} from 'node:crypto';
import {existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import * as path from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import type {DownloadArtifactResponse, FileDigest, JobServiceClient} from '../../shared/gen/tenfold/v1/job.js';
import {download} from './download.js';

const content = Buffer.from('the weights of a detector');
const file = (name: string, bytes = content): FileDigest => ({
  name,
  bytes: BigInt(bytes.length),
  sha256: createHash('sha256').update(bytes).digest('hex'),
});

let folder: string;
let offsets: number[];
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'tenfold-download-'));
  offsets = [];
});
afterEach(() => rmSync(folder, {recursive: true}));

/** A coordinator that sends `sent` from the asked offset on, five bytes at a time, and breaks off after so many chunks. */
function serving(sent: Buffer, breakAfter = Number.POSITIVE_INFINITY, said?: FileDigest): JobServiceClient {
  async function* downloadArtifact({offset = 0n}: {offset?: bigint}): AsyncGenerator<DownloadArtifactResponse> {
    offsets.push(Number(offset));
    yield {file: said, chunk: Buffer.alloc(0)};
    for (let at = Number(offset), chunks = 0; at < sent.length; at += 5, chunks++) {
      if (chunks === breakAfter) throw new Error('the link broke');
      yield {file: undefined, chunk: sent.subarray(at, at + 5)};
    }
  }
  return {downloadArtifact} as unknown as JobServiceClient;
}

const fetch = (jobs: JobServiceClient, name = 'weights/best.safetensors'): Promise<string> =>
  download(jobs, {name: `jobs/j/artifacts/${name}`, file: file(name), folder, signal: new AbortController().signal});

describe('a download', () => {
  it('gets its name only when it is whole', async () => {
    const target = path.join(folder, 'weights/best.safetensors');
    await expect(fetch(serving(content, 2))).rejects.toThrow('the link broke');
    expect(existsSync(target)).toBe(false);
    expect(await fetch(serving(content))).toBe(target);
    expect(readFileSync(target)).toEqual(content);
  });

  it('goes on where it was cut off', async () => {
    await expect(fetch(serving(content, 2))).rejects.toThrow();
    await fetch(serving(content));
    expect(offsets).toEqual([0, 10]);
  });

  it('that arrived damaged is thrown away, and told', async () => {
    const damaged = Buffer.from(content);
    damaged[3]! ^= 1;
    await expect(fetch(serving(damaged))).rejects.toThrow('arrived damaged');
    await fetch(serving(content));
    expect(offsets).toEqual([0, 0]);
  });

  it('of a file that was replaced since it was listed is that of the new one, whatever lies there of the old', async () => {
    const name = 'weights/best.safetensors';
    await expect(fetch(serving(content, 2))).rejects.toThrow('the link broke');
    const newer = Buffer.from('better weights');
    const target = await fetch(serving(newer, undefined, file(name, newer)));
    expect(readFileSync(target)).toEqual(newer);
    expect(offsets).toEqual([0, 10, 0]);
    expect(readdirSync(path.dirname(target))).toEqual(['best.safetensors']);
  });

  it('that is there already is not fetched again; one that differs is', async () => {
    await fetch(serving(content));
    await fetch(serving(content));
    expect(offsets).toEqual([0]);
    writeFileSync(path.join(folder, 'weights/best.safetensors'), 'something else');
    await fetch(serving(content));
    expect(offsets).toEqual([0, 0]);
  });

  it.each(['../outside', '/etc/passwd', 'a/../../b', 'a\0b'])('never writes to %j, whatever the coordinator says', async name => {
    await expect(fetch(serving(content), name)).rejects.toThrow('no plain path');
  });
});
