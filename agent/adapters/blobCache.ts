import {createHash, type Hash} from 'node:crypto';
import {createReadStream} from 'node:fs';
import {mkdir, open, readdir, rename, rm, stat, statfs, utimes} from 'node:fs/promises';
import {join} from 'node:path';
import type {Clock} from '../../shared/clock.js';
import type {Log} from '../../shared/log.js';
import {linkOrCopy, sha256OfFile, syncFolder} from './durableFiles.js';

/**
 * Verified files of this node, each named by its SHA-256: shards, indexes of data sets, and files of checkpoints. All jobs share them.
 * A file is only ever there whole: it is fetched under another name, verified, synced, renamed. The least recently used ones, and what is
 * left of fetches that were given up, make room for new ones, but never those that an attempt holds.
 */
export interface BlobCacheOptions {
  readonly dir: string;
  /** What the files may take together; more only while attempts hold more. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Blob {
  readonly digest: string;
  /** Undefined when only the digest is known. */
  readonly bytes: number | undefined;
  /** Bytes from `offset` on. */
  fetch(offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>;
}

/** What was fetched is not what its digest says, also when fetched anew. */
export class DigestMismatchError extends Error {
  override readonly name = 'DigestMismatchError';
}

const FETCHES_OF_A_BAD_BLOB = 2;
/** What shall be free on the disk, or that share of it if it is less. */
const FREE_BYTES = 1024 ** 3;
const FREE_SHARE = 0.05;

export class BlobCache {
  private readonly underWay = new Map<string, Promise<void>>();
  private readonly holders = new Map<string, Set<string>>();
  /** Files that are being removed: who holds one from now on must not find it any more. */
  private readonly removing = new Map<string, Promise<void>>();
  private removed = 0;

  private constructor(private readonly options: BlobCacheOptions) {}

  static async open(options: BlobCacheOptions): Promise<BlobCache> {
    await mkdir(join(options.dir, 'partial'), {recursive: true});
    return new BlobCache(options);
  }

  get dir(): string {
    return this.options.dir;
  }

  pathOf(digest: string): string {
    return join(this.options.dir, digest);
  }

  /** Keeps a file from being removed until `holder` lets go, whether it is there yet or not. */
  hold(digest: string, holder: string): void {
    this.holders.set(digest, (this.holders.get(digest) ?? new Set()).add(holder));
  }

  letGo(holder: string): void {
    for (const [digest, holders] of this.holders) if (holders.delete(holder) && holders.size === 0) this.holders.delete(digest);
  }

  /** Whether the file is here; `verify`: read it all to be sure, and drop it when it is not what its name says. */
  async has(digest: string, bytes: number | undefined, verify: boolean): Promise<boolean> {
    const path = this.pathOf(digest);
    await this.removing.get(digest);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return false;
    const isWhole = (bytes === undefined || found.size === bytes) && (!verify || (await sha256OfFile(path)) === digest);
    if (!isWhole) {
      this.options.log.warn('a cached file is damaged; it is fetched again', {digest});
      await rm(path, {force: true});
      return false;
    }
    const now = new Date(this.options.clock.now());
    await utimes(path, now, now);
    return true;
  }

  /**
   * Fetches a file that is not here, going on from what an earlier try left. Concurrent calls for one file share the fetch, which ends
   * with the signal of the one that began it. Throws what `blob.fetch` throws (try again: nothing is lost), or `DigestMismatchError`.
   */
  async fetch(blob: Blob, signal: AbortSignal): Promise<void> {
    const running = this.underWay.get(blob.digest);
    if (running !== undefined) return unlessAborted(running, signal);
    const fetching = this.fetchVerified(blob, signal).finally(() => this.underWay.delete(blob.digest));
    this.underWay.set(blob.digest, fetching);
    return fetching;
  }

  /** Takes over a file that this node made itself and whose digest is known. */
  async adopt(path: string, digest: string): Promise<void> {
    const target = this.pathOf(digest);
    await linkOrCopy(path, target).catch(error => {
      if (error.code !== 'EEXIST') throw error;
    });
    const now = new Date(this.options.clock.now());
    await utimes(target, now, now);
    await this.makeRoom();
  }

  /** Removes a file, unless an attempt holds it. */
  async drop(digest: string): Promise<void> {
    if (!this.holders.has(digest)) await rm(this.pathOf(digest), {force: true});
  }

