import {createHash} from 'node:crypto';
import {mkdir, realpath} from 'node:fs/promises';
import {createServer, type Server} from 'node:net';
import {join} from 'node:path';
import {idKeptIn} from './durableFiles.js';

/** Another agent works in the same folder. */
export class FolderInUseError extends Error {
  override readonly name = 'FolderInUseError';
}

/**
 * An agent's own folder. Only one agent may work in it: the lock is a name in Linux's abstract socket namespace, which the kernel frees
 * with the process, so there is no stale one.
 */
export class DataFolder {
  private constructor(
    readonly path: string,
    /** Marks the processes that were started from here. */
    readonly id: string,
    private readonly lock: Server,
  ) {}

  static async open(path: string): Promise<DataFolder> {
    await mkdir(path, {recursive: true});
    const resolved = await realpath(path);
    const lock = await lockOf(resolved);
    return new DataFolder(resolved, await idKeptIn(join(resolved, 'id')), lock);
  }

  async close(): Promise<void> {
    await new Promise<void>(resolve => this.lock.close(() => resolve()));
  }
}

function lockOf(path: string): Promise<Server> {
  const name = `tenfold-agent-${createHash('sha256').update(path).digest('hex').slice(0, 32)}`;
  return new Promise((resolve, reject) => {
    const server = createServer(socket => socket.destroy());
    server.once('error', error =>
      reject(new FolderInUseError(`another agent works in ${path}; give each its own --data-dir`, {cause: error})),
    );
    server.listen({path: `\0${name}`}, () => resolve(server));
    server.unref();
  });
}
