import {type ChildProcess, execFile, spawn} from 'node:child_process';
import {once} from 'node:events';
import {mkdir, open, readFile} from 'node:fs/promises';
import {createServer, type Server} from 'node:net';
import {dirname} from 'node:path';
import {promisify} from 'node:util';
import {type Clock, systemClock} from '../../shared/clock.js';
import type {Log} from '../../shared/log.js';
import {Backoff} from '../backoff.js';

export interface EtcdProcessOptions {
  readonly dataDir: string;
  readonly logFile: string;
  readonly log: Log;
  /** Default: TENFOLD_ETCD, else `etcd` on the PATH. */
  readonly binary?: string;
  /** Default: free ones, found anew when somebody else takes them before etcd does. */
  readonly ports?: EtcdPorts;
}

export interface EtcdPorts {
  readonly client: number;
  readonly peer: number;
}

const READY_WITHIN_MS = 20_000;
const STOP_WITHIN_MS = 5000;
const TRIES_FOR_PORTS = 5;

/** A private etcd of one member, on loopback, with its own data folder; fsync stays on. */
export class EtcdProcess {
  /** Resolves when the process is gone. */
  readonly exited: Promise<void>;

  private constructor(
    private readonly child: ChildProcess,
    readonly ports: EtcdPorts,
  ) {
    this.exited = once(child, 'exit').then(() => undefined);
  }

  get endpoint(): string {
    return `127.0.0.1:${this.ports.client}`;
  }

  get pid(): number {
    return this.child.pid!;
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves once it serves. Throws, with the end of its log, when it does not come up. */
  static async start(options: EtcdProcessOptions): Promise<EtcdProcess> {
    const binary = options.binary ?? process.env.TENFOLD_ETCD ?? 'etcd';
    options.log.debug('starting etcd', {binary, version: await versionOf(binary), data: options.dataDir});
    for (let attempt = 1; ; attempt++) {
      const etcd = await EtcdProcess.spawn(binary, options.ports ?? (await freePorts()), options);
      if (await etcd.becomesReady()) return etcd;
      await etcd.stop();
      const told = await endOfLog(options.logFile);
      const portTaken = options.ports === undefined && /address already in use/.test(told);
      if (!portTaken || attempt === TRIES_FOR_PORTS) throw new Error(`etcd did not come up; the end of ${options.logFile}:\n${told}`);
    }
  }

  /** Ends it tidily, within a few seconds. */
  async stop(): Promise<void> {
    if (!this.isRunning) return;
    this.child.kill('SIGTERM');
    const gone = new AbortController();
    void this.exited.then(() => gone.abort());
    await systemClock.sleep(STOP_WITHIN_MS, gone.signal);
    if (this.isRunning) await this.kill();
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }

  private static async spawn(binary: string, ports: EtcdPorts, {dataDir, logFile}: EtcdProcessOptions): Promise<EtcdProcess> {
    await mkdir(dataDir, {recursive: true, mode: 0o700});
    await mkdir(dirname(logFile), {recursive: true});
    const logHandle = await open(logFile, 'a');
    try {
      const [command, ...args] = [...(await diesWithParent()), binary, ...argumentsFor(dataDir, ports)];
      // A group of its own: Ctrl-C in the terminal reaches us alone, and we stop it last.
      const child = spawn(command!, args, {stdio: ['ignore', logHandle.fd, logHandle.fd], detached: true, env: {PATH: process.env.PATH}});
      await once(child, 'spawn');
      return new EtcdProcess(child, ports);
    } finally {
      await logHandle.close();
    }
  }

  private async becomesReady(): Promise<boolean> {
    const deadline = systemClock.monotonic() + READY_WITHIN_MS;
    while (this.isRunning && systemClock.monotonic() < deadline) {
      if (await isHealthy(this.endpoint)) return true;
      await Promise.race([systemClock.sleep(20), this.exited]);
    }
    return false;
  }
}

/** Keeps a private etcd running: after a crash it is started again, on the same data and the same ports, until it is stopped. */
export class SupervisedEtcd {
  private stopping = new AbortController();
  private readonly watching: Promise<void>;

  private constructor(
    private current: EtcdProcess,
    private readonly options: EtcdProcessOptions,
    private readonly clock: Clock,
  ) {
    this.watching = this.watch();
  }

  static async start(options: EtcdProcessOptions, clock: Clock = systemClock): Promise<SupervisedEtcd> {
    const binary = options.binary ?? process.env.TENFOLD_ETCD ?? 'etcd';
    const current = await EtcdProcess.start(options);
    options.log.info('etcd is up', {version: await versionOf(binary), endpoint: current.endpoint, pid: current.pid});
    return new SupervisedEtcd(current, options, clock);
  }

  get endpoint(): string {
    return this.current.endpoint;
  }

  get pid(): number {
    return this.current.pid;
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.watching;
    await this.current.stop();
  }

  private async watch(): Promise<void> {
    const {signal} = this.stopping;
    const {log} = this.options;
    const stopped = new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), {once: true}));
    const backoff = new Backoff(this.clock);
    for (;;) {
      await Promise.race([this.current.exited, stopped]);
      if (signal.aborted) return;
      log.warn('etcd ended unasked; starting it again', {pid: this.current.pid});
      try {
        this.current = await EtcdProcess.start({...this.options, ports: this.current.ports});
        log.info('etcd is up again', {pid: this.current.pid});
        backoff.reset();
      } catch (error) {
        log.error('etcd could not be started again; trying on', {error});
        await backoff.wait(signal);
      }
    }
  }
}

function argumentsFor(dataDir: string, {client, peer}: EtcdPorts): string[] {
  const clientUrl = `http://127.0.0.1:${client}`;
  const peerUrl = `http://127.0.0.1:${peer}`;
  return [
    '--name=tenfold',
    `--data-dir=${dataDir}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=tenfold=${peerUrl}`,
    // A lone member waits one election timeout at each start before it elects itself.
    '--heartbeat-interval=50',
    '--election-timeout=500',
    '--auto-compaction-mode=periodic',
    '--auto-compaction-retention=1h',
    '--logger=zap',
  ];
}

/** What to put before the command so that etcd does not outlive a killed `tenfold up`; nothing where the machine lacks the tool. */
async function diesWithParent(): Promise<string[]> {
  try {
    await promisify(execFile)('setpriv', ['--version']);
    return ['setpriv', '--pdeathsig', 'TERM', '--'];
  } catch {
    return [];
  }
}

/** Throws, with what to do, when there is no etcd. */
async function versionOf(binary: string): Promise<string> {
  try {
    const {stdout} = await promisify(execFile)(binary, ['--version']);
    return stdout.split('\n')[0]!.replace('etcd Version: ', '');
  } catch (cause) {
    throw new Error(`no usable etcd at ${binary}: install etcd (Debian: etcd-server) or set TENFOLD_ETCD to its path`, {cause});
  }
}

async function isHealthy(endpoint: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${endpoint}/health`, {signal: AbortSignal.timeout(1000)});
    return ((await response.json()) as {health?: unknown}).health === 'true';
  } catch {
    return false;
  }
}

/** Both are held until both are known, so that they differ. */
async function freePorts(): Promise<EtcdPorts> {
  const servers = await Promise.all([listening(), listening()]);
  const [client, peer] = servers.map(server => (server.address() as {port: number}).port);
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))));
  return {client: client!, peer: peer!};
}

async function listening(): Promise<Server> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function endOfLog(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.trimEnd().split('\n').slice(-5).join('\n');
}
