import {createHash, randomUUID} from 'node:crypto';
import type {Dirent} from 'node:fs';
import {type FileHandle, mkdir, open, readdir, rename, rm, stat} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import {Readable} from 'node:stream';
import type {Instant} from '../../shared/ids.js';
import type {Log} from '../../shared/log.js';
import {ObjectNotFoundError, type ObjectStore} from '../ports.js';

/** Unfinished objects lie here, under the same key, so that a rename in the same file system completes them. */
const INCOMING = '.incoming';
/** What `put` writes lies there until it is whole. */
const PUT_PREFIX = 'put-';
const ABANDONED_AFTER_MS = 3_600_000;
const READ_CHUNK_BYTES = 256 * 1024;

/** The object store as a folder: each object is a file at its key. */
export class DirectoryStore implements ObjectStore {
  constructor(private readonly root: string) {}

  read(key: string, offset = 0): Readable {
    return Readable.from(this.chunks(key, offset), {objectMode: false, highWaterMark: READ_CHUNK_BYTES});
  }

  async size(key: string): Promise<number | undefined> {
    return sizeOf(this.file(key));
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    const temporary = this.incoming(`${PUT_PREFIX}${randomUUID()}`);
    try {
      await writeNew(temporary, bytes);
      await this.publish(temporary, key);
    } catch (error) {
      // A disk that is full must not be filled by what could not be finished. What fails here is not what went wrong.
      await rm(temporary, {force: true}).catch(() => undefined);
      throw error;
    }
  }

  /**
   * Removes what processes that were killed left of puts; `now` is the wall clock's. A put takes seconds: those that began long ago are not
   * under way, be it here or in another coordinator that shares the folder. What cannot be removed takes up room and is told to `log`; it
   * keeps nobody from starting.
   */
  async removeAbandonedPuts(now: Instant, log: Log): Promise<void> {
    const folder = join(this.root, INCOMING);
    for (const {name} of await entriesOf(folder)) {
      if (!name.startsWith(PUT_PREFIX)) continue;
      const path = join(folder, name);
      try {
        const {mtimeMs} = await stat(path);
        if (now - mtimeMs >= ABANDONED_AFTER_MS) await rm(path, {force: true});
      } catch (error) {
        // Another coordinator removed it.
        if (!isMissing(error)) log.warn('what is left of an object that was never whole cannot be removed', {path, error});
      }
    }
  }

  async receive(key: string, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    const handle = await openIn(this.incoming(key), 'a');
    try {
      const {size} = await handle.stat();
      if (size !== offset) throw new Error(`receiving ${key}: ${size} bytes are here, but the next were said to be at ${offset}`);
      let received = size;
      for await (const chunk of chunks) {
        await handle.appendFile(chunk);
        received += chunk.byteLength;
      }
      await handle.datasync();
      return received;
    } finally {
      await handle.close();
    }
  }

  async received(key: string): Promise<number> {
    return (await sizeOf(this.incoming(key))) ?? 0;
  }

  async complete(key: string, bytes: number, sha256: string): Promise<boolean> {
    const unfinished = this.incoming(key);
    if (!(await matches(unfinished, bytes, sha256))) {
      await rm(unfinished, {force: true});
      return false;
    }
    await syncPath(unfinished);
    await this.publish(unfinished, key);
    return true;
  }

  verify(key: string, bytes: number, sha256: string): Promise<boolean> {
    return matches(this.file(key), bytes, sha256);
  }

  async delete(key: string): Promise<void> {
    await rm(this.file(key), {force: true});
    await rm(this.incoming(key), {force: true});
  }

  list(prefix: string): Promise<string[]> {
    return keysIn(this.root, prefix);
  }

  listUnfinished(prefix: string): Promise<string[]> {
    return keysIn(join(this.root, INCOMING), prefix);
  }

  private async *chunks(key: string, offset: number): AsyncGenerator<Buffer> {
    const handle = await openOrUndefined(this.file(key));
    if (handle === undefined) throw new ObjectNotFoundError(`there is no object ${key}`);
    try {
      yield* handle.createReadStream({start: offset, highWaterMark: READ_CHUNK_BYTES, autoClose: false});
    } finally {
      await handle.close();
    }
  }

  /** Makes a file, whose bytes are on disk, the object at `key`. */
  private async publish(path: string, key: string): Promise<void> {
    const target = this.file(key);
    await mkdir(dirname(target), {recursive: true});
    await rename(path, target);
    await syncPath(dirname(target));
  }

  private file(key: string): string {
    return join(this.root, safe(key));
  }

  private incoming(key: string): string {
    return join(this.root, INCOMING, safe(key));
  }
}

/** Keys are made of peers' data: one that leads out of the folder is a bug of ours or an attack. */
function safe(key: string): string {
  const bad = key.split('/').some(segment => segment === '' || segment === '.' || segment === '..' || segment.includes('\0'));
  if (bad || key.startsWith(INCOMING)) throw new Error(`not an object key: ${JSON.stringify(key)}`);
  return key;
}

/** Keys that begin with `prefix`, in order, of the files below `root`. */
async function keysIn(root: string, prefix: string): Promise<string[]> {
  const keys = await keysBelow(root, prefix.slice(0, prefix.lastIndexOf('/') + 1));
  return keys.filter(key => key.startsWith(prefix)).sort();
}

async function keysBelow(root: string, folder: string): Promise<string[]> {
  const entries = (await entriesOf(join(root, folder))).filter(({name}) => name !== INCOMING);
  const keys = entries.map(entry => (entry.isDirectory() ? keysBelow(root, `${folder}${entry.name}/`) : [`${folder}${entry.name}`]));
  return (await Promise.all(keys)).flat();
}

async function openIn(path: string, flags: string): Promise<FileHandle> {
  await mkdir(dirname(path), {recursive: true});
  return open(path, flags);
}

/** Makes a file whose bytes survive a crash. */
async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  const handle = await openIn(path, 'wx');
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function matches(path: string, bytes: number, sha256: string): Promise<boolean> {
  const handle = await openOrUndefined(path);
  if (handle === undefined) return false;
  try {
    if ((await handle.stat()).size !== bytes) return false;
    const hash = createHash('sha256');
    for await (const chunk of handle.createReadStream({autoClose: false, highWaterMark: READ_CHUNK_BYTES})) hash.update(chunk as Buffer);
    return hash.digest('hex') === sha256;
  } finally {
    await handle.close();
  }
}

async function openOrUndefined(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function entriesOf(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, {withFileTypes: true});
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Makes a file's bytes, or a folder's names, survive a crash of the machine. */
async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function isMissing(error: unknown): boolean {
  const {code} = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
