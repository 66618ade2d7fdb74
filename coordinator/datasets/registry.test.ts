import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {systemClock} from '../../shared/clock.js';
import type {Log} from '../../shared/log.js';
import {silentLog} from '../../shared/log.js';
import {CoordinatorRig} from '../../test/support/coordinatorRig.js';
import {writeTinyDataset} from '../../test/support/tinyDataset.js';
import type {ObjectStore} from '../ports.js';
import {DatasetRegistry} from './registry.js';

let rig: CoordinatorRig;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-registry-'));
  rig = await CoordinatorRig.start();
});
afterEach(async () => {
  await rig.stop();
  await rm(folder, {recursive: true, force: true});
});

function registryWith({objects = rig.objects, log = silentLog}: {objects?: ObjectStore; log?: Log} = {}): DatasetRegistry {
  return new DatasetRegistry({state: rig.state, store: rig.fenced, objects, clock: systemClock, log});
}

const writeSet = (name: string): Promise<string> => writeTinyDataset(join(folder, name), {train: 3, val: 2, size: 32});

test('a caller who has gone while the files were looked at leaves nothing behind', async () => {
  const source = await writeSet('cells');
  const leaving = new AbortController();
  const creating = registryWith().create({source, requestId: 'r'}, leaving.signal);
  leaving.abort();
  await expect(creating).rejects.toThrow(/abort/);
  expect([...rig.state.datasets.keys()]).toEqual([]);
});
