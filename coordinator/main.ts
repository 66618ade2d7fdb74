import {randomUUID} from 'node:crypto';
import {mkdir} from 'node:fs/promises';
import {hostname} from 'node:os';
import {systemClock} from '../shared/clock.js';
import {createLog, type Log} from '../shared/log.js';
import {packageVersion} from '../shared/packageRoot.js';
import {showHostPort} from '../shared/settings.js';
import {serverCredentials} from '../shared/tls.js';
import {DirectoryStore} from './adapters/directoryStore.js';
import {etcdClient} from './adapters/etcdClient.js';
import {Keys} from './adapters/etcdKeys.js';
import {EtcdLeadership} from './adapters/etcdLeadership.js';
import {EtcdStore} from './adapters/etcdStore.js';
import {DirectoryJournalFiles} from './adapters/journalFiles.js';
import {agentService} from './api/agentService.js';
import {ApiServer} from './api/server.js';
import {Checkpoints} from './checkpoints.js';
import {ClusterState} from './clusterState.js';
import type {CoordinatorConfig} from './config.js';
import {DatasetRegistry} from './datasets/registry.js';
import {readEtcdTls} from './etcdTls.js';
import {FencedStore} from './fencedStore.js';
import {Journal} from './journal.js';
import {Loop} from './loop.js';
import type {Leadership} from './ports.js';
import {RunArtifacts} from './runArtifacts.js';
import {Sessions} from './sessions.js';
import {takeSnapshot} from './takeSnapshot.js';
import {Uploads} from './uploads.js';

/** What a test may want to replace or to know. */
export interface Surroundings {
  readonly log?: Log;
  /** It serves; the port is another than that of the config when that was 0. */
  readonly onServing?: (port: number) => void;
}

/**
 * One coordinator, until `signal` aborts and it has stopped tidily. Throws what makes it impossible to start: files of TLS that do not do, a
 * data folder that cannot be written, an address that is taken.
 *
 * The order of starting: the mirror of the store is complete before anything is served or decided. The order of stopping: nobody new is let
 * in, calls end, nothing more is decided, and only then is leadership given up, so that whoever leads next finds nothing half done.
 */
export async function runCoordinator(
  config: CoordinatorConfig,
  signal: AbortSignal,
  {log = logOf(config), onServing}: Surroundings = {},
): Promise<void> {
  const clock = systemClock;
  const credentials = serverCredentials(config.tls);
  const tls = readEtcdTls(config.etcd.tls);
  await makeFolder(config.dataDir);
  const objects = new DirectoryStore(config.dataDir);
  await objects.removeAbandonedPuts(clock.now(), log);

  const client = etcdClient({
    endpoints: config.etcd.endpoints.map(endpoint => `${tls === undefined ? 'http' : 'https'}://${showHostPort(endpoint)}`),
    tls,
  });
  const keys = new Keys(config.etcd.prefix);
  const store = new EtcdStore(client, clock);
  const name = `${hostname()}-${process.pid}-${randomUUID().slice(0, 4)}`;
  const leadership = new EtcdLeadership({
    client,
    key: keys.leader,
    name,
    clock,
    log,
    ttlSeconds: Math.ceil(config.etcd.leaderTtlMs / 1000),
  });
  const state = new ClusterState({store, keys, clock, log});
  const fenced = new FencedStore(store, leadership, state);
  const journal = new Journal({files: new DirectoryJournalFiles(config.dataDir), leadership, clock});
  const sessions = new Sessions({state, fenced, leadership, journal, clock, log, coordinatorVersion: packageVersion});
  const checkpoints = new Checkpoints({state, fenced, leadership, objects, journal, clock, log});
  const artifacts = new RunArtifacts({state, fenced, objects, clock});
  const uploads = new Uploads({state, leadership, objects, checkpoints, artifacts});
  const datasets = new DatasetRegistry({state, store: fenced, objects, clock, log});
  const {policy, rateLimit} = config;
  const loop = new Loop({state, sessions, fenced, leadership, clock, log, policy});
  const snapshot = () => takeSnapshot(state, sessions.nodeViews(), loop.refused);
  const server = new ApiServer({
    api: {state, store: fenced, leadership, journal, objects, datasets, snapshot, policy, clock, log},
    agents: agentService({sessions, uploads, checkpoints, objects}),
    rateLimit,
  });

  const deciding = new AbortController();
  const leading = new AbortController();
  const mirroring = new AbortController();
  const mirror = state.run(mirroring.signal);
  const lead = leadership.run(leading.signal);
  try {
    await state.ready(signal);
    await leaderKnown(leadership, signal);
    if (signal.aborted) return;
    const port = await server.listen(config.listen, credentials);
    log.info('coordinator serves', {address: showHostPort({...config.listen, port}), dataDir: config.dataDir, tls: tlsText(config)});
    onServing?.(port);
    if (config.tls !== undefined && config.tls.clientCa === undefined)
      log.warn('every client that trusts the certificate is let in; --tls-client-ca lets only your own in');
    const decisions = Promise.all([loop, datasets, checkpoints].map(each => each.run(deciding.signal)));
    await aborted(signal);
    log.info('coordinator is stopping');
    await server.close(config.stopGraceMs);
    deciding.abort();
    await decisions;
    await journal.close();
  } finally {
    deciding.abort();
    leading.abort();
    await lead;
    mirroring.abort();
    await mirror;
    client.close();
    log.info('coordinator stopped');
  }
}

function logOf({logLevel, logFormat}: CoordinatorConfig): Log {
  return createLog({level: logLevel, format: logFormat, component: 'coordinator'});
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, {recursive: true});
  } catch (cause) {
    throw new Error(`making the data folder ${folder}`, {cause});
  }
}

/** Until this process leads or another one does: served earlier, the first to come would be sent away for nothing. */
function leaderKnown(leadership: Leadership, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const look = (): void => {
      if (leadership.fence() === undefined && !leadership.ledByAnother() && !signal.aborted) return;
      unsubscribe();
      signal.removeEventListener('abort', look);
      resolve();
    };
    const unsubscribe = leadership.onChange(look);
    signal.addEventListener('abort', look);
    look();
  });
}

function tlsText({tls}: CoordinatorConfig): string {
  if (tls === undefined) return 'off';
  return tls.clientCa === undefined ? 'server' : 'mutual';
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), {once: true}));
}
