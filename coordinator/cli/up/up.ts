import {execFile} from 'node:child_process';
import {createWriteStream} from 'node:fs';
import {mkdir, readFile} from 'node:fs/promises';
import {createServer} from 'node:net';
import {availableParallelism} from 'node:os';
import * as path from 'node:path';
import {promisify} from 'node:util';
import {systemClock} from '../../../shared/clock.js';
import {type Folders, flagOf} from '../../../shared/config.js';
import {type Node, NodeState} from '../../../shared/gen/tenfold/v1/cluster.js';
import {createLog} from '../../../shared/log.js';
import {packageRoot} from '../../../shared/packageRoot.js';
import {SupervisedEtcd} from '../../adapters/etcdProcess.js';
import type {Cli} from '../cli.js';
import {upRecordPath} from '../clientConfig.js';
import {EXIT} from '../exitCodes.js';
import {CommandFailure} from '../failure.js';
import {type AgentShare, agentShares} from './agentShares.js';
import {Child} from './child.js';
import {gpusOfMachine} from './gpusOfMachine.js';
import {summaryLines} from './summary.js';
import type {UpConfig} from './upConfig.js';
import {leftovers, readUpStatus, removeFile, type UpStatus, upStatusPath, writeJson} from './upStatus.js';

const READY_WITHIN_MS = 30_000;
/** Beside trainers memory is dear: with the default of 16 MB for young objects each process keeps some 30 MB more. */
const NODE_FLAGS = ['--max-semi-space-size=4'];
const STOP_COORDINATOR_MS = 6000;
/** Beyond its drain time, an agent needs a moment to end its ranks and to say farewell. */
const STOP_AGENT_MS = 8000;

/**
 * A whole cluster on this machine, until `cli.signal` aborts: a private etcd, a coordinator, and agents, each a process of its own that is
 * started again when it dies. They are stopped in the order agents, coordinator, etcd, so that each can still tell the next what it must.
 */
export async function runUp(cli: Cli, config: UpConfig, folders: Folders): Promise<void> {
  await waitForLeftovers(cli, config.dataDir);
  const shares = agentShares(config, {gpus: config.cpuSlots === undefined ? await gpusOfMachine() : [], cores: availableParallelism()});
  const logs = path.join(config.dataDir, 'logs');
  await mkdir(logs, {recursive: true, mode: 0o700});
  const up = new Up(cli, config, logs, folders);
  try {
    await up.start(shares);
    await aborted(cli.signal);
    cli.note('', cli.errStyle.dim('stopping; Ctrl-C once more kills everything at once'));
    cli.exitCode = EXIT.interrupted;
  } finally {
    await up.stop();
  }
}

class Up {
  private etcd: SupervisedEtcd | undefined;
  private coordinator: Child | undefined;
  private agents: Child[] = [];
  private address = '';
  private refresh: NodeJS.Timeout | undefined;
  private isReady = false;
  private written = '';
  private statusIsStale = false;
  private readonly killAll = (): void => {
    for (const child of [...this.agents, this.coordinator]) child?.kill();
  };

  constructor(
    private readonly cli: Cli,
    private readonly config: UpConfig,
    private readonly logs: string,
    private readonly folders: Folders,
  ) {}

  async start(shares: readonly AgentShare[]): Promise<void> {
    // The second Ctrl-C exits at once; etcd ends by its parent-death signal.
    process.on('exit', this.killAll);
    this.etcd = await this.startEtcd();
    this.address = `127.0.0.1:${this.config.port ?? (await freePort())}`;
    this.coordinator = await this.startChild('coordinator', 'coordinator', this.coordinatorFlags());
    this.agents = await Promise.all(shares.map(share => this.startChild(share.nodeId, 'agent', this.agentFlags(share))));
    this.noteStatus();
    this.refresh = setInterval(() => this.refreshStatus(), 500);
    writeJson(upRecordPath(this.folders), {address: this.address, pid: process.pid, dataDir: this.config.dataDir});
    const nodes = await this.untilReady(shares.length);
    if (this.cli.signal.aborted) return;
    this.isReady = true;
    this.noteStatus();
    this.cli.note(
      ...summaryLines({address: this.address, nodes, dataDir: this.config.dataDir, env: this.cli.around.env}, this.cli.errStyle),
    );
  }

