import {readFileSync} from 'node:fs';
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import * as path from 'node:path';
import {type JobEvent, JobState} from '../../shared/gen/tenfold/v1/job.js';
import {type Cluster, eventAfter, killAndWait, rankPids, startCluster, waitForState} from '../support/cluster.js';
import {writeTinyDataset} from '../support/tinyDataset.js';
import {barePair} from './barePair.js';
import {optionsOf, wholeNumber} from './options.js';
import {median} from './statistics.js';

/**
 * `npm run bench`: how long a user waits, on this machine, with a cluster of two agents of one CPU slot each and YOLOv8n.
 *
 * Times end when the later of the two ranks has taken its step, by the trainers' own clocks. Every run of one round is taken before the next
 * round begins, so that all figures see the same noise; the ratio is taken within rounds.
 */

const TRAIN = {epochs: 1000, batch: 16, imgsz: 160, seed: 7, val: false};
const HELP = `npm run bench -- [options]

Times of a coordinator and two agents: from submit to the first step, and from a killed rank to the next step.

  --rounds N      7, of which the medians count`;

const rounds = optionsOf(HELP, given => wholeNumber(given, 'rounds', 7));

interface Round {
  readonly bareStartMs: number;
  readonly submitMs: number;
  readonly recoverMs: number;
}

const folder = await mkdtemp(path.join(tmpdir(), 'tenfold-bench-'));
const cluster = await startCluster({agents: 2});
try {
  const memoryAtRest = memory();
  const yaml = await writeTinyDataset(path.join(folder, 'tiny'), {train: 256, size: 160});
  const added = await cluster.cli('dataset', 'add', yaml, '--name', 'tiny', '-o', 'name');
  if (added.code !== 0) throw new Error(`the data set could not be registered: ${added.stderr}`);
  const data = added.stdout.trim();
  await oneRound(data, yaml, 0);
  const results: Round[] = [];
  for (let i = 1; i <= rounds; i++) {
    results.push(await oneRound(data, yaml, i));
    console.error(`round ${i} of ${rounds}: ${JSON.stringify(results.at(-1))}`);
  }
  print(
    'a pair of bare trainers, from exec to first step',
    results.map(({bareStartMs}) => bareStartMs),
  );
  print(
    'submit to first step of both ranks',
    results.map(({submitMs}) => submitMs),
  );
  print(
    'SIGKILL of a rank to next step of both ranks',
    results.map(({recoverMs}) => recoverMs),
  );
  const ratio = median(results.map(({submitMs, bareStartMs}) => submitMs / bareStartMs));
  console.log(`submit to first step is ${ratio.toFixed(2)} times what a bare pair takes (median of ${rounds} rounds)`);
  console.log(`resident memory at the start: ${memoryAtRest}; after that: ${memory()}`);
} finally {
  await cluster.stop();
  await rm(folder, {recursive: true, force: true});
}

async function oneRound(data: string, yaml: string, round: number): Promise<Round> {
  const bareStartMs = await barePair(path.join(folder, `bare-${round}`), yaml, {...TRAIN, threads: 1});
  const submittedAt = Date.now();
  const {name} = await cluster.jobs.createJob({
    spec: {data, model: {arch: 'yolov8n'}, train: TRAIN, resources: {gpus: 2}, checkpoint: {everySteps: 20}},
    requestId: `bench-${process.pid}-${round}`,
  });
  const submitMs = (await firstStepOfBoth(cluster, name, 1)) - submittedAt;
  await eventAfter(cluster, name, 0n, ['checkpoint']);
  const pids = await rankPids(cluster, name);
  const killedAt = Date.now();
  await killAndWait(pids[1]!);
  const recoverMs = (await firstStepOfBoth(cluster, name, 2)) - killedAt;
  await cluster.jobs.cancelJob({name});
  await waitForState(cluster, name, JobState.JOB_STATE_CANCELLED);
  return {bareStartMs, submitMs, recoverMs};
}

/** When the later rank of an attempt took its first step, ms since the epoch. */
async function firstStepOfBoth(on: Cluster, name: string, attempt: number): Promise<number> {
  const isOf = (rank: number) => (event: JobEvent) => event.attempt === attempt && event.rank === rank;
  const firsts = await Promise.all([0, 1].map(rank => eventAfter(on, name, 0n, ['step'], isOf(rank))));
  return Math.max(...firsts.map(event => event.time!.getTime()));
}

function print(what: string, ms: readonly number[]): void {
  const [least, most] = [Math.min(...ms), Math.max(...ms)];
  console.log(`${what.padEnd(50)} median ${seconds(median(ms))}   (${seconds(least)} to ${seconds(most)})`);
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function memory(): string {
  const {coordinator, agents} = cluster.status();
  return `coordinator ${residentMb(coordinator.pid)} MB, agents ${agents.map(({pid}) => residentMb(pid)).join(' and ')} MB`;
}

function residentMb(pid: number): number {
  return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024);
}
