import {statSync} from 'node:fs';
import {mkdtemp, rm} from 'node:fs/promises';
import {availableParallelism, tmpdir} from 'node:os';
import * as path from 'node:path';
import {optionsOf} from '../options.js';
import {benchArguments, HELP} from './arguments.js';
import {benchLearning} from './learning.js';
import {benchSpeed} from './speed.js';

/** `npm run bench:train`: does the trainer learn as the published one does, and how fast is its loop? */

const args = optionsOf(HELP, given => benchArguments(given, availableParallelism()));
const folder = await mkdtemp(path.join(tmpdir(), 'tenfold-bench-train-'));
try {
  const resolved = {...args, data: dataYaml(path.resolve(process.env.INIT_CWD ?? process.cwd(), args.data))};
  if (args.learns) await benchLearning(resolved, folder);
  if (args.speed) await benchSpeed(resolved, folder);
} catch (error) {
  console.error(`bench:train: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
} finally {
  await rm(folder, {recursive: true, force: true});
}

/** Of a data set that is named by its data.yaml or by its folder. */
function dataYaml(given: string): string {
  const found = statSync(given, {throwIfNoEntry: false});
  if (found === undefined) throw new Error(`--data: there is no ${given}`);
  return found.isDirectory() ? path.join(given, 'data.yaml') : given;
}
