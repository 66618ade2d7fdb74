import {mkdir, mkdtemp, readFile, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, it} from 'vitest';
import {Child} from '../../coordinator/cli/up/child.js';
import {isRunning, waitUntil} from '../support/waitUntil.js';

/** A child of `tenfold up`, of a shell's making. */

let folder: string;
let child: Child;
let told: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-child-'));
  await mkdir(join(folder, 'logs'));
  told = [];
  child = await Child.start({
    name: 'local-1',
    command: ['sh', '-c', 'echo here; exec sleep 1000'],
    env: {PATH: process.env.PATH},
    logFile: join(folder, 'logs', 'local-1.log'),
    onRestart: (how, pid) => told.push(`${how}: ${isRunning(pid) ? 'runs again' : 'is gone again'}`),
    onRestartFailed: (how, error) => told.push(`${how}: ${(error as NodeJS.ErrnoException).code}`),
  });
});
afterEach(async () => {
  await child.stop(10_000);
  await rm(folder, {recursive: true, force: true});
});

it('that cannot be started again at once is tried on, and told of once', async () => {
  await rm(join(folder, 'logs'), {recursive: true});
  const {pid} = child;
  process.kill(pid, 'SIGKILL');
  await waitUntil('it cannot be started', () => told.length > 0);
  await mkdir(join(folder, 'logs'));
  await waitUntil('it runs again', () => child.pid !== pid && told.length > 1);
  expect(told).toEqual(['SIGKILL: ENOENT', 'SIGKILL: runs again']);
  await waitUntil('it writes its log', async () => (await readFile(child.logFile, 'utf8')) === 'here\n');
});

it('that cannot be started again can be stopped', async () => {
  await rm(join(folder, 'logs'), {recursive: true});
  process.kill(child.pid, 'SIGKILL');
  await waitUntil('it cannot be started', () => told.length > 0);
  await child.stop(10_000);
  expect(told).toEqual(['SIGKILL: ENOENT']);
});