  private async fetchVerified(blob: Blob, signal: AbortSignal): Promise<void> {
    const partial = this.partialPathOf(blob.digest);
    await this.removing.get(blob.digest);
    for (let tries = 1; ; tries++) {
      const digest = await this.receiveMakingRoom(partial, blob, signal);
      if (digest === blob.digest) break;
      await rm(partial, {force: true});
      if (tries >= FETCHES_OF_A_BAD_BLOB) throw new DigestMismatchError(`${blob.digest} was fetched, but is ${digest}`);
    }
    await rename(partial, this.pathOf(blob.digest));
    await syncFolder(this.options.dir);
    await this.makeRoom();
  }

  /** The disk may be smaller than the bound, or others fill it: when it is full, unused files give way, as long as there are any. */
  private async receiveMakingRoom(partial: string, blob: Blob, signal: AbortSignal): Promise<string> {
    for (;;) {
      const before = this.removed;
      try {
        return await receive(partial, blob, signal);
      } catch (error) {
        if (!isDiskFull(error)) throw error;
        const received = await stat(partial).catch(() => ({size: 0}));
        await this.removeUnused(await this.files(), Math.max(1, (blob.bytes ?? 0) - received.size));
        // Whatever a fetch beside this one removed is room as well.
        if (this.removed === before) throw error;
        this.options.log.info('the disk is full; files that no attempt needs gave way', {files: this.removed - before, error});
      }
    }
  }

  /** Removes the least recently used files beyond the bound, and where hardly anything is free on the disk: ranks write there, too. */
  async makeRoom(): Promise<void> {
    const [files, disk] = await Promise.all([this.files(), statfs(this.options.dir)]);
    const surplus = files.reduce((sum, file) => sum + file.bytes, 0) - this.options.maxBytes;
    const shortage = Math.min(FREE_BYTES, disk.blocks * disk.bsize * FREE_SHARE) - disk.bavail * disk.bsize;
    await this.removeUnused(files, Math.max(surplus, shortage));
  }

  /** All files, those of fetches included that are not through; the least recently used first. */
  private async files(): Promise<CachedFile[]> {
    const whole = (await readdir(this.options.dir)).filter(name => /^[0-9a-f]{64}$/.test(name));
    const partial = await readdir(join(this.options.dir, 'partial'));
    const places = [
      ...whole.map(digest => ({digest, path: this.pathOf(digest)})),
      ...partial.map(digest => ({digest, path: this.partialPathOf(digest)})),
    ];
    const files = await Promise.all(
      places.map(async place => {
        const info = await stat(place.path).catch(() => undefined);
        return info === undefined ? [] : [{...place, bytes: info.size, usedAt: info.mtimeMs}];
      }),
    );
    return files.flat().sort((a, b) => a.usedAt - b.usedAt);
  }

  /** Removes the first of the files that nobody holds or fetches until so many bytes are free. */
  private async removeUnused(files: readonly CachedFile[], bytes: number): Promise<void> {
    let missing = bytes;
    for (const file of files) {
      if (missing <= 0) return;
      if (this.holders.has(file.digest) || this.underWay.has(file.digest)) continue;
      await this.remove(file);
      missing -= file.bytes;
    }
  }

  private remove({digest, path}: CachedFile): Promise<void> {
    const removal = this.removing.get(digest) ?? rm(path, {force: true}).finally(() => this.removing.delete(digest));
    this.removing.set(digest, removal);
    return removal.then(() => void this.removed++);
  }

  private partialPathOf(digest: string): string {
    return join(this.options.dir, 'partial', digest);
  }
}

interface CachedFile {
  readonly digest: string;
  readonly path: string;
  readonly bytes: number;
  readonly usedAt: number;
}

function isDiskFull(error: unknown): boolean {
  const {code} = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}

/** Waits for a fetch that goes on though this one, which waits for it, is given up. */
async function unlessAborted(running: Promise<void>, signal: AbortSignal): Promise<void> {
  const settled = new AbortController();
  const givenUp = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), {once: true, signal: settled.signal});
  });
  try {
    signal.throwIfAborted();
    await Promise.race([running, givenUp]);
  } finally {
    settled.abort();
  }
}

/** Appends what is missing to a partial file, syncs it, and tells its digest. */
async function receive(path: string, blob: Blob, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const offset = await hashExisting(path, hash);
  const file = await open(path, 'a');
  try {
    let received = offset;
    if (blob.bytes === undefined || received < blob.bytes) {
      for await (const chunk of blob.fetch(offset, signal)) {
        hash.update(chunk);
        received += chunk.length;
        if (blob.bytes !== undefined && received > blob.bytes) break;
        await file.appendFile(chunk);
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}

async function hashExisting(path: string, hash: Hash): Promise<number> {
  const existing = await stat(path).catch(() => undefined);
  if (existing === undefined) return 0;
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return existing.size;
}
