import {mkdtemp, rm} from 'node:fs/promises';
import {availableParallelism, tmpdir} from 'node:os';
import * as path from 'node:path';
import {HELP, parseBenchArguments} from './arguments.js';
import {benchLearning} from './learning.js';
import {benchSpeed} from './speed.js';

/** `npm run bench:train`: does the trainer learn as the published one does, and how fast is its loop? */

const folder = await mkdtemp(path.join(tmpdir(), 'tenfold-bench-train-'));
try {
  const args = parseBenchArguments(process.argv.slice(2), availableParallelism());
  if (args.help) console.log(HELP);
  else {
    const fromCallersFolder = path.resolve(process.env.INIT_CWD ?? process.cwd(), args.data);
    const resolved = {...args, data: fromCallersFolder};
    if (args.learns) await benchLearning(resolved, folder);
    if (args.speed) await benchSpeed(resolved, folder);
  }
} catch (error) {
  console.error(`bench:train: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await rm(folder, {recursive: true, force: true});
}
