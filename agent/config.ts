import {hostname} from 'node:os';
import * as path from 'node:path';
import {ConfigError, type ConfigProblem, type Folders, resolveSettings, type Sources, setting} from '../shared/config.js';
import {isValidId} from '../shared/ids.js';
import {LOG_LEVELS, type LogLevel} from '../shared/logLevel.js';
import {packageRoot} from '../shared/packageRoot.js';
import {duration, filePath, type HostPort, hostPort, listOf, oneOf, text, wholeNumber} from '../shared/settings.js';
import type {ClientTlsFiles} from '../shared/tls.js';
import type {PortRange} from './adapters/rendezvousPorts.js';

/** Everything that an agent can be told, complete. */
export interface AgentConfig {
  readonly coordinator: HostPort;
  readonly tls: ClientTlsFiles | undefined;
  readonly nodeId: string;
  /** Where ranks of other nodes reach this node's; undefined: the address by which it reaches the coordinator, see `addressOfNode`. */
  readonly nodeAddress: string | undefined;
  /** Spool, attempts, cache: each agent its own, also where hosts share a home folder. */
  readonly dataDir: string;
  /** What shards and checkpoints may take on disk. */
  readonly cacheBytes: number;
  /** Indices of the GPUs to offer; undefined: all that CUDA_VISIBLE_DEVICES leaves visible. */
  readonly gpus: readonly number[] | undefined;
  /** Offer CPU slots instead of GPUs. */
  readonly cpuSlots: number | undefined;
  readonly threadsPerDevice: number | undefined;
  readonly nvidiaSmi: string;
  readonly trainer: string;
  /** Undefined: outside of what the kernel uses for outgoing connections. */
  readonly rendezvousPorts: PortRange | undefined;
  readonly heartbeatMs: number;
  /** How long a rank has to end by itself, once it is told to. */
  readonly termGraceMs: number;
  /** How long an agent that is told to stop waits for a last checkpoint; 0: it makes none. */
  readonly drainMs: number;
  readonly progressIntervalMs: number;
  /** How long ranks wait for each other. */
  readonly collectiveTimeoutMs: number;
  readonly logLevel: LogLevel;
  readonly logFormat: 'text' | 'json';
}

const optionalFile = (summary: string) =>
  setting<string | undefined>({summary, kind: filePath(), fallback: undefined, placeholder: 'file'});

export const agentSettings = {
  coordinator: setting<HostPort>({
    summary: 'the coordinator',
    kind: hostPort(),
    fallback: {host: '127.0.0.1', port: 7070},
    placeholder: 'host:port',
  }),
  tlsCa: optionalFile("certificate of the authority that signed the coordinator's; switches TLS on"),
  tlsCert: optionalFile('certificate to show to the coordinator (mTLS)'),
  tlsKey: optionalFile('its private key'),
  nodeId: setting<string | undefined>({
    summary: 'name of this node (default: the host name)',
    kind: text(),
    fallback: undefined,
    placeholder: 'id',
  }),
  nodeAddress: setting<string | undefined>({
    summary:
      "where other nodes' ranks reach this one's (default: the address by which it reaches the coordinator, or one of the network if that is this very host)",
    kind: text(),
    fallback: undefined,
    placeholder: 'address',
  }),
  dataDir: setting<string | undefined>({
    summary: 'folder for spool, attempts and cache, of this host alone',
    kind: filePath(),
    fallback: undefined,
    placeholder: 'folder',
  }),
  cacheGib: setting<number>({
    summary: 'what shards and checkpoints may take on disk, in GiB',
    kind: wholeNumber(1, 1_000_000),
    fallback: 50,
    placeholder: 'n',
  }),
  gpus: setting<readonly number[] | undefined>({
    summary: 'offer only these GPUs, by their index; several separated by commas (default: all, or those in CUDA_VISIBLE_DEVICES)',
    kind: listOf(wholeNumber(0, 1023)),
    fallback: undefined,
    placeholder: 'n,…',
  }),
  cpuSlots: setting<number | undefined>({
    summary: 'offer so many CPU slots instead of GPUs (default: the GPUs, or one slot where there is none)',
    kind: wholeNumber(1, 256),
    fallback: undefined,
    placeholder: 'n',
  }),
  threadsPerDevice: setting<number | undefined>({
    summary: "CPU threads of each device's rank (default: an equal share of the machine's)",
    kind: wholeNumber(1, 1024),
    fallback: undefined,
    placeholder: 'n',
  }),
  nvidiaSmi: setting<string>({summary: 'the nvidia-smi to ask', kind: text(), fallback: 'nvidia-smi', placeholder: 'program'}),
  trainer: setting<string>({
    summary: 'the trainer',
    kind: filePath(),
    fallback: path.join(packageRoot, 'agent', 'trainer', 'build', 'tenfold-trainer'),
    placeholder: 'file',
  }),
  rendezvousPorts: setting<string | undefined>({
    summary: "ports at which ranks meet (default: some outside of the kernel's range for outgoing connections)",
    kind: text(),
    fallback: undefined,
    placeholder: 'low-high',
  }),
  heartbeat: setting<number>({summary: 'longest silence', kind: duration(50, 60_000), fallback: 1000, placeholder: 'duration'}),
  termGrace: setting<number>({
    summary: 'how long a rank has to end by itself',
    kind: duration(0, 600_000),
    fallback: 3000,
    placeholder: 'duration',
  }),
  drain: setting<number>({
    summary: 'how long a stopping agent waits for a last checkpoint; 0s: none is made',
    kind: duration(0, 3_600_000),
    fallback: 30_000,
    placeholder: 'duration',
  }),
  progressInterval: setting<number>({
    summary: 'least time between two progress events of a rank',
    kind: duration(10, 60_000),
    fallback: 250,
    placeholder: 'duration',
  }),
  collectiveTimeout: setting<number>({
    summary: 'how long ranks wait for each other',
    kind: duration(1000, 86_400_000),
    fallback: 300_000,
    placeholder: 'duration',
  }),
  logLevel: setting<LogLevel>({summary: 'what is logged', kind: oneOf(...LOG_LEVELS), fallback: 'info', placeholder: 'level'}),
  logFormat: setting<'text' | 'json'>({
    summary: 'text for people, json for collectors',
    kind: oneOf('text', 'json'),
    fallback: 'text',
    placeholder: 'format',
  }),
};

