import {type ChildProcess, execFile, spawn} from 'node:child_process';
import {mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import * as path from 'node:path';
import {type Channel, createChannel, createClient} from 'nice-grpc';
import {readUpStatus, type UpStatus} from '../../coordinator/cli/up/upStatus.js';
import {type ClusterServiceClient, ClusterServiceDefinition} from '../../shared/gen/tenfold/v1/cluster.js';
import {type DatasetServiceClient, DatasetServiceDefinition} from '../../shared/gen/tenfold/v1/dataset.js';
import {
  type Job,
  type JobEvent,
  type JobServiceClient,
  JobServiceDefinition,
  JobState,
  type WatchJobResponse,
} from '../../shared/gen/tenfold/v1/job.js';
import {buildOnce, DIST} from './build.js';
import {freePort} from './freePort.js';
import {isRunning, waitUntil} from './waitUntil.js';

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A whole cluster on this machine, each part a process of its own that a test may kill. It is used as a stranger would: by its API and its CLI. */
export interface Cluster {
  readonly folder: string;
  readonly address: string;
  readonly jobs: JobServiceClient;
  readonly nodes: ClusterServiceClient;
  readonly datasets: DatasetServiceClient;
  /** Pids of the parts as they are now. */
  status(): UpStatus;
  cli(...args: string[]): Promise<CliResult>;
  /** What its processes wrote, for failures. */
  logs(): string;
  stop(): Promise<void>;
}

export interface ClusterOptions {
  readonly agents?: number;
}

/** Starts `tenfold up` from the compiled code, its agents with a CPU slot each also where there are GPUs, with data, settings and runtime folders of its own. */
export async function startCluster({agents = 2}: ClusterOptions = {}): Promise<Cluster> {
  await buildOnce();
  const folder = mkdtempSync(path.join(tmpdir(), 'tenfold-cluster-'));
  const dataDir = path.join(folder, 'data');
  const runtime = path.join(folder, 'runtime');
  mkdirSync(runtime, {mode: 0o700});
  const env = {
    ...process.env,
    HOME: folder,
    XDG_RUNTIME_DIR: runtime,
    XDG_DATA_HOME: folder,
    XDG_STATE_HOME: folder,
    XDG_CONFIG_HOME: folder,
    XDG_CACHE_HOME: folder,
    NO_COLOR: '1',
  };
  const cli = path.join(DIST, 'coordinator/cli/main.js');
  const port = await freePort();
  const up = spawn(
    process.execPath,
    [
      ...[cli, 'up', '--agents', String(agents), '--data-dir', dataDir, '--port', String(port)],
      ...['--cpu-slots', '1', '--threads-per-device', '1'],
    ],
    {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  const output: string[] = [];
  up.stdout.on('data', (chunk: Buffer) => output.push(chunk.toString()));
  up.stderr.on('data', (chunk: Buffer) => output.push(chunk.toString()));

  const status = (): UpStatus => {
    const found = readUpStatus(dataDir);
    if (found === undefined) throw new Error(`no status of tenfold up in ${dataDir}:\n${output.join('')}`);
    return found;
  };
  const address = `127.0.0.1:${port}`;
  const channel: Channel = createChannel(address);
  const nodes = createClient(ClusterServiceDefinition, channel);
  const cluster: Cluster = {
    folder,
    address,
    jobs: createClient(JobServiceDefinition, channel),
    nodes,
    datasets: createClient(DatasetServiceDefinition, channel),
    status,
    cli: (...args) => run(cli, ['--address', address, ...args], env, folder),
    logs: () => [output.join(''), ...logFiles(path.join(dataDir, 'logs'))].join('\n'),
    stop: async () => {
      channel.close();
      await stopTidily(up);
      rmSync(folder, {recursive: true, force: true});
    },
  };
  try {
    await waitUntil('the nodes of tenfold up are ready', async () => {
      if (up.exitCode !== null) throw new Error(`tenfold up ended:\n${output.join('')}`);
      const listed = await nodes.listNodes({}).catch(() => undefined);
      return listed?.nodes.length === agents;
    });
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return cluster;
}

/** The ends of the parts' own logs. */
function logFiles(folder: string): string[] {
  return readdirSync(folder)
    .filter(name => name !== 'etcd.log')
    .sort()
    .map(name => `── ${name}\n${readFileSync(path.join(folder, name), 'utf8').trimEnd().split('\n').slice(-40).join('\n')}`);
}

function run(cli: string, args: readonly string[], env: NodeJS.ProcessEnv, cwd: string): Promise<CliResult> {
  return new Promise(resolve => {
    execFile(process.execPath, [cli, ...args], {env, cwd, maxBuffer: 64 * 1024 * 1024}, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({code, stdout, stderr});
    });
  });
}

async function stopTidily(up: ChildProcess): Promise<void> {
  if (up.exitCode !== null || up.signalCode !== null) return;
  const ended = new Promise<void>(resolve => up.once('exit', () => resolve()));
  up.kill('SIGTERM');
  await ended;
}

/** An end of the process's own, as a machine failure would be, and proof of it. */
export async function killAndWait(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await waitUntil(`process ${pid} is gone`, () => !isRunning(pid));
}

/** Waits until the job is in `state`; fails at once when it ended otherwise. */
export async function waitForState(cluster: Cluster, name: string, state: JobState): Promise<Job> {
  let job: Job | undefined;
  await waitUntil(
    `${name} is ${JobState[state]}`,
    async () => {
      job = await cluster.jobs.getJob({name}).catch(() => job);
      if (job !== undefined && job.state !== state && isFinal(job.state)) {
        throw new Error(`${name} is ${JobState[job.state]}: ${job.endReason?.message}\n${cluster.logs()}`);
      }
      return job?.state === state;
    },
    180_000,
  );
  return job!;
}

export function isFinal(state: JobState): boolean {
  return state === JobState.JOB_STATE_SUCCEEDED || state === JobState.JOB_STATE_FAILED || state === JobState.JOB_STATE_CANCELLED;
}

/** Everything that the journal holds of a job now; of the given types, or all of them. */
export async function eventsOf(cluster: Cluster, name: string, types: readonly string[]): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  for await (const {update} of cluster.jobs.watchJob({name, types: [...types], noFollow: true})) {
    if (update?.$case === 'event') events.push(update.value);
  }
  return events;
}

/** The first event after `sequence` that `matches`; waits for it, over restarts of the coordinator. */
export async function eventAfter(
  cluster: Cluster,
  name: string,
  sequence: bigint,
  types: readonly string[],
  matches: (event: JobEvent) => boolean = () => true,
): Promise<JobEvent> {
  const limit = AbortSignal.timeout(60_000);
  while (!limit.aborted) {
    try {
      for await (const {update} of cluster.jobs.watchJob({name, types: [...types]}, {signal: limit})) {
        if (update?.$case === 'event' && update.value.sequence > sequence && matches(update.value)) return update.value;
      }
      break;
    } catch {
      // The coordinator is away for a moment.
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }
  throw new Error(
    `${name} had no event of ${types.join(', ')} after ${sequence}\n${(await cluster.cli('explain', name)).stdout}${cluster.logs()}`,
  );
}

/** Follows a job from its first event on, across restarts of the coordinator, by its resume token alone. Ends when `signal` aborts. */
export async function follow(cluster: Cluster, name: string, types: readonly string[], signal: AbortSignal): Promise<WatchJobResponse[]> {
  const received: WatchJobResponse[] = [];
  let resumeToken = '';
  while (!signal.aborted) {
    try {
      for await (const response of cluster.jobs.watchJob({name, resumeToken, types: [...types]}, {signal})) {
        received.push(response);
        resumeToken = response.resumeToken;
      }
      return received;
    } catch {
      // The coordinator is away, or the test is over: the loop's condition tells.
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }
  return received;
}

/** The pids of the newest attempt's ranks, in the order of rank. */
export async function rankPids(cluster: Cluster, name: string): Promise<number[]> {
  const started = await eventsOf(cluster, name, ['started']);
  const attempt = Math.max(...started.map(event => event.attempt));
  const ofAttempt = started.filter(event => event.attempt === attempt).sort((a, b) => a.rank - b.rank);
  return ofAttempt.map(event => Number(event.data?.pid));
}

/** Every live process of the machine whose command line holds `text`. */
export async function processesWith(text: string): Promise<number[]> {
  const pids = readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number);
  return pids.filter(pid => pid !== process.pid && isRunning(pid) && commandLine(pid).includes(text));
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    // It has just ended.
    return '';
  }
}
