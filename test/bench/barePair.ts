import {spawn} from 'node:child_process';
import {mkdir, writeFile} from 'node:fs/promises';
import * as path from 'node:path';
import {createInterface} from 'node:readline';
import type {Readable} from 'node:stream';
import {packageRoot} from '../../shared/packageRoot.js';
import {freePort} from '../support/freePort.js';

const TRAINER = path.join(packageRoot, 'agent/trainer/build/tenfold-trainer');

/** Two trainers with no Tenfold around them: the time from their start to the first optimizer step of the later one, ms. */
export async function barePair(
  folder: string,
  yaml: string,
  {threads, ...train}: {threads: number; [key: string]: unknown},
): Promise<number> {
  await mkdir(folder, {recursive: true});
  const config = path.join(folder, 'config.json');
  const contents = {data: {kind: 'yaml', path: yaml}, model: {arch: 'yolov8n'}, train, run: {dir: path.join(folder, 'run')}};
  await writeFile(config, JSON.stringify(contents));
  const port = await freePort();
  const startedAt = Date.now();
  const ranks = [0, 1].map(rank => {
    const env = {
      ...process.env,
      RANK: String(rank),
      LOCAL_RANK: '0',
      WORLD_SIZE: '2',
      LOCAL_WORLD_SIZE: '1',
      GROUP_RANK: String(rank),
      MASTER_ADDR: '127.0.0.1',
      MASTER_PORT: String(port),
      OMP_NUM_THREADS: String(threads),
      TENFOLD_EVENTS_FD: '3',
      // Its end of file ends the trainer, should this process die.
      TENFOLD_CONTROL_FD: '4',
    };
    return spawn(TRAINER, ['train', config], {env, stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']});
  });
  try {
    const firsts = await Promise.all(ranks.map(rank => firstStep(rank.stdio[3] as Readable)));
    return Math.max(...firsts) - startedAt;
  } finally {
    const ended = ranks.map(rank => (rank.exitCode === null ? new Promise(resolve => rank.once('close', resolve)) : undefined));
    for (const rank of ranks) rank.kill('SIGKILL');
    await Promise.all(ended);
  }
}

async function firstStep(events: Readable): Promise<number> {
  for await (const line of createInterface({input: events})) {
    const event = JSON.parse(line) as {type: string; t: number};
    if (event.type === 'step') return event.t;
  }
  throw new Error('a bare trainer ended before its first step');
}
