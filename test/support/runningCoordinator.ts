import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {resolveCoordinatorConfig} from '../../coordinator/config.js';
import {runCoordinator} from '../../coordinator/main.js';
import {foldersOf} from '../../shared/config.js';
import {silentLog} from '../../shared/log.js';

/** A coordinator with all its parts, in this process, upon a real etcd, at a port of its own. */
export interface RunningCoordinator {
  readonly port: number;
  readonly address: string;
  /** Stops it as SIGTERM does. Its data and records stay. */
  stop(): Promise<void>;
  /** Stops it and removes its data folder. */
  remove(): Promise<void>;
}

export interface CoordinatorPlace {
  readonly etcd: string;
  /** Records of different tests lie apart in one etcd. */
  readonly prefix: string;
  readonly dataDir?: string;
  readonly port?: number;
  /** As on the command line. */
  readonly flags?: Readonly<Record<string, string>>;
}

export async function startRunningCoordinator(place: CoordinatorPlace): Promise<RunningCoordinator> {
  const folder = place.dataDir ?? (await mkdtemp(join(tmpdir(), 'tenfold-coordinator-')));
  const flags = {
    listen: `127.0.0.1:${place.port ?? 0}`,
    etcdEndpoints: place.etcd,
    etcdPrefix: place.prefix,
    dataDir: folder,
    leaderTtl: '2s',
    stopGrace: '200ms',
    ...place.flags,
  };
  const config = resolveCoordinatorConfig({flags, env: {}, file: undefined}, foldersOf({}, folder));
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();
  const port = await new Promise<number>((resolve, reject) => {
    running = runCoordinator(config, stopping.signal, {log: silentLog, onServing: resolve});
    running.catch(reject);
  });
  const stop = async (): Promise<void> => {
    stopping.abort();
    await running;
  };
  return {
    port,
    address: `127.0.0.1:${port}`,
    stop,
    remove: async () => {
      await stop();
      await rm(folder, {recursive: true, force: true});
    },
  };
}
