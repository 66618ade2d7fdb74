import {mkdtemp, rm, utimes, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {type Clock, systemClock} from '../../shared/clock.js';
import type {DatasetRecord} from '../../shared/dataset.js';
import {silentLog} from '../../shared/log.js';
import {CoordinatorRig} from '../../test/support/coordinatorRig.js';
import {writeTinyDataset} from '../../test/support/tinyDataset.js';
import {waitUntil} from '../../test/support/waitUntil.js';
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

const never = new AbortController().signal;

/** `put` stands in for the store's own. */
function registry(put?: (key: string, bytes: Uint8Array) => Promise<void>, clock: Clock = systemClock): DatasetRegistry {
  const objects = put === undefined ? rig.objects : Object.assign(Object.create(rig.objects), {put});
  return new DatasetRegistry({state: rig.state, store: rig.fenced, objects, clock, log: silentLog});
}

/** Runs it until the data sets of these names are registered or have failed; returns what became of each. */
async function outcomes(running: DatasetRegistry, ...ids: string[]): Promise<DatasetRecord['status'][]> {
  const stop = new AbortController();
  const run = running.run(stop.signal);
  const statuses = (): DatasetRecord['status'][] => ids.map(id => rig.state.datasets.get(id)!.value.status);
  await waitUntil('all are registered', () => statuses().every(({state}) => state !== 'registering'));
  stop.abort();
  await run;
  return statuses();
}

const writeSet = (name: string): Promise<string> => writeTinyDataset(join(folder, name), {train: 3, val: 2, size: 32});

test('a caller who has gone while the files were looked at leaves nothing behind', async () => {
  const source = await writeSet('cells');
  const leaving = new AbortController();
  const creating = registry().create({source, requestId: 'r'}, leaving.signal);
  leaving.abort();
  await expect(creating).rejects.toThrow(/abort/);
  expect([...rig.state.datasets.keys()]).toEqual([]);
});

test('a set that cannot be stored fails with the reason, and others are registered meanwhile', async () => {
  const full = registry(async (key, bytes) => {
    if (rig.state.datasets.get('other')?.value.status.state !== 'ready' && bytes.length > 100_000) throw new Error('no space left');
    await rig.objects.put(key, bytes);
  });
  const large = await writeTinyDataset(join(folder, 'large'), {train: 16, val: 2, size: 256});
  await full.create({source: large, requestId: 'large'}, never);
  await full.create({source: await writeSet('other'), requestId: 'other'}, never);
  expect(await outcomes(full, 'large', 'other')).toMatchObject([{state: 'ready'}, {state: 'ready'}]);

  const broken = registry(() => Promise.reject(new Error('read-only file system')));
  await broken.create({source: await writeSet('third'), requestId: 'third'}, never);
  expect(await outcomes(broken, 'third')).toMatchObject([
    {state: 'failed', problems: [{code: 'registration_failed', message: expect.stringContaining('read-only file system')}]},
  ]);
});

test('however long nobody leads, that counts as no failure of a set: the first real one is tried again', async () => {
  let pauses = 0;
  const hasty: Clock = {
    ...systemClock,
    sleep: (_, signal) => {
      pauses++;
      return systemClock.sleep(1, signal);
    },
  };
  let failures = 0;
  const failingOnce = registry(async (key, bytes) => {
    if (failures++ === 0) throw new Error('no space left');
    await rig.objects.put(key, bytes);
  }, hasty);
  await failingOnce.create({source: await writeSet('cells'), requestId: 'r'}, never);
  const {revision} = rig.leadership.fence()!;
  rig.leadership.give(undefined);
  const becomes = outcomes(failingOnce, 'cells');
  await waitUntil('it was tried in vain many times', () => pauses > 10);
  rig.leadership.give(revision);
  expect(await becomes).toMatchObject([{state: 'ready'}]);
  expect(failures).toBeGreaterThan(1);
});

test('files that change while a set is being registered make it fail, and the next try takes them as they are', async () => {
  const source = await writeSet('cells');
  const label = join(folder, 'cells/labels/train/0000.txt');
  await registry().create({source, requestId: 'r1'}, never);
  await utimes(label, 1, 1);
  const changed = {state: 'failed', problems: [{code: 'changed_meanwhile'}]};
  expect(await outcomes(registry(), 'cells')).toMatchObject([changed]);

  const touching = registry(async (key, bytes) => {
    await utimes(label, 2, 2);
    await rig.objects.put(key, bytes);
  });
  await touching.create({source, requestId: 'r2'}, never);
  expect(await outcomes(touching, 'cells')).toMatchObject([changed]);
  await registry().create({source, requestId: 'r3'}, never);
  expect(await outcomes(registry(), 'cells')).toMatchObject([{state: 'ready'}]);
});

test('of very many problems the caller hears those that matter most, and how many more there are', async () => {
  const source = await writeSet('cells');
  for (let i = 0; i < 30; i++) await writeFile(join(folder, `cells/labels/train/lost-${i}.txt`), '');
  await writeFile(source, 'train: images/train\nval: images/gone\nnames: [red, blue]\n');
  const refused = await registry()
    .create({source, requestId: 'r'}, never)
    .catch((error: Error) => error);
  expect(refused).toMatchObject({
    problem: {fields: [{message: expect.stringContaining('split_missing')}, ...new Array(9).fill({}), {message: 'and 21 more problems'}]},
  });
});

test('a source that was registered without its bad samples is that data set for whoever does not say otherwise', async () => {
  const source = await writeSet('bccd');
  await writeFile(join(folder, 'bccd/labels/train/0000.txt'), '0 0.5 0.5 0.2 9\n');
  const lenient = await registry().create({id: 'lenient', source, requestId: 'r1', skipBadSamples: true}, never);
  expect(await outcomes(registry(), 'lenient')).toMatchObject([{state: 'ready'}]);
  expect((await registry().create({source, requestId: 'r2'}, never)).id).toBe(lenient.id);
  const strict = await registry().create({source, requestId: 'r3', skipBadSamples: false}, never);
  expect(strict.id).toBe('bccd');
  // It may yet fail, and does.
  expect((await registry().create({source, requestId: 'r4'}, never)).id).toBe(lenient.id);
  expect(await outcomes(registry(), 'bccd')).toMatchObject([{state: 'failed'}]);
});
