import {type ChildProcessByStdio, execFileSync, spawn} from 'node:child_process';
import {existsSync, writeFileSync} from 'node:fs';
import {mkdtemp, readdir, rm, stat} from 'node:fs/promises';
import {cpus, tmpdir} from 'node:os';
import * as path from 'node:path';
import {createInterface} from 'node:readline';
import type {Readable, Writable} from 'node:stream';
import {packageRoot} from '../../shared/packageRoot.js';
import {optionsOf, wholeNumber} from './options.js';
import {median} from './statistics.js';

/**
 * `npm run bench:loader`: network inputs per second of one core's time, made from JPEGs of 1280x960 (quality 90), beside OpenCV.
 *
 * Each contestant is one process with one thread that makes the same things: pictures letterboxed to 640; mosaics of four, looked at through a
 * random view (scale 0.5 to 1.5, shift 0.1, mirrored half of the time) and changed in hue, saturation and value (0.015, 0.7, 0.4); planar RGB in
 * batches of 16. OpenCV reads with imread, resizes with INTER_LINEAR, letterboxes with copyMakeBorder, lays mosaics by slices, looks at them by
 * warpAffine, changes colours by cvtColor and LUT, and splits into a batch that is used again. Files are in the page cache.
 *
 * OpenCV runs twice: as it comes, and with glibc's malloc told to keep and reuse large blocks. Each task has processes of its own, since what
 * one task frees changes how malloc serves the next. In a round every contestant does a part of every task in turn; figures are medians of the
 * rounds, ratios medians of the ratios within rounds. Processor time is counted, not time on the wall, so that other work on the machine
 * disturbs less.
 */

const OPENCV = ['opencv-python-headless==5.0.0.93', 'numpy==2.4.6'];
const TUNED = 'glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=67108864';
const PICTURES = 64;

const TASKS = [
  {name: 'letterbox to 640', ours: 'letterbox', theirs: 'letterbox', inputs: 64},
  {name: 'mosaic to 640, HSV', ours: 'mosaic', theirs: 'mosaic', inputs: 32},
  {name: 'letterbox, ours cached', ours: 'letterbox-warm', theirs: 'letterbox', inputs: 64},
  {name: 'mosaic, ours cached', ours: 'mosaic-warm', theirs: 'mosaic', inputs: 32},
  {name: 'mosaic, ours on disk', ours: 'mosaic-disk', theirs: 'mosaic', inputs: 32},
  {name: 'letterbox, both cached', ours: 'letterbox-warm', theirs: 'letterbox-warm', inputs: 512},
  {name: 'mosaic, both cached', ours: 'mosaic-warm', theirs: 'mosaic-warm', inputs: 128},
];

const HELP = `npm run bench:loader -- [options]

Network inputs per second of one core, made from JPEGs of 1280x960, beside OpenCV as it comes and with its allocator tuned.

  --rounds N      7, of which the medians count`;

const rounds = optionsOf(HELP, given => wholeNumber(given, 'rounds', 7));
const build = path.join(packageRoot, 'agent/trainer/build');
const bench = path.join(build, 'tenfold-loader-bench');
const python = path.join(packageRoot, '.cache/opencv/bin/python');
const script = path.join(packageRoot, 'test/bench/opencvLoader.py');

/** A process that answers a line `MODE COUNT` with the seconds it took. */
class Contestant {
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly answers: AsyncIterator<string>;

  constructor(
    private readonly mode: string,
    command: string,
    args: string[],
    env: Record<string, string> = {},
  ) {
    this.child = spawn(command, args, {env: {...process.env, ...env}, stdio: ['pipe', 'pipe', 'inherit']});
    this.answers = createInterface({input: this.child.stdout})[Symbol.asyncIterator]();
  }

