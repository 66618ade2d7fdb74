import {type FileHandle, mkdir, open} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import type {JournalFile, JournalFiles} from '../ports.js';

/** Journals in the object store's folder: `jobs/{job}/events.ndjson`. */
export class DirectoryJournalFiles implements JournalFiles {
  constructor(private readonly root: string) {}

  async open(jobId: string): Promise<JournalFile> {
    const path = join(this.root, 'jobs', jobId, 'events.ndjson');
    await mkdir(dirname(path), {recursive: true});
    const handle = await open(path, 'a+');
    await syncFolder(dirname(path));
    await syncFolder(dirname(dirname(path)));
    return new OpenJournalFile(handle);
  }
}

class OpenJournalFile implements JournalFile {
  constructor(private readonly handle: FileHandle) {}

  async read(offset: number, length: number): Promise<Uint8Array> {
    const {buffer, bytesRead} = await this.handle.read(Buffer.allocUnsafe(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  }

  async size(): Promise<number> {
    return (await this.handle.stat()).size;
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.handle.appendFile(bytes);
    await this.sync();
  }

  sync(): Promise<void> {
    return this.handle.datasync();
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/** So that the file's name survives a crash of the machine as its bytes do. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
