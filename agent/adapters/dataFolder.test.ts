import {mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {silentLog} from '../../shared/log.js';
import {RecordingLog} from '../../test/support/recordingLog.js';
import {DataFolder, FolderInUseError, type Host} from './dataFolder.js';

const node1: Host = {hostname: 'node1', machineId: '1'.repeat(32)};
const node2: Host = {hostname: 'node2', machineId: '2'.repeat(32)};

let path: string;
beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'tenfold-folder-'));
});
afterEach(() => rm(path, {recursive: true, force: true}));

/** An agent comes, and goes. Tells what it was warned of. */
async function use(host: Host): Promise<string[]> {
  const log = new RecordingLog();
  const folder = await DataFolder.open(path, log, host);
  await folder.close();
  return log.at('warn');
}

describe("an agent's data folder", () => {
  it('keeps its id, and lets one agent in at a time', async () => {
    const first = await DataFolder.open(path, silentLog, node1);
    await expect(DataFolder.open(path, silentLog, node1)).rejects.toThrow('give each its own --data-dir');
    await first.close();
    const second = await DataFolder.open(path, silentLog, node1);
    expect(second.id).toBe(first.id);
    await second.close();
  });

  it("is refused to another host that sees it as well, and stays its owner's", async () => {
    await use(node1);
    await expect(use(node2)).rejects.toThrow(FolderInUseError);
    await expect(use(node2)).rejects.toThrow(/belongs to the agent on host node1.*--data-dir, such as .*-node2/);
    expect(await use(node1)).toEqual([]);
    expect((await readdir(path)).sort()).toEqual(['host', 'id']);
  });

  it.each([
    ['a host that was set up anew', node1, {...node1, machineId: node2.machineId}, 0],
    ['a host that was named anew', node1, {...node1, hostname: 'gpu1'}, 1],
    ['a container that is named anew each time', {hostname: 'c1', machineId: null}, {hostname: 'c2', machineId: null}, 1],
    ['a host that gets a machine-id', {...node1, machineId: null}, node1, 0],
  ])('goes on with %s', async (_, before, after, warnings) => {
    await use(before);
    expect(await use(after)).toHaveLength(warnings);
    expect(await use(after)).toEqual([]);
  });

  it('goes on where the note of its host is damaged', async () => {
    await use(node1);
    await writeFile(join(path, 'host'), '');
    expect(await use(node2)).toEqual([]);
    expect(JSON.parse(await readFile(join(path, 'host'), 'utf8'))).toEqual(node2);
  });
});
