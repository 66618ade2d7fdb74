import {hostname} from 'node:os';
import {join} from 'node:path';
import {systemClock} from '../shared/clock.js';
import {AgentServiceDefinition} from '../shared/gen/tenfold/v1/agent.js';
import {clientFactory, openChannel} from '../shared/grpc.js';
import {createLog, type Log} from '../shared/log.js';
import type {NodeIdentity} from '../shared/observation.js';
import {packageVersion} from '../shared/packageRoot.js';
import {showHostPort} from '../shared/settings.js';
import {clientCredentials} from '../shared/tls.js';
import {DiskAttemptFolders} from './adapters/attemptFolders.js';
import {BlobCache} from './adapters/blobCache.js';
import {openBulkChannel} from './adapters/bulkChannel.js';
import {CheckpointUploads} from './adapters/checkpointUpload.js';
import {DataFolder} from './adapters/dataFolder.js';
import {findDevices} from './adapters/devices.js';
import {checkTrainerUsesGpus} from './adapters/gpuCheck.js';
import {addressOfNode, givenAddress} from './adapters/nodeAddress.js';
import {Nursery} from './adapters/nursery.js';
import {PlanStaging} from './adapters/planStaging.js';
import {endProcessesWithEnvironment} from './adapters/processTree.js';
import {HeldRendezvousPorts} from './adapters/rendezvousPorts.js';
import {TrainerProcesses} from './adapters/trainerProcess.js';
import type {AgentConfig} from './config.js';
import {SPAWN_MARK} from './core/launch.js';
import {AgentLoop} from './loop.js';
import {Outbox} from './outbox.js';
import {Session} from './session.js';

/** How long a stopping agent tries to tell the coordinator its last words. */
const FAREWELL_LIMIT_MS = 3000;

/**
 * One agent, until `signal` aborts and all its ranks have ended and are told of. Throws what makes it impossible to start: a folder that
 * is in use, a driver that does not answer, files of TLS that do not do.
 *
 * The order of starting: whatever an earlier agent left running is ended before anything is told to the coordinator, since it trusts
 * what we do not report to be gone.
 */
export async function runAgent(config: AgentConfig, signal: AbortSignal, log: Log = logOf(config)): Promise<void> {
  const clock = systemClock;
  const credentials = clientCredentials(config.tls);
  const folder = await DataFolder.open(config.dataDir, log);
  await endProcessesWithEnvironment([`${SPAWN_MARK}=${folder.id}`]);
  const identity = await identityOf(config, log);
  const outbox = await Outbox.open({dir: join(folder.path, 'outbox'), clock, log});
  const cache = await BlobCache.open({dir: join(folder.path, 'cache'), maxBytes: config.cacheBytes, clock, log});
  const nursery = await Nursery.open(log);
  const trainers = new TrainerProcesses(nursery, clock);
  await checkTrainerUsesGpus(
    identity.devices,
    {trainerPath: config.trainer, environment: process.env, folder: folder.path, spawnMark: folder.id},
    trainers,
  );
  const rendezvous = await HeldRendezvousPorts.open(identity.address, log, config.rendezvousPorts);
  const address = showHostPort(config.coordinator);
  const channel = openChannel(address, credentials);
  const bulkChannel = openBulkChannel(address, credentials);
  const bulk = clientFactory.create(AgentServiceDefinition, bulkChannel);
  const uploads = new CheckpointUploads({client: bulk, cache, clock, log});
  const loop = new AgentLoop({
    site: {
      nodeId: config.nodeId,
      devices: identity.devices,
      trainerPath: config.trainer,
      environment: process.env,
      spawnMark: folder.id,
      progressIntervalMs: config.progressIntervalMs,
      collectiveTimeoutS: Math.ceil(config.collectiveTimeoutMs / 1000),
    },
    termGraceMs: config.termGraceMs,
    trainers,
    staging: new PlanStaging({client: bulk, cache, clock, log}),
    uploads,
    folders: new DiskAttemptFolders(join(folder.path, 'attempts'), config.nodeId, log),
    rendezvous,
    events: outbox,
    clock,
    log,
    onReportChanged: () => session.reportChanged(),
  });
  const session = new Session({
    client: clientFactory.create(AgentServiceDefinition, channel),
    identity,
    outbox,
    clock,
    log,
    heartbeatMs: config.heartbeatMs,
    report: () => loop.report(),
    onDesired: plans => loop.setWanted(plans),
  });
  await loop.recover();
  log.info('agent started', {
    node: config.nodeId,
    address: identity.address,
    devices: identity.devices.map(({id, model}) => `${id} (${model})`).join(', '),
    coordinator: address,
  });

  const leaving = new AbortController();
  const talking = session.run(leaving.signal);
  await aborted(signal);
  log.info('agent is stopping: its ranks end');
  await loop.stop(config.drainMs);
  session.finish();
  await Promise.race([talking, clock.sleep(FAREWELL_LIMIT_MS, leaving.signal)]);
  leaving.abort();
  await talking;
  await uploads.close();
  await nursery.close();
  await rendezvous.close();
  await outbox.close();
  channel.close();
  bulkChannel.close();
  await folder.close();
  log.info('agent stopped');
}

function logOf({logLevel, logFormat}: AgentConfig): Log {
  return createLog({level: logLevel, format: logFormat, component: 'agent'});
}

async function identityOf(config: AgentConfig, log: Log): Promise<NodeIdentity> {
  const {CUDA_VISIBLE_DEVICES: cudaVisibleDevices} = process.env;
  if (cudaVisibleDevices !== undefined && config.cpuSlots === undefined)
    log.info('only GPUs that CUDA_VISIBLE_DEVICES names are offered', {cudaVisibleDevices});
  return {
    nodeId: config.nodeId,
    hostname: hostname(),
    agentVersion: packageVersion,
    address:
      config.nodeAddress === undefined
        ? await addressOfNode(config.coordinator, config.tls !== undefined, log)
        : await givenAddress(config.nodeAddress, log),
    devices: await findDevices({...config, cudaVisibleDevices}),
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), {once: true}));
}
