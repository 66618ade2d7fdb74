import {execFile} from 'node:child_process';
import {access} from 'node:fs/promises';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Where the compiled code lies: for tests that need processes of their own. */
export const DIST = `${root}dist`;

let building: Promise<void> | undefined;

/** Compiles the TypeScript side, at most once a test file; next to nothing to do when it is fresh. */
export function buildOnce(): Promise<void> {
  building ??= build();
  return building;
}

async function build(): Promise<void> {
  const tsc = `${root}node_modules/typescript/bin/tsc`;
  // A type error somewhere is the business of `npm run check`: the code is emitted all the same.
  await promisify(execFile)(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {cwd: root}).catch(() => undefined);
  await access(`${DIST}/coordinator`);
}
