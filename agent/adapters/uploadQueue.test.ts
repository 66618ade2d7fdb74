import {mkdir, mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {silentLog} from '../../shared/log.js';
import type {Upload} from '../ports.js';
import {UploadQueue} from './uploadQueue.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-uploads-'));
  await mkdir(join(folder, 'run', 'weights'), {recursive: true});
});
afterEach(() => rm(folder, {recursive: true, force: true}));

const shaOf = (letter: string): string => letter.repeat(64);

async function artifact(path: string, content: string, letter: string): Promise<Upload> {
  await writeFile(join(folder, 'run', path), content);
  return {kind: 'artifact', path, file: {name: path, bytes: content.length, sha256: shaOf(letter)}};
}

async function checkpoint(step: number, letter: string, content = 'weights'): Promise<Upload> {
  const dir = join(folder, 'checkpoints', `step-${step}`);
  await mkdir(dir, {recursive: true});
  await writeFile(join(dir, 'model.safetensors'), content);
  const files = [{name: 'model.safetensors', bytes: content.length, sha256: shaOf(letter)}];
  return {kind: 'checkpoint', dir, manifest: {step, cursor: {epoch: 1, offset: step}, files}};
}

/** A folder is in the record's place. */
async function cannotBeRemoved(name: string): Promise<void> {
  const record = join(folder, 'uploads', name);
  await rm(record);
  await mkdir(record);
}

const names = (queue: UploadQueue): string[] =>
  queue.items.map(({upload}) => (upload.kind === 'artifact' ? upload.path : `step ${upload.manifest.step}`));

describe('the queue of uploads', () => {
  it('keeps files as they were when they were announced', async () => {
    const queue = new UploadQueue(folder, silentLog);
    const best = await artifact('weights/best.safetensors', 'first', 'a');
    await queue.add(best);
    await artifact('weights/best.safetensors', 'second', 'b');
    expect(await readFile(queue.pathOf(best.kind === 'artifact' ? best.file : best.manifest.files[0]!), 'utf8')).toBe('first');
    const large = await checkpoint(10, 'c', 'x'.repeat(2_000_000));
    await queue.add(large);
    if (large.kind === 'checkpoint') await rm(large.dir, {recursive: true});
    const again = await UploadQueue.recover(folder, silentLog);
    expect(names(again)).toEqual(['weights/best.safetensors', 'step 10']);
    expect((await readFile(again.pathOf({name: '', bytes: 0, sha256: shaOf('c')}))).length).toBe(2_000_000);
  });

  it('clears away what is settled, but not what another upload needs', async () => {
    const queue = new UploadQueue(folder, silentLog);
    await queue.add(await checkpoint(10, 'a'));
    await queue.add(await artifact('weights/last.safetensors', 'weights', 'a'));
    await queue.remove(queue.items[0]!);
    expect(await readdir(join(folder, 'uploads', 'files'))).toEqual([shaOf('a')]);
    expect(await readdir(join(folder, 'checkpoints'))).toEqual([]);
    await queue.remove(queue.items[0]!);
    expect(await readdir(join(folder, 'uploads', 'files'))).toEqual([]);
    expect(names(await UploadQueue.recover(folder, silentLog))).toEqual([]);
  });

  it('lets a newer version of an artifact overtake one that waits, never the one under way', async () => {
    const queue = new UploadQueue(folder, silentLog);
    for (const [letter, content] of [
      ['a', '1'],
      ['b', '2'],
      ['c', '3'],
    ] as const)
      await queue.add(await artifact('results.csv', content, letter));
    expect(queue.items.map(({upload}) => upload.kind === 'artifact' && upload.file.sha256)).toEqual([shaOf('a'), shaOf('c')]);
  });

  it('queues an upload once, also when the one that it overtakes cannot be cleared away', async () => {
    const queue = new UploadQueue(folder, silentLog);
    for (const [letter, content] of [
      ['a', '1'],
      ['b', '2'],
    ] as const)
      await queue.add(await artifact('results.csv', content, letter));
    await cannotBeRemoved(queue.items[1]!.name);
    await queue.add(await artifact('results.csv', '3', 'c'));
    expect(queue.items.map(({upload}) => upload.kind === 'artifact' && upload.file.sha256)).toEqual([shaOf('a'), shaOf('c')]);
  });

  it('does not let checkpoints pile up behind a slow link', async () => {
    const queue = new UploadQueue(folder, silentLog);
    for (let step = 1; step <= 12; step++) await queue.add(await checkpoint(step, step.toString(16)));
    expect(names(queue)).toEqual(['step 1', ...[5, 6, 7, 8, 9, 10, 11, 12].map(step => `step ${step}`)]);
  });

  it.each(['../../etc/passwd', '/etc/passwd', 'weights/../../id'])('takes no file from outside of its folder: %s', async path => {
    const file = {name: path, bytes: 1, sha256: shaOf('a')};
    await expect(new UploadQueue(folder, silentLog).add({kind: 'artifact', path, file})).rejects.toThrow('outside of its folder');
    const elsewhere: Upload = {
      kind: 'checkpoint',
      dir: '/etc',
      manifest: {step: 1, cursor: {epoch: 1, offset: 0}, files: [{...file, name: 'passwd'}]},
    };
    await expect(new UploadQueue(folder, silentLog).add(elsewhere)).rejects.toThrow('outside of its folder');
  });
});
