import * as path from 'node:path';
import {ConfigError, type ConfigProblem, type Folders, resolveSettings, type Sources, setting} from '../shared/config.js';
import {LOG_LEVELS, type LogLevel} from '../shared/logLevel.js';
import {isLoopback} from '../shared/loopback.js';
import {duration, filePath, type HostPort, hostPort, listOf, oneOf, showHostPort, text, wholeNumber} from '../shared/settings.js';
import {pairOf, type ServerTlsFiles} from '../shared/tls.js';
import type {RateLimit} from './api/rateCap.js';
import {DEFAULT_POLICY, type Policy} from './core/snapshot.js';

/** Everything that a coordinator can be told, complete. */
export interface CoordinatorConfig {
  readonly listen: HostPort;
  readonly tls: ServerTlsFiles | undefined;
  readonly etcd: EtcdConfig;
  /** Shards, checkpoints, artifacts, and the journal of events. */
  readonly dataDir: string;
  readonly policy: Policy;
  readonly rateLimit: RateLimit;
  /** How long calls may go on when the coordinator is told to stop. */
  readonly stopGraceMs: number;
  readonly logLevel: LogLevel;
  readonly logFormat: 'text' | 'json';
}

export interface EtcdConfig {
  readonly endpoints: readonly HostPort[];
  /** Several clusters can share an etcd, each under a prefix of its own. */
  readonly prefix: string;
  readonly tls: {readonly ca: string; readonly identity: {readonly cert: string; readonly key: string} | undefined} | undefined;
  /** After so long without a sign of life another coordinator takes over. */
  readonly leaderTtlMs: number;
}

const optionalFile = (summary: string) =>
  setting<string | undefined>({summary, kind: filePath(), fallback: undefined, placeholder: 'file'});

export const coordinatorSettings = {
  listen: setting<HostPort>({
    summary: 'where to serve; without TLS only on this machine (127.0.0.1, ::1, localhost)',
    kind: hostPort(),
    fallback: {host: '127.0.0.1', port: 7070},
    placeholder: 'host:port',
  }),
  tlsCert: optionalFile('certificate of this coordinator; switches TLS on'),
  tlsKey: optionalFile('its private key'),
  tlsClientCa: optionalFile('let only clients and agents in that show a certificate of this authority (mTLS)'),
  etcdEndpoints: setting<readonly HostPort[]>({
    summary: 'where etcd is; several separated by commas',
    kind: listOf(hostPort()),
    fallback: [{host: '127.0.0.1', port: 2379}],
    placeholder: 'host:port,…',
  }),
  etcdPrefix: setting<string>({summary: 'prefix of all keys', kind: text(), fallback: 'tenfold', placeholder: 'text'}),
  etcdCa: optionalFile("certificate of the authority that signed etcd's; switches TLS towards etcd on"),
  etcdCert: optionalFile('certificate to show to etcd'),
  etcdKey: optionalFile('its private key'),
  leaderTtl: setting<number>({
    summary: 'how long a coordinator that went silent stays leader',
    kind: duration(2000, 60_000),
    fallback: 3000,
    placeholder: 'duration',
  }),
  dataDir: setting<string | undefined>({
    summary: 'folder for shards, checkpoints, artifacts and events; coordinators of one cluster share it',
    kind: filePath(),
    fallback: undefined,
    placeholder: 'folder',
  }),
  nodeTimeout: setting<number>({
    summary: 'how long a node may be silent before its attempts are given up',
    kind: duration(1000, 86_400_000),
    fallback: DEFAULT_POLICY.nodeTimeoutMs,
    placeholder: 'duration',
  }),
  rateLimit: setting<number>({
    summary: 'unary calls a second that one address may make',
    kind: wholeNumber(1, 1_000_000),
    fallback: 200,
    placeholder: 'n',
  }),
  stopGrace: setting<number>({
    summary: 'how long calls may go on after SIGTERM',
    kind: duration(0, 600_000),
    fallback: 2000,
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

/** A complete config from flags, environment, file and defaults. Throws `ConfigError` with every problem. */
export function resolveCoordinatorConfig(sources: Sources, folders: Folders): CoordinatorConfig {
  const values = resolveSettings(coordinatorSettings, 'coordinator', sources);
  const problems: ConfigProblem[] = [];
  const tls = pairOf(values.tlsCert, values.tlsKey, '--tls-cert', '--tls-key', problems);
  const etcdIdentity = pairOf(values.etcdCert, values.etcdKey, '--etcd-cert', '--etcd-key', problems);
  if (values.tlsClientCa !== undefined && tls === undefined)
    problems.push({where: '--tls-client-ca', message: 'needs --tls-cert and --tls-key: clients show certificates only over TLS'});
  if (etcdIdentity !== undefined && values.etcdCa === undefined)
    problems.push({where: '--etcd-cert', message: 'needs --etcd-ca, the authority of etcd itself'});
  if (tls === undefined && !isLoopback(values.listen.host)) problems.push(opensToTheNetwork(values.listen));
  if (!/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/.test(values.etcdPrefix))
    problems.push({
      where: '--etcd-prefix',
      message: `must be a plain path such as tenfold or team/tenfold, not ${JSON.stringify(values.etcdPrefix)}`,
    });
  if (problems.length > 0) throw new ConfigError(problems);
  return {
    listen: values.listen,
    tls: tls && {...tls, clientCa: values.tlsClientCa},
    etcd: {
      endpoints: values.etcdEndpoints,
      prefix: values.etcdPrefix,
      tls: values.etcdCa === undefined ? undefined : {ca: values.etcdCa, identity: etcdIdentity},
      leaderTtlMs: values.leaderTtl,
    },
    dataDir: values.dataDir ?? path.join(folders.data, 'coordinator'),
    policy: {...DEFAULT_POLICY, nodeTimeoutMs: values.nodeTimeout},
    rateLimit: {perSecond: values.rateLimit, burst: 2 * values.rateLimit},
    stopGraceMs: values.stopGrace,
    logLevel: values.logLevel,
    logFormat: values.logFormat,
  };
}

function opensToTheNetwork(listen: HostPort): ConfigProblem {
  return {
    where: '--listen',
    message:
      `${showHostPort(listen)} can be reached from other machines, and without TLS anyone there could start trainings and read data; ` +
      'give --tls-cert and --tls-key (and --tls-client-ca, so that only your own clients and agents are let in), or listen on 127.0.0.1',
  };
}
