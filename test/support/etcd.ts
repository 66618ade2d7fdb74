import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {EtcdProcess} from '../../coordinator/adapters/etcdProcess.js';
import {silentLog} from '../../shared/log.js';

/** A real etcd in a temporary folder, for one test file. */
export interface TestEtcd {
  readonly endpoint: string;
  readonly pid: number;
  /** SIGKILL. It stays down until `restart`. */
  kill(): Promise<void>;
  /** Starts it again on the same data and ports, and resolves once it serves. */
  restart(): Promise<void>;
  /** Stops it and removes its folder. */
  stop(): Promise<void>;
}

export async function startEtcd(): Promise<TestEtcd> {
  const folder = await mkdtemp(join(tmpdir(), 'tenfold-etcd-'));
  const options = {dataDir: join(folder, 'data'), logFile: join(folder, 'etcd.log'), log: silentLog};
  let current = await EtcdProcess.start(options);
  return {
    endpoint: current.endpoint,
    get pid() {
      return current.pid;
    },
    kill: () => current.kill(),
    restart: async () => {
      await current.kill();
      current = await EtcdProcess.start({...options, ports: current.ports});
    },
    stop: async () => {
      await current.stop();
      await rm(folder, {recursive: true, force: true});
    },
  };
}
