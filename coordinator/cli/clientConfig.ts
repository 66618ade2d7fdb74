import {readFileSync} from 'node:fs';
import * as path from 'node:path';
import {ConfigError, type ConfigProblem, type Folders, resolveSettings, type Sources, setting} from '../../shared/config.js';
import {filePath, type HostPort, hostPort, parseHostPort} from '../../shared/settings.js';
import {type ClientTlsFiles, pairOf} from '../../shared/tls.js';

/** Where the coordinator is, and how to speak to it. */
export interface ClientConfig {
  readonly address: HostPort;
  readonly tls: ClientTlsFiles | undefined;
  /** How long to try while nobody answers: long where there is reason to expect that somebody will. */
  readonly patienceMs: number;
}

/** A `tenfold up` that runs starts its coordinator again within seconds; one that was named may be taking over from another. */
const PATIENCE_MS = {running: 20_000, named: 10_000, guessed: 2000} as const;

export const clientSettings = {
  address: setting<HostPort | undefined>({
    summary: 'the coordinator (default: that of a running `tenfold up`, else 127.0.0.1:7070)',
    kind: hostPort(),
    fallback: undefined,
    placeholder: 'host:port',
  }),
  tlsCa: setting<string | undefined>({
    summary: "certificate of the authority that signed the coordinator's; switches TLS on",
    kind: filePath(),
    fallback: undefined,
    placeholder: 'file',
  }),
  tlsCert: setting<string | undefined>({
    summary: 'certificate to show to the coordinator (mTLS)',
    kind: filePath(),
    fallback: undefined,
    placeholder: 'file',
  }),
  tlsKey: setting<string | undefined>({summary: 'its private key', kind: filePath(), fallback: undefined, placeholder: 'file'}),
};

export const DEFAULT_ADDRESS: HostPort = {host: '127.0.0.1', port: 7070};

/** Throws `ConfigError` with every problem. */
export function resolveClientConfig(sources: Sources, folders: Folders): ClientConfig {
  const {address, tlsCa, tlsCert, tlsKey} = resolveSettings(clientSettings, 'client', sources);
  const problems: ConfigProblem[] = [];
  const identity = pairOf(tlsCert, tlsKey, '--tls-cert', '--tls-key', problems);
  if (problems.length > 0) throw new ConfigError(problems);
  const tls = tlsCa === undefined && identity === undefined ? undefined : {ca: tlsCa, identity};
  if (address !== undefined) return {address, tls, patienceMs: PATIENCE_MS.named};
  const running = addressOfRunningUp(folders);
  if (running !== undefined) return {address: running, tls, patienceMs: PATIENCE_MS.running};
  return {address: DEFAULT_ADDRESS, tls, patienceMs: PATIENCE_MS.guessed};
}

/** Where `tenfold up` tells other commands of this user that it runs. */
export function upRecordPath(folders: Folders): string {
  return path.join(folders.runtime, 'up.json');
}

/** The address that a `tenfold up` of this user left, if that process is still there. */
function addressOfRunningUp(folders: Folders): HostPort | undefined {
  try {
    const record = JSON.parse(readFileSync(upRecordPath(folders), 'utf8')) as {address?: unknown; pid?: unknown};
    if (typeof record.address !== 'string' || typeof record.pid !== 'number' || !isAlive(record.pid)) return undefined;
    return parseHostPort(record.address);
  } catch {
    // No file, or a half-written one: nobody to be found there.
    return undefined;
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
