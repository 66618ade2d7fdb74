import {createHash} from 'node:crypto';
import {afterEach, beforeEach, expect, test} from 'vitest';
import type {ArtifactRecord, FileDigest} from '../../shared/checkpoint.js';
import {problemOf} from '../../shared/errors.js';
import {CoordinatorRig} from '../../test/support/coordinatorRig.js';
import {objectKeys} from '../objectKeys.js';
import {downloadArtifact} from './downloadArtifact.js';
import type {JobViews} from './jobViews.js';
import type {ApiParts} from './parts.js';

let rig: CoordinatorRig;
beforeEach(async () => {
  rig = await CoordinatorRig.start();
  await rig.addJob('j');
});
afterEach(() => rig.stop());

const fileOf = (text: string): FileDigest => ({
  name: 'results.csv',
  bytes: text.length,
  sha256: createHash('sha256').update(text).digest('hex'),
});

async function register(text: string): Promise<void> {
  const record: ArtifactRecord = {file: fileOf(text), attempt: 1, registeredAt: 0};
  await rig.objects.put(objectKeys.artifact('j', record.file), Buffer.from(text));
  await rig.put(rig.keys.artifact('j', record.file.name), record);
}

/** Takes what comes; `afterFirst` happens once the first response is there. */
async function fetch(offset: number, afterFirst: () => Promise<void> = async () => {}): Promise<string> {
  const parts = {state: rig.state, objects: rig.objects} as unknown as ApiParts;
  const views = {record: () => rig.state.jobs.get('j')} as unknown as JobViews;
  const request = {name: 'jobs/j/artifacts/results.csv', offset: BigInt(offset)};
  const texts: string[] = [];
  try {
    for await (const {file, chunk} of downloadArtifact(parts, views, request, new AbortController().signal)) {
      texts.push(file === undefined ? chunk.toString() : `[${file.bytes}]`);
      if (file !== undefined) await afterFirst();
    }
  } catch (error) {
    const {kind, message} = problemOf(error);
    texts.push(`${kind}: ${message}`);
  }
  return texts.join(' ');
}

test('the first response says what the file is, also to whoever comes with the offset of an older one', async () => {
  await register('epoch,time');
  expect(await fetch(6)).toBe('[10] time');
  expect(await fetch(11)).toMatch(/^\[10\] invalid: .*beyond the end/);
});

test('a file whose bytes are gone is told as what it is', async () => {
  await register('old');
  const remove = (text: string): Promise<void> => rig.objects.delete(objectKeys.artifact('j', fileOf(text)));
  const replace = async (): Promise<void> => {
    await register('newer');
    await remove('old');
  };
  expect(await fetch(0, replace)).toBe('[3] unavailable: jobs/j/artifacts/results.csv was replaced by a newer one just now; try again');
  expect(await fetch(0, () => remove('newer'))).toMatch(/^\[5\] precondition: the bytes of .* no longer in the coordinator's store$/);
});