  /** Inputs per second of processor time. */
  async rate(inputs: number): Promise<number> {
    this.child.stdin.write(`${this.mode} ${inputs}\n`);
    const {value, done} = await this.answers.next();
    if (done) throw new Error(`${this.child.spawnargs.join(' ')} ended`);
    return inputs / Number(value);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = new Promise(resolve => this.child.once('exit', resolve));
    this.child.stdin.end();
    await ended;
  }
}

/** One task's contestants; its rates in the order tenfold, OpenCV, OpenCV tuned. */
type Heat = (typeof TASKS)[number] & {readonly contestants: readonly Contestant[]};
type Rates = readonly number[];

buildBench();
installOpenCv();
const folder = await mkdtemp(path.join(tmpdir(), 'tenfold-bench-'));
const heats: Heat[] = [];
try {
  execFileSync(bench, ['make', folder, String(PICTURES)]);
  for (const task of TASKS) heats.push({...task, contestants: contestantsOf(task)});
  await oneRound(); // warms caches and clocks; not counted
  const results: Rates[][] = [];
  for (let i = 1; i <= rounds; i++) {
    results.push(await oneRound());
    console.error(`round ${i} of ${rounds} done`);
  }
  await print(results);
} finally {
  for (const {contestants} of heats) for (const contestant of contestants) await contestant.stop();
  await rm(folder, {recursive: true, force: true});
}

function contestantsOf({ours, theirs}: (typeof TASKS)[number]): Contestant[] {
  return [
    new Contestant(ours, bench, ['serve', folder]),
    new Contestant(theirs, python, [script, folder]),
    new Contestant(theirs, python, [script, folder], {GLIBC_TUNABLES: TUNED}),
  ];
}

async function oneRound(): Promise<Rates[]> {
  const all: Rates[] = [];
  for (const {contestants, inputs} of heats) {
    const rates: number[] = [];
    for (const contestant of contestants) rates.push(await contestant.rate(inputs));
    all.push(rates);
  }
  return all;
}

async function print(results: Rates[][]): Promise<void> {
  console.log(`${PICTURES} JPEGs of 1280x960, quality 90, ${await usualKib()} KiB; ${cpus()[0]?.model.trim()}; ${OPENCV[0]}`);
  console.log(`tuned: GLIBC_TUNABLES=${TUNED}`);
  console.log(row(['inputs/s of one core', 'tenfold', 'OpenCV', 'tuned', 'x OpenCV', 'x tuned']));
  heats.forEach(({name}, heat) => {
    const rate = (who: number) => median(results.map(round => round[heat]![who]!)).toFixed(0);
    const times = (who: number) => median(results.map(round => round[heat]![0]! / round[heat]![who]!)).toFixed(2);
    console.log(row([name, rate(0), rate(1), rate(2), times(1), times(2)]));
  });
  console.log(`medians of ${rounds} rounds`);
}

async function usualKib(): Promise<number> {
  const images = path.join(folder, 'images');
  const sizes = await Promise.all((await readdir(images)).map(async name => (await stat(path.join(images, name))).size));
  return Math.round(median(sizes) / 1024);
}

function row([name, ...cells]: string[]): string {
  return name!.padEnd(26) + cells.map(cell => cell.padStart(10)).join('');
}

function buildBench(): void {
  if (!existsSync(path.join(build, 'CMakeCache.txt'))) throw new Error('the trainer has not been built; run: npm run setup');
  execFileSync('cmake', ['--build', build, '--parallel', '2', '--target', 'tenfold-loader-bench'], {stdio: ['ignore', 2, 2]});
}

/** Into a venv of the checkout's own, once. */
function installOpenCv(): void {
  const stamp = path.join(packageRoot, '.cache/opencv', OPENCV.join('+'));
  if (existsSync(stamp)) return;
  execFileSync('python3', ['-m', 'venv', '--clear', path.join(packageRoot, '.cache/opencv')]);
  execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...OPENCV], {stdio: ['ignore', 2, 2]});
  writeFileSync(stamp, '');
}