  async stop(): Promise<void> {
    clearInterval(this.refresh);
    await Promise.all(this.agents.map(agent => agent.stop(this.config.drainMs + STOP_AGENT_MS)));
    await this.coordinator?.stop(STOP_COORDINATOR_MS);
    await this.etcd?.stop();
    process.off('exit', this.killAll);
    removeFile(upStatusPath(this.config.dataDir));
    if (readRecordPid(await contentOf(upRecordPath(this.folders))) === process.pid) removeFile(upRecordPath(this.folders));
  }

  private startEtcd(): Promise<SupervisedEtcd> {
    const stream = createWriteStream(path.join(this.logs, 'up.log'), {flags: 'a'});
    const log = createLog({level: this.config.logLevel, format: 'text', component: 'up', stream});
    return SupervisedEtcd.start({dataDir: path.join(this.config.dataDir, 'etcd'), logFile: path.join(this.logs, 'etcd.log'), log});
  }

  private async startChild(name: string, command: string, flags: Readonly<Record<string, string>>): Promise<Child> {
    const script = path.join(packageRoot, 'dist/coordinator/cli/main.js');
    const words = Object.entries(flags).flatMap(([flag, value]) => [flagOf(flag), value]);
    return Child.start({
      name,
      command: [...(await diesWithParent()), process.execPath, ...NODE_FLAGS, script, command, '--config', '/dev/null', ...words],
      env: withoutTls(this.cli.around.env),
      logFile: path.join(this.logs, `${name}.log`),
      onRestart: (how, pid) => {
        this.refreshStatus();
        this.cli.note(`${this.cli.errStyle.wait(`${name} ended (${how})`)} and was started again, pid ${pid}`);
      },
      onRestartFailed: (how, error) => {
        this.cli.note(`${this.cli.errStyle.wait(`${name} ended (${how})`)} and cannot be started again (${error.message}); trying on`);
      },
    });
  }

  private coordinatorFlags(): Record<string, string> {
    return {
      listen: this.address,
      etcdEndpoints: this.etcd!.endpoint,
      dataDir: path.join(this.config.dataDir, 'coordinator'),
      // Nobody is there to take over, and a busy machine must not cost leadership.
      leaderTtl: '5s',
      logLevel: this.config.logLevel,
    };
  }

  private agentFlags({nodeId, gpus, cpuSlots, threadsPerDevice}: AgentShare): Record<string, string> {
    return {
      coordinator: this.address,
      nodeId,
      nodeAddress: '127.0.0.1',
      dataDir: path.join(this.config.dataDir, 'agents', nodeId),
      threadsPerDevice: String(threadsPerDevice),
      drain: `${this.config.drainMs}ms`,
      logLevel: this.config.logLevel,
      ...(cpuSlots !== undefined && {cpuSlots: String(cpuSlots)}),
      ...(gpus !== undefined && {gpus: gpus.join(',')}),
    };
  }

  /** The nodes, once all of them are there. Throws, with the end of a log, when that does not come about. */
  private async untilReady(count: number): Promise<readonly Node[]> {
    const {cluster} = this.cli.connect({address: this.address});
    const deadline = systemClock.monotonic() + READY_WITHIN_MS;
    while (!this.cli.signal.aborted) {
      try {
        const {nodes} = await cluster.listNodes({}, {patienceMs: 0, signal: this.cli.signal});
        const ready = nodes.filter(({state}) => state === NodeState.NODE_STATE_READY);
        if (ready.length >= count) return nodes;
      } catch {
        // Not yet: it is being started, or started again.
      }
      if (systemClock.monotonic() > deadline) throw await this.notReady();
      await systemClock.sleep(50, this.cli.signal);
    }
    return [];
  }

