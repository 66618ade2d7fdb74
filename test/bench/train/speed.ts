import {execFile} from 'node:child_process';
import {readFileSync} from 'node:fs';
import * as path from 'node:path';
import {promisify} from 'node:util';
import {parse} from 'yaml';
import {packageRoot} from '../../../shared/packageRoot.js';
import {mean, median} from '../statistics.js';
import type {BenchArguments} from './arguments.js';
import {train} from './trainer.js';

const BUILD = path.join(packageRoot, 'agent/trainer/build');
const YARDSTICK_SECONDS = 8;
/** The first epoch of a training warms caches up and does not count. */
const EPOCHS = 3;

interface Precision {
  readonly name: string;
  readonly amp: 'off' | 'auto';
  readonly layout: 'last' | 'first';
}

const FP32: Precision = {name: 'fp32, channels last', amp: 'off', layout: 'last'};
const AMP: Precision = {name: 'amp, channels last', amp: 'auto', layout: 'last'};
const PLAIN: Precision = {name: 'fp32, channels first', amp: 'off', layout: 'first'};

/**
 * How much of the network's own forward-and-backward rate the whole training loop reaches, from JPEGs on disk, with one thread and one rank;
 * what layout and precision bring; and what a second rank does. All in one run, round by round; ratios are taken within rounds.
 */
export async function benchSpeed(args: BenchArguments, folder: string): Promise<void> {
  await promisify(execFile)('cmake', ['--build', BUILD, '--target', 'tenfold-trainer-forward-backward']);
  const rounds: Round[] = [];
  for (let round = 0; round < args.rounds; round++) {
    rounds.push(await oneRound(args, path.join(folder, `speed-${round}`)));
    console.error(`round ${round + 1} of ${args.rounds}: ${JSON.stringify(rounds.at(-1))}`);
  }
  report(rounds);
}

interface Round {
  readonly plain: number;
  readonly fp32: number;
  readonly amp: number;
  readonly loop: number;
  readonly loopAmp: number;
  readonly loopCached: number;
  /** Two networks at once, each with half of the batch: what the machine leaves to two ranks. */
  readonly fp32Twice: number;
  readonly twoRanks: number;
  readonly twoRanksCached: number;
}

async function oneRound(args: BenchArguments, folder: string): Promise<Round> {
  const loop = (name: string, settings: Record<string, unknown>, ranks = 1) => loopRate(args, path.join(folder, name), settings, ranks);
  const before = await forwardBackward(args, FP32);
  const fromDisk = await loop('fp32', {amp: 'off', cache: 'off'});
  const after = await forwardBackward(args, FP32);
  const amp = await forwardBackward(args, AMP);
  const loopAmp = await loop('amp', {amp: 'auto', cache: 'off'});
  const loopCached = await loop('cached', {amp: 'off', cache: 'ram'});
  const halves = [1, 2].map(() => forwardBackward({...args, batch: Math.ceil(args.batch / 2)}, FP32));
  const fp32Twice = (await Promise.all(halves)).reduce((sum, rate) => sum + rate);
  const twoRanks = await loop('two', {amp: 'off', cache: 'off'}, 2);
  const twoRanksCached = await loop('two-cached', {amp: 'off', cache: 'ram'}, 2);
  return {
    plain: await forwardBackward(args, PLAIN),
    fp32: mean([before, after]),
    amp,
    loop: fromDisk,
    loopAmp,
    loopCached,
    fp32Twice,
    twoRanks,
    twoRanksCached,
  };
}

/** Images a second of the network alone, forward and backward, one thread. */
async function forwardBackward({model, data, imgsz, batch}: BenchArguments, {amp, layout}: Precision): Promise<number> {
  const names: unknown = parse(readFileSync(data, 'utf8')).names;
  const nc = Object.keys(names as object).length;
  const words = [model, nc, imgsz, batch, 1, YARDSTICK_SECONDS, amp, layout].map(String);
  const {stdout} = await promisify(execFile)(path.join(BUILD, 'tenfold-trainer-forward-backward'), words);
  return (JSON.parse(stdout) as {images_per_s: number}).images_per_s;
}

/** Images a second of whole training epochs of all ranks together, one thread and one loader thread a rank. */
async function loopRate(
  {data, model: arch, imgsz, batch}: BenchArguments,
  folder: string,
  settings: Record<string, unknown>,
  ranks: number,
): Promise<number> {
  const fixed = {epochs: EPOCHS, imgsz, batch, nbs: batch, seed: 0, optimizer: 'SGD', close_mosaic: 0, workers: 1, val: false};
  const rates: number[] = [];
  for await (const {images_per_s} of train({folder, data, arch, train: {...fixed, ...settings}, ranks, threads: 1}))
    rates.push(images_per_s);
  return median(rates.slice(1));
}

function report(rounds: readonly Round[]): void {
  const rate = (of: keyof Round): string =>
    median(rounds.map(round => round[of]))
      .toFixed(1)
      .padStart(7);
  const ratio = (above: keyof Round, below: keyof Round): string => median(rounds.map(round => round[above] / round[below])).toFixed(2);
  console.log(`\nimages/s, one thread a rank, medians of ${rounds.length} rounds`);
  console.log(`  forward + backward, ${PLAIN.name}   ${rate('plain')}`);
  console.log(`  forward + backward, ${FP32.name}    ${rate('fp32')}   ${ratio('fp32', 'plain')} of channels first`);
  console.log(`  forward + backward, ${AMP.name}     ${rate('amp')}   ${ratio('amp', 'plain')} of fp32 channels first`);
  console.log(`  training from JPEGs on disk, fp32          ${rate('loop')}   ${ratio('loop', 'fp32')} of its forward + backward`);
  console.log(`  training from JPEGs on disk, amp           ${rate('loopAmp')}   ${ratio('loopAmp', 'amp')} of its forward + backward`);
  console.log(
    `  training from pictures in memory, fp32     ${rate('loopCached')}   ${ratio('loopCached', 'fp32')} of its forward + backward`,
  );
  console.log(`  two forward + backward at once, fp32       ${rate('fp32Twice')}   ${ratio('fp32Twice', 'fp32')} of one`);
  const ofOneAndTwo = (two: keyof Round, one: keyof Round): string =>
    `${ratio(two, one)} of one rank, ${ratio(two, 'fp32Twice')} of two forward + backward`;
  console.log(`  two ranks, from JPEGs on disk, fp32        ${rate('twoRanks')}   ${ofOneAndTwo('twoRanks', 'loop')}`);
  console.log(`  two ranks, from pictures in memory, fp32   ${rate('twoRanksCached')}   ${ofOneAndTwo('twoRanksCached', 'loopCached')}`);
}