const GIB = 1024 ** 3;

/** A complete config from flags, environment, file and defaults. Throws `ConfigError` with every problem. */
export function resolveAgentConfig(sources: Sources, folders: Folders, host = hostname()): AgentConfig {
  const values = resolveSettings(agentSettings, 'agent', sources);
  const problems: ConfigProblem[] = [];
  const nodeId = values.nodeId ?? nodeIdOfHost(host);
  if (!isValidId(nodeId))
    problems.push({where: '--node-id', message: `must be 1 to 63 of a-z, 0-9, "." and "-", not ${JSON.stringify(nodeId)}`});
  if ((values.tlsCert === undefined) !== (values.tlsKey === undefined))
    problems.push({where: '--tls-cert', message: 'a certificate and its key belong together: give both or neither'});
  const rendezvousPorts = portRange(values.rendezvousPorts, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  const identity = values.tlsCert === undefined || values.tlsKey === undefined ? undefined : {cert: values.tlsCert, key: values.tlsKey};
  return {
    coordinator: values.coordinator,
    tls: values.tlsCa === undefined && identity === undefined ? undefined : {ca: values.tlsCa, identity},
    nodeId,
    nodeAddress: values.nodeAddress,
    dataDir: values.dataDir ?? path.join(folders.data, 'agent'),
    cacheBytes: values.cacheGib * GIB,
    gpus: values.gpus,
    cpuSlots: values.cpuSlots,
    threadsPerDevice: values.threadsPerDevice,
    nvidiaSmi: values.nvidiaSmi,
    trainer: values.trainer,
    rendezvousPorts,
    heartbeatMs: values.heartbeat,
    termGraceMs: values.termGrace,
    drainMs: values.drain,
    progressIntervalMs: values.progressInterval,
    collectiveTimeoutMs: values.collectiveTimeout,
    logLevel: values.logLevel,
    logFormat: values.logFormat,
  };
}

/** A host's name as an id: lower case, without what ids cannot hold. */
function nodeIdOfHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, '')
    .slice(0, 63);
}

function portRange(value: string | undefined, problems: ConfigProblem[]): PortRange | undefined {
  if (value === undefined) return undefined;
  const match = /^([0-9]{1,5})-([0-9]{1,5})$/.exec(value);
  const [low, high] = match === null ? [0, 0] : [Number(match[1]), Number(match[2])];
  if (low >= 1 && low <= high && high <= 65_535) return {low, high};
  problems.push({where: '--rendezvous-ports', message: `must be two ports such as 29400-29499, not ${JSON.stringify(value)}`});
  return undefined;
}