  private async notReady(): Promise<CommandFailure> {
    const logs = [this.coordinator, ...this.agents].filter(child => child !== undefined).map(child => child.logFile);
    const ends = await Promise.all(
      logs.map(async file => `${file}:\n    ${(await contentOf(file)).trimEnd().split('\n').slice(-4).join('\n    ')}`),
    );
    return new CommandFailure(
      EXIT.failed,
      [`not everything came up within ${READY_WITHIN_MS / 1000} s; the logs end with`, ...ends].join('\n  '),
    );
  }

  /** A disk that takes nothing for a while ends nothing that runs: the next look writes what has changed. */
  private refreshStatus(): void {
    try {
      this.noteStatus();
      this.statusIsStale = false;
    } catch (error) {
      if (!this.statusIsStale)
        this.cli.note(`${upStatusPath(this.config.dataDir)} cannot be written (${(error as Error).message}); trying on`);
      this.statusIsStale = true;
    }
  }

  private noteStatus(): void {
    if (this.etcd === undefined || this.coordinator === undefined) return;
    const status: UpStatus = {
      pid: process.pid,
      address: this.address,
      dataDir: this.config.dataDir,
      ready: this.isReady,
      etcd: {pid: this.etcd.pid, endpoint: this.etcd.endpoint},
      coordinator: {pid: this.coordinator.pid},
      agents: this.agents.map(({name, pid}) => ({nodeId: name, pid})),
    };
    const text = JSON.stringify(status);
    if (text === this.written) return;
    writeJson(upStatusPath(this.config.dataDir), status);
    this.written = text;
  }
}

/** An earlier `up` on the same folder: one that runs is an error; children of a killed one are about to end, and are waited for. */
async function waitForLeftovers(cli: Cli, dataDir: string): Promise<void> {
  const status = readUpStatus(dataDir);
  if (status === undefined) return;
  const {up} = leftovers(status);
  if (up !== undefined)
    throw new CommandFailure(
      EXIT.failed,
      `tenfold is up already in ${dataDir} (pid ${up}, at ${status.address})`,
      'other commands find it by themselves; --data-dir starts a second one elsewhere',
    );
  const deadline = systemClock.monotonic() + READY_WITHIN_MS;
  for (let {children} = leftovers(status); children.length > 0; {children} = leftovers(status)) {
    if (cli.signal.aborted) throw new CommandFailure(EXIT.interrupted);
    if (systemClock.monotonic() > deadline)
      throw new CommandFailure(
        EXIT.failed,
        `processes of an earlier \`tenfold up\` do not end: ${children.join(', ')}`,
        'end them with kill -9',
      );
    await systemClock.sleep(50, cli.signal);
  }
}

/** 7070 if it is free: then no other command needs to be told. Else one below those that the kernel gives to outgoing connections. */
async function freePort(): Promise<number> {
  for (let candidate = 7070; candidate < 7170; candidate++) if (await isFree(candidate)) return candidate;
  throw new CommandFailure(EXIT.failed, 'all ports from 7070 to 7169 are taken', '--port names another');
}

function isFree(candidate: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(candidate, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

async function diesWithParent(): Promise<string[]> {
  try {
    await promisify(execFile)('setpriv', ['--version']);
    return ['setpriv', '--pdeathsig', 'TERM', '--'];
  } catch {
    // Not on this machine: a killed `up` then leaves its children to be found by the next.
    return [];
  }
}

/** On loopback everything is plain text, whatever a real cluster's clients are told. */
function withoutTls(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^TENFOLD_(TLS|ETCD)_/.test(name)));
}

async function contentOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch(() => '');
}

function readRecordPid(record: string): number | undefined {
  try {
    return (JSON.parse(record) as {pid?: number}).pid;
  } catch {
    return undefined;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise(resolve => signal.addEventListener('abort', () => resolve(), {once: true}));
}
