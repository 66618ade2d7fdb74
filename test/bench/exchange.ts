import {execFile} from 'node:child_process';
import {availableParallelism} from 'node:os';
import * as path from 'node:path';
import {promisify} from 'node:util';
import {packageRoot} from '../../shared/packageRoot.js';
import {freePort} from '../support/freePort.js';
import {rankEnvironment} from '../support/rankEnvironment.js';
import {type Given, optionsOf, wholeNumber} from './options.js';

/**
 * `npm run bench:exchange`: how much of the exchange of gradients is hidden behind the backward pass.
 *
 * A step of all ranks is timed in four ways that take turns: without any exchange; with all gradients in one message after the backward pass;
 * with buckets that travel while the backward pass goes on; and with these in bfloat16. What the second takes longer than the first is the cost
 * of the communication; what the third still takes longer is the part that is not hidden. Two ranks on the CPUs of one host have buckets
 * (not those in bfloat16) go through memory that they share; so all is timed once as if each rank were on a host of its own, and once as it is.
 */

const HELP = `npm run bench:exchange -- [options]

How much of the exchange of gradients is hidden behind the backward pass.

  --model NAME    yolov8n     --imgsz N    160
  --ranks N       2           --images N   4, of a rank
  --threads N     cores / ranks, of a rank
  --rounds N      15, of which the medians count`;

const BUILD = path.join(packageRoot, 'agent/trainer/build');
const run = promisify(execFile);

interface Measured {
  readonly backend: string;
  readonly device: string;
  readonly gradient_bytes: number;
  readonly ms: Readonly<Record<'compute' | 'at_once' | 'overlapped' | 'overlapped_bf16', number>>;
}

const settings = optionsOf(HELP, settingsOf);
console.log(described(settings));
report('each rank as if on a host of its own', await measure(settings, 1));
report('all ranks on this host', await measure(settings, settings.ranks));

interface Settings {
  readonly model: string;
  readonly imgsz: number;
  readonly images: number;
  readonly ranks: number;
  readonly threads: number;
  readonly rounds: number;
}

function settingsOf(given: Given): Settings {
  const ranks = wholeNumber(given, 'ranks', 2);
  return {
    model: given.model ?? 'yolov8n',
    imgsz: wholeNumber(given, 'imgsz', 160),
    images: wholeNumber(given, 'images', 4),
    ranks,
    threads: wholeNumber(given, 'threads', Math.max(1, Math.floor(availableParallelism() / ranks))),
    rounds: wholeNumber(given, 'rounds', 15),
  };
}

function described({model, imgsz, images, ranks, threads, rounds}: Settings): string {
  return `${model}, ${ranks} ranks with ${threads} thread(s) and ${images} images of ${imgsz} x ${imgsz} each, medians of ${rounds} steps`;
}

async function measure({model, imgsz, images, ranks, threads, rounds}: Settings, ranksOfHost: number): Promise<Measured> {
  await run('cmake', ['--build', BUILD, '--target', 'tenfold-trainer-exchange']);
  const port = await freePort();
  const outputs = await Promise.all(
    Array.from({length: ranks}, (_, rank) => {
      const own = {LOCAL_WORLD_SIZE: String(ranksOfHost), OMP_NUM_THREADS: String(threads)};
      const env = {...process.env, ...rankEnvironment(rank, ranks, port), ...own};
      return run(path.join(BUILD, 'tenfold-trainer-exchange'), [model, imgsz, images, rounds].map(String), {env});
    }),
  );
  return JSON.parse(outputs[0]!.stdout) as Measured;
}

function report(heading: string, {backend, device, gradient_bytes, ms}: Measured): void {
  const communication = ms.at_once - ms.compute;
  const line = (name: string, value: number, comment = '') =>
    console.log(`  ${name.padEnd(42)} ${value.toFixed(1).padStart(8)} ms ${comment}`);
  const hidden = (value: number): string => {
    const exposed = value - ms.compute;
    if (exposed >= communication) return `nothing of the communication is hidden: ${exposed.toFixed(1)} ms`;
    return `${exposed.toFixed(1)} ms of the communication are left, ${(100 * (1 - exposed / communication)).toFixed(0)} % are hidden`;
  };
  console.log(`\n${heading}: ${backend} on ${device}, ${(gradient_bytes / 2 ** 20).toFixed(1)} MiB of gradients`);
  line('forward and backward, no exchange', ms.compute);
  line('one message after the backward pass', ms.at_once, `communication takes ${communication.toFixed(1)} ms`);
  line('buckets during the backward pass', ms.overlapped, hidden(ms.overlapped));
  line('the same in bfloat16', ms.overlapped_bf16, hidden(ms.overlapped_bf16));
}
