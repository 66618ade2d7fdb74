import {mkdir, mkdtemp, rm} from 'node:fs/promises';
import * as path from 'node:path';
import {Cli, type Clients, type Output} from '../../coordinator/cli/cli.js';
import {assembleSpec} from '../../coordinator/cli/jobFile.js';
import {LivePainter} from '../../coordinator/cli/render/livePainter.js';
import {run} from '../../coordinator/cli/run.js';
import {gpusOfMachine} from '../../coordinator/cli/up/gpusOfMachine.js';
import {readUpStatus} from '../../coordinator/cli/up/upStatus.js';
import {watchJob} from '../../coordinator/cli/watch/watchJob.js';
import {systemClock} from '../../shared/clock.js';
import type {Job} from '../../shared/gen/tenfold/v1/job.js';
import {type JobSpec, parseJobSpec} from '../../shared/jobSpec.js';
import {packageRoot} from '../../shared/packageRoot.js';
import {jobSpecToProto} from '../../shared/wire/job.js';
import {DEMO_HELP, type DemoArguments, type DemoCluster, demoCluster, parseArguments} from './arguments.js';
import {makeDemoDataset} from './dataset.js';

/**
 * `npm run demo`: makes the data set, starts a cluster as `tenfold up` does, submits a job and shows it as `tenfold submit --watch` does, and
 * fetches the results. Everything of the cluster lies in a folder that goes with it; the data set stays for the next run.
 */

const CACHE = path.join(packageRoot, '.cache/demo');
/** About 1,200 scenes are learnt well in a dozen short epochs. */
const SCENES = {trainScenes: 1200, valScenes: 200, seed: 1};

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());

try {
  process.exitCode = await demo(parseArguments(process.argv.slice(2)));
} catch (error) {
  if (!stop.signal.aborted) console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
if (stop.signal.aborted) {
  console.error('  stopped; all that it had started has ended');
  process.exitCode = 130;
}

async function demo(asked: DemoArguments): Promise<number> {
  if (asked.help) {
    console.log(DEMO_HELP);
    return 0;
  }
  const data = asked.data === undefined ? await scenes() : path.resolve(process.env.INIT_CWD ?? process.cwd(), asked.data);
  const cluster = demoCluster((await gpusOfMachine()).length);
  const spec = specOf([`data=${data}`, `gpus=${cluster.agents}`, ...asked.words]);
  return withCluster(cluster, async address => {
    const cli = new Cli({out: process.stdout, err: process.stderr, env: process.env, cwd: process.cwd(), signal: stop.signal});
    try {
      return await train(cli, cli.connect({address}), spec, cluster, asked);
    } finally {
      cli.close();
    }
  });
}

/** The demo's own data set, made at the first run. */
async function scenes(): Promise<string> {
  const painter = process.stderr.isTTY ? new LivePainter(process.stderr) : undefined;
  let shownPercent = -1;
  const onProgress = (done: number, total: number): void => {
    const percent = Math.floor((100 * done) / total);
    if (percent === shownPercent) return;
    shownPercent = percent;
    painter?.paint([], [`  making scenes of trousers, dresses, sandals, bags and boots  ${percent} %`]);
  };
  try {
    await mkdir(CACHE, {recursive: true});
    const {dataYaml} = await makeDemoDataset({dir: path.join(CACHE, 'scenes'), ...SCENES, onProgress, signal: stop.signal});
    return dataYaml;
  } finally {
    painter?.paint([], []);
    painter?.close();
  }
}

function specOf(words: readonly string[]): JobSpec {
  const assembled = assembleSpec({file: undefined, words, cwd: process.env.INIT_CWD ?? process.cwd()});
  const parsed = assembled.ok ? parseJobSpec(assembled.spec) : assembled;
  if (parsed.ok) return parsed.spec;
  throw new Error(`the job's spec is wrong\n${parsed.problems.map(({path: where, message}) => `  ${where}: ${message}`).join('\n')}`);
}

/** Runs `use` with a cluster, which is stopped and removed afterwards, whatever happens. */
async function withCluster({upFlags}: DemoCluster, use: (address: string) => Promise<number>): Promise<number> {
  await mkdir(CACHE, {recursive: true});
  const dataDir = await mkdtemp(path.join(CACHE, 'cluster-'));
  const stopUp = new AbortController();
  const said: string[] = [];
  const sink: Output = {write: text => said.push(text)};
  const args = ['up', ...upFlags, '--data-dir', dataDir, '--drain', '0s'];
  let isOver = false;
  const up = run(args, {out: sink, err: sink, env: process.env, cwd: process.cwd(), signal: stopUp.signal}).finally(() => {
    isOver = true;
  });
  try {
    while (readUpStatus(dataDir)?.ready !== true) {
      if (isOver) throw new Error(`the cluster did not start\n${said.join('')}`);
      stop.signal.throwIfAborted();
      await systemClock.sleep(20, stop.signal);
    }
    return await use(readUpStatus(dataDir)!.address);
  } finally {
    stopUp.abort();
    await up;
    await rm(dataDir, {recursive: true, force: true});
  }
}

async function train(cli: Cli, clients: Clients, spec: JobSpec, {agents}: DemoCluster, asked: DemoArguments): Promise<number> {
  const {style} = cli;
  cli.note(
    '',
    `  ${style.bold('Tenfold')} trains ${spec.model.arch} on ${agents === 1 ? 'one agent' : 'two agents'} of this machine. ${style.dim('Ctrl-C stops it and leaves nothing behind.')}`,
  );
  cli.note(`  ${style.dim(`another terminal can look on: npx tenfold ps · npx tenfold node ls   (at ${cli.address})`)}`, '');
  const job = await clients.jobs.createJob({spec: jobSpecToProto(spec), requestId: `demo-${process.pid}-${Date.now()}`});
  const code = await watchJob(cli, clients, job.name, {output: process.stderr, style: cli.errStyle, endingHints: false});
  const ended = await clients.jobs.getJob({name: job.name});
  if (code !== 0) {
    await run(['logs', job.name, '--tail', '20', '--address', cli.address!], cli.around);
    return code;
  }
  await fetchResults(cli, ended, asked.out);
  return 0;
}

async function fetchResults(cli: Cli, job: Job, out: string | undefined): Promise<void> {
  const id = job.name.replace('jobs/', '');
  const base = process.env.INIT_CWD ?? process.cwd();
  const folder = out === undefined ? path.join(packageRoot, 'tenfold-run', id) : path.resolve(base, out);
  const quiet: Output = {write: () => undefined};
  const code = await run(['artifact', 'get', job.name, '--out', folder, '--address', cli.address!], {...cli.around, out: quiet});
  if (code !== 0) throw new Error('the results could not be fetched');
  const shown = path.relative(base, folder).startsWith('..') ? folder : path.relative(base, folder);
  cli.print('');
  for (const [what, where] of [
    ['weights', 'weights/best.safetensors'],
    ['figures by epoch', 'results.csv'],
    ['the same, drawn', 'results.png'],
    ['val pictures with predicted boxes', 'val_pred/'],
  ]) {
    cli.print(`  ${what!.padEnd(35)}${path.join(shown, where!)}`);
  }
}
