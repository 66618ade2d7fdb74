import {createHash, randomUUID} from 'node:crypto';
import {link, mkdir, realpath, rename, rm} from 'node:fs/promises';
import {createServer, type Server} from 'node:net';
import {hostname} from 'node:os';
import {join} from 'node:path';
import {z} from 'zod';
import type {Log} from '../../shared/log.js';
import {idKeptIn, readIfThere, writeDurably} from './durableFiles.js';

/** Another agent works in the same folder, or another host does. */
export class FolderInUseError extends Error {
  override readonly name = 'FolderInUseError';
}

/** A machine, as far as it can be told from others. */
export interface Host {
  readonly hostname: string;
  /** Of /etc/machine-id; null where there is none, as in many containers. */
  readonly machineId: string | null;
}

const hostSchema: z.ZodType<Host> = z.object({hostname: z.string(), machineId: z.string().nullable()});

/**
 * An agent's own folder. Only one agent may work in it: the lock is a name in Linux's abstract socket namespace, which the kernel frees
 * with the process, so there is no stale one. That lock ends at the host: a folder that several hosts see belongs to the one that came first,
 * for another's agent would take running attempts for leftovers, and clear them away.
 */
export class DataFolder {
  private constructor(
    readonly path: string,
    /** Marks the processes that were started from here. */
    readonly id: string,
    private readonly lock: Server,
  ) {}

  static async open(path: string, log: Log, here?: Host): Promise<DataFolder> {
    await mkdir(path, {recursive: true});
    const resolved = await realpath(path);
    const lock = await lockOf(resolved);
    try {
      await claimForHost(resolved, here ?? (await thisHost()), log);
      return new DataFolder(resolved, await idKeptIn(join(resolved, 'id')), lock);
    } catch (error) {
      lock.close();
      throw error;
    }
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

async function thisHost(): Promise<Host> {
  const machineId = ((await readIfThere('/etc/machine-id').catch(() => undefined)) ?? '').trim();
  return {hostname: hostname(), machineId: /^[0-9a-f]{32}$/.test(machineId) ? machineId : null};
}

/**
 * Throws where the folder is another host's. A container is named anew each time, and a host that was set up anew has another machine-id; so
 * only both together tell of another host, and one alone is warned of.
 */
async function claimForHost(folder: string, here: Host, log: Log): Promise<void> {
  const path = join(folder, 'host');
  const owner = await ownerIn(path, here);
  const isNamedSo = owner.hostname === here.hostname;
  if (!isNamedSo && owner.machineId !== null && here.machineId !== null && owner.machineId !== here.machineId)
    throw new FolderInUseError(
      `${folder} belongs to the agent on host ${owner.hostname}, whose attempts would be cleared away; ` +
        `give each host its own --data-dir, such as ${folder}-${here.hostname}, or remove ${path} if that host is no more`,
    );
  if (!isNamedSo)
    log.warn('the data folder was last used under another host name; hosts that share one need a --data-dir each', {
      folder,
      lastHost: owner.hostname,
    });
  if (isNamedSo && owner.machineId === here.machineId) return;
  await writeDurably(path, JSON.stringify(here)).catch(error => log.warn('whose the data folder is could not be noted', {folder, error}));
}

/** Whose the folder is: that of `here`, if nobody's until now. Of several hosts that come at once, one gets it. */
async function ownerIn(path: string, here: Host): Promise<Host> {
  const known = parsedHost(await readIfThere(path));
  if (known !== undefined) return known;
  const mine = `${path}.${randomUUID()}`;
  await writeDurably(mine, JSON.stringify(here));
  try {
    await link(mine, path).catch(async error => {
      // Where it is there, another host was faster, or it is damaged; where there are no links, nobody can be waited for.
      if (error.code !== 'EEXIST' || parsedHost(await readIfThere(path)) === undefined) await rename(mine, path);
    });
  } finally {
    await rm(mine, {force: true});
  }
  return parsedHost(await readIfThere(path)) ?? here;
}

function parsedHost(text: string | undefined): Host | undefined {
  try {
    return text === undefined ? undefined : hostSchema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
