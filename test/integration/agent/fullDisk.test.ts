import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {appendFile, mkdtemp, open, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, afterEach, beforeAll, beforeEach, expect, it} from 'vitest';
import {packageRoot} from '../../../shared/packageRoot.js';
import {AgentServiceDouble} from '../../support/agentServiceDouble.js';
import {buildOnce, DIST} from '../../support/build.js';
import {planFor} from '../../support/plans.js';
import {smallDisk} from '../../support/smallDisk.js';
import {isRunning, waitUntil} from '../../support/waitUntil.js';

/** An agent as a process whose log goes to a full disk, or whose data folder lies on one; its ranks are a shell's. */

const disk = smallDisk(2048);
let folder: string;
let coordinator: AgentServiceDouble;
let agent: ChildProcess;

beforeAll(() => buildOnce());
afterAll(() => disk?.remove());

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-full-'));
  coordinator = new AgentServiceDouble();
  await coordinator.start();
});
afterEach(async () => {
  if (agent.exitCode === null && agent.signalCode === null) {
    agent.kill('SIGKILL');
    await once(agent, 'exit');
  }
  await coordinator.kill();
  await rm(folder, {recursive: true, force: true});
});

/** A rank that never stops to talk, however little of it is heard. */
async function talkingTrainer(): Promise<string> {
  const path = join(folder, 'trainer');
  await writeFile(path, '#!/bin/sh\nwhile :; do echo "nothing of importance"; sleep 0.01; done\n', {mode: 0o755});
  return path;
}

async function startAgent(dataDir: string, logFile: string): Promise<void> {
  const {host, port} = coordinator.address;
  const log = await open(logFile, 'a');
  const command = [join(DIST, 'coordinator/cli/main.js'), 'agent', '--node-id', 'a', '--drain', '0s'];
  const flags = ['--coordinator', `${host}:${port}`, '--data-dir', dataDir, '--cpu-slots', '1', '--trainer', await talkingTrainer()];
  agent = spawn(process.execPath, [...command, ...flags], {stdio: ['ignore', 'ignore', log.fd]});
  await log.close();
  await waitUntil('the agent says hello', () => coordinator.hellos.length > 0);
}

async function startRank(): Promise<number> {
  const shards = join(packageRoot, 'test/fixtures/trainer-contract/shard');
  let datasetIndexDigest = '';
  for (const name of await readdir(shards)) {
    const digest = coordinator.addBlob(await readFile(join(shards, name)));
    if (name === 'index.json') datasetIndexDigest = digest;
  }
  coordinator.want(planFor(['a'], {datasetIndexDigest, rendezvous: {host: '127.0.0.1', port: coordinator.report.rendezvousPorts[0]!}}));
  const pid = (): number => {
    const rank = coordinator.report.attempts[0]?.ranks[0];
    return rank === undefined || rank.state === 'exited' ? 0 : rank.pid;
  };
  await waitUntil('the rank runs', () => pid() !== 0);
  return pid();
}

it('goes on while nobody can read its log', async () => {
  await startAgent(join(folder, 'data'), '/dev/full');
  const rank = await startRank();
  await waitUntil('the rank is heard', () => coordinator.events.length > 20);
  expect(isRunning(rank)).toBe(true);
  agent.kill('SIGTERM');
  expect(await once(agent, 'exit')).toEqual([0, null]);
});

it.skipIf(disk === undefined)('lets its ranks run while nothing can be written down, and stops when it is told to', async () => {
  const logFile = join(folder, 'log');
  await startAgent(join(disk!.path, 'data'), logFile);
  const rank = await startRank();
  await waitUntil('the disk takes no events', async () => {
    await appendFile(join(disk!.path, 'fill'), Buffer.alloc(4096)).catch(() => {});
    return (await readFile(logFile, 'utf8')).includes('the outbox cannot be written');
  });
  expect(isRunning(rank)).toBe(true);
  agent.kill('SIGTERM');
  expect(await once(agent, 'exit')).toEqual([0, null]);
  await waitUntil('the rank is gone', () => !isRunning(rank));
  expect(await readFile(logFile, 'utf8')).toMatch(/the last events; they are lost events=\d+/);
});
