import {execFile, spawn} from 'node:child_process';
import {mkdir, readFile, writeFile} from 'node:fs/promises';
import * as path from 'node:path';
import {createInterface} from 'node:readline';
import type {Readable} from 'node:stream';
import {promisify} from 'node:util';
import {packageRoot} from '../../../shared/packageRoot.js';
import {parseTrainerEvent, type TrainerEvent} from '../../../shared/trainerContract.js';
import {freePort} from '../../support/freePort.js';
import {rankEnvironment} from '../../support/rankEnvironment.js';
import type {CurvePoint} from './curve.js';

const TRAINER = path.join(packageRoot, 'agent/trainer/build/tenfold-trainer');

export type EpochEvent = Extract<TrainerEvent, {type: 'epoch'}>;

export interface TrainingRun {
  /** Its config and its run folder go here. */
  readonly folder: string;
  readonly data: string;
  readonly arch: string;
  readonly train: Readonly<Record<string, unknown>>;
  readonly ranks: number;
  /** Threads of tensor operations, each rank. */
  readonly threads: number;
}

/** Trains with no Tenfold around it; rank 0's epochs as they come. Throws with what the trainer said when it fails. */
export async function* train(run: TrainingRun): AsyncGenerator<EpochEvent> {
  await mkdir(run.folder, {recursive: true});
  const config = path.join(run.folder, 'config.json');
  const contents = {
    data: {kind: 'yaml', path: run.data},
    model: {arch: run.arch},
    train: run.train,
    run: {dir: path.join(run.folder, 'run')},
    checkpoint: {every: {epochs: 1000}},
  };
  await writeFile(config, JSON.stringify(contents));
  const port = await freePort();
  const processes = Array.from({length: run.ranks}, (_, rank) => startRank(config, run, rank, port));
  try {
    let lastWords = '';
    for await (const line of createInterface({input: processes[0]!.stdio[3] as Readable})) {
      const parsed = parseTrainerEvent(line);
      if (!parsed.ok) throw new Error(`${parsed.message}: ${line}`);
      if (parsed.event.type === 'epoch') yield parsed.event;
      if (parsed.event.type === 'end') lastWords = parsed.event.exit_code === 0 ? 'completed' : parsed.event.message;
    }
    if (lastWords !== 'completed') throw new Error(`the trainer failed: ${lastWords || 'it died'}`);
  } finally {
    const ended = processes.map(rank => (rank.exitCode === null ? new Promise(resolve => rank.once('close', resolve)) : undefined));
    for (const rank of processes) rank.kill('SIGKILL');
    await Promise.all(ended);
  }
}

/** mAP of the weights that a run kept of one epoch, average precision taken as the published YOLO trainers take it. */
export async function publishedMap(run: TrainingRun, epoch: number): Promise<CurvePoint> {
  const weights = path.join(run.folder, `run/weights/epoch${epoch}.safetensors`);
  const json = path.join(run.folder, `epoch${epoch}.json`);
  await promisify(execFile)(TRAINER, ['val', weights, `data=${run.data}`, 'ap=published', '--json', json]);
  const {map50, map50_95} = JSON.parse(await readFile(json, 'utf8')) as {map50: number; map50_95: number};
  return {epoch, map50, map50_95};
}

function startRank(config: string, {ranks, threads}: TrainingRun, rank: number, port: number) {
  // The control descriptor's end of file ends the trainer, should this process die.
  const env = {
    ...process.env,
    ...rankEnvironment(rank, ranks, port),
    OMP_NUM_THREADS: String(threads),
    TENFOLD_EVENTS_FD: '3',
    TENFOLD_CONTROL_FD: '4',
  };
  const started = spawn(TRAINER, ['train', config], {env, stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'pipe']});
  // Every rank has its events read: one whose pipe is full would wait, and the others for it.
  if (rank > 0) (started.stdio[3] as Readable).resume();
  return started;
}
