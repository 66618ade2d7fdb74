import {execFile} from 'node:child_process';
import {access} from 'node:fs/promises';
import * as path from 'node:path';
import {promisify} from 'node:util';
import {packageRoot} from '../../shared/packageRoot.js';

/** Where the compiled code lies: for tests that need processes of their own. */
export const DIST = path.join(packageRoot, 'dist');

let building: Promise<void> | undefined;

/** Compiles the TypeScript side, at most once a test file; next to nothing to do when it is fresh. */
export function buildOnce(): Promise<void> {
  building ??= build();
  return building;
}

async function build(): Promise<void> {
  const tsc = path.join(packageRoot, 'node_modules/typescript/bin/tsc');
  // A type error somewhere is the business of `npm run check`: the code is emitted all the same.
  await promisify(execFile)(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {cwd: packageRoot}).catch(() => undefined);
  await access(`${DIST}/coordinator`);
}
