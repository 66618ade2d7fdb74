import {createHash} from 'node:crypto';
import {appendFile, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {systemClock} from '../../shared/clock.js';
import {silentLog} from '../../shared/log.js';
import {type Blob, BlobCache, DigestMismatchError} from './blobCache.js';

const never = new AbortController().signal;
let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tenfold-cache-'));
});
afterEach(() => rm(dir, {recursive: true, force: true}));

const cacheOf = (maxBytes = 1000): Promise<BlobCache> => BlobCache.open({dir, maxBytes, clock: systemClock, log: silentLog});
const digestOf = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

/** A blob whose link breaks after so many bytes of each try; `asked` are the offsets that were asked for. */
function blobOf(content: Buffer, breakAfter = Number.POSITIVE_INFINITY): Blob & {asked: number[]} {
  const asked: number[] = [];
  return {
    digest: digestOf(content),
    bytes: content.length,
    asked,
    async *fetch(offset) {
      asked.push(offset);
      for (let at = offset; at < content.length; at += 10) {
        if (at - offset >= breakAfter) throw new Error('the link broke');
        yield content.subarray(at, at + 10);
      }
    },
  };
}

describe('the cache of verified files', () => {
  const content = Buffer.from('0123456789'.repeat(10));

  it('goes on where a link broke, also after a restart of the agent', async () => {
    const blob = blobOf(content, 40);
    await expect((await cacheOf()).fetch(blob, never)).rejects.toThrow('the link broke');
    const cache = await cacheOf();
    expect(await cache.has(blob.digest, blob.bytes, true)).toBe(false);
    await expect(cache.fetch(blob, never)).rejects.toThrow('the link broke');
    await cache.fetch(blob, never);
    expect(blob.asked).toEqual([0, 40, 80]);
    expect(await readFile(cache.pathOf(blob.digest))).toEqual(content);
    expect(await cache.has(blob.digest, blob.bytes, true)).toBe(true);
  });

  it('never shows what does not verify', async () => {
    const cache = await cacheOf();
    const lying: Blob = {...blobOf(content), digest: digestOf(Buffer.from('something else'))};
    await expect(cache.fetch(lying, never)).rejects.toThrow(DigestMismatchError);
    expect(await cache.has(lying.digest, undefined, false)).toBe(false);
    expect(await readdir(join(dir, 'partial'))).toEqual([]);
  });

  it('fetches anew when what an earlier try left was damaged', async () => {
    const cache = await cacheOf();
    const blob = blobOf(content, 40);
    await expect(cache.fetch(blob, never)).rejects.toThrow('the link broke');
    await writeFile(join(dir, 'partial', blob.digest), Buffer.alloc(40));
    const good = blobOf(content);
    await cache.fetch(good, never);
    expect(good.asked).toEqual([40, 0]);
    expect(await readFile(cache.pathOf(blob.digest))).toEqual(content);
  });

  it('drops a file that was damaged on disk, when it is asked to look', async () => {
    const cache = await cacheOf();
    const blob = blobOf(content);
    await cache.fetch(blob, never);
    const damaged = Buffer.from(content);
    damaged[5] = 0;
    await writeFile(cache.pathOf(blob.digest), damaged);
    expect(await cache.has(blob.digest, blob.bytes, false)).toBe(true);
    expect(await cache.has(blob.digest, blob.bytes, true)).toBe(false);
    await appendFile(cache.pathOf(blob.digest), 'x');
    expect(await cache.has(blob.digest, blob.bytes, false)).toBe(false);
  });

  it('fetches once for all who ask at the same time', async () => {
    const cache = await cacheOf();
    const blob = blobOf(content);
    await Promise.all([cache.fetch(blob, never), cache.fetch(blob, never)]);
    expect(blob.asked).toEqual([0]);
  });

  it('makes room by removing what was not used for longest, but nothing that an attempt holds', async () => {
    const cache = await cacheOf(250);
    const [held, old, used] = ['a', 'b', 'c'].map(letter => blobOf(Buffer.from(letter.repeat(100))));
    cache.hold(held!.digest, 'j1.1.5');
    for (const [age, blob] of [held!, old!].entries()) {
      await cache.fetch(blob, never);
      await utimes(cache.pathOf(blob.digest), 1000 + age, 1000 + age);
    }
    await cache.fetch(used!, never);
    const here = async (): Promise<boolean[]> => Promise.all([held!, old!, used!].map(({digest}) => cache.has(digest, 100, true)));
    expect(await here()).toEqual([true, false, true]);
    cache.letGo('j1.1.5');
    await utimes(cache.pathOf(held!.digest), 1000, 1000);
    await cache.fetch(old!, never);
    expect(await here()).toEqual([false, true, true]);
  });

  it('lets what is left of fetches that were given up make room as well', async () => {
    const cache = await cacheOf(250);
    const [givenUp, waiting] = ['a', 'b'].map(letter => blobOf(Buffer.from(letter.repeat(150)), 100));
    cache.hold(waiting!.digest, 'j1.1.5');
    for (const blob of [givenUp!, waiting!]) await expect(cache.fetch(blob, never)).rejects.toThrow('the link broke');
    await cache.fetch(blobOf(content), never);
    expect(await readdir(join(dir, 'partial'))).toEqual([waiting!.digest]);
  });

  describe('on a disk that is full', () => {
    /** As `blobOf`, on a disk that has room for so many bytes beside what others fill. */
    function blobOnDiskOf(capacity: number, letter: string): Blob {
      const blob = blobOf(Buffer.from(letter.repeat(100)));
      const used = async (): Promise<number> => {
        const files = (await readdir(dir, {recursive: true, withFileTypes: true})).filter(entry => entry.isFile());
        const sizes = await Promise.all(files.map(entry => stat(join(entry.parentPath, entry.name)).catch(() => ({size: 0}))));
        return sizes.reduce((sum, {size}) => sum + size, 0);
      };
      return {
        ...blob,
        async *fetch(offset, signal) {
          for await (const chunk of blob.fetch(offset, signal)) {
            if ((await used()) + chunk.length > capacity)
              throw Object.assign(new Error('ENOSPC: no space left'), {code: 'ENOSPC', errno: -28});
            yield chunk;
          }
        },
      };
    }

    it('gives the place of files that no attempt holds to those that one needs, the least recently used first', async () => {
      const cache = await cacheOf();
      const [held, old, left, recent, first, second] = ['a', 'b', 'c', 'd', 'e', 'f'].map(letter => blobOnDiskOf(400, letter));
      cache.hold(held!.digest, 'j1.1.5');
      for (const [age, {digest}] of [held!, old!, left!, recent!].entries()) {
        const path = join(dir, ...(age === 2 ? ['partial'] : []), digest);
        await writeFile(path, 'abcd'[age]!.repeat(100));
        await utimes(path, 1000 + age, 1000 + age);
      }
      await cache.fetch(first!, never);
      expect(await readdir(join(dir, 'partial'))).toEqual([left!.digest]);
      expect(await cache.has(old!.digest, 100, true)).toBe(false);
      cache.hold(first!.digest, 'j1.1.5');
      await Promise.all(['g', 'h'].map(letter => cache.fetch(blobOnDiskOf(400, letter), never)));
      expect(await readdir(join(dir, 'partial'))).toEqual([]);
      expect(await cache.has(recent!.digest, 100, true)).toBe(false);
      expect(await cache.has(held!.digest, 100, true)).toBe(true);
      expect(await cache.has(first!.digest, 100, true)).toBe(true);
      await cache.fetch(second!, never);
    });

    it('says so when attempts hold all that is there', async () => {
      const cache = await cacheOf();
      const held = blobOnDiskOf(150, 'a');
      cache.hold(held.digest, 'j1.1.5');
      await cache.fetch(held, never);
      await expect(cache.fetch(blobOnDiskOf(150, 'b'), never)).rejects.toThrow('ENOSPC');
      expect(await cache.has(held.digest, 100, true)).toBe(true);
    });
  });

  it('takes over a file of this node', async () => {
    const cache = await cacheOf();
    const path = join(dir, 'own');
    await writeFile(path, content);
    await cache.adopt(path, digestOf(content));
    await cache.adopt(path, digestOf(content));
    await rm(path);
    expect(await cache.has(digestOf(content), content.length, true)).toBe(true);
  });
});
