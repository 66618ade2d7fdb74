import {mkdtemp, readdir, readFile, rm, stat} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {makeDemoDataset} from './dataset.js';
import {SCENE_SIDE} from './scene.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tenfold-scenes-'));
});
afterEach(() => rm(folder, {recursive: true, force: true}));

const few = {trainScenes: 3, valScenes: 2, seed: 0};

test('pictures, labels and data.yaml lie where YOLO users expect them, and are the same each time', async () => {
  const [first, second] = [path.join(folder, 'first'), path.join(folder, 'second')];
  const {dataYaml, made} = await makeDemoDataset({dir: first, ...few});
  expect([dataYaml, made]).toEqual([path.join(first, 'data.yaml'), true]);
  const files = await filesBelow(first);
  expect(files).toEqual([
    'data.yaml',
    ...['train/0001', 'train/0002', 'train/0003', 'val/0001', 'val/0002'].map(name => `images/${name}.jpg`),
    ...['train/0001', 'train/0002', 'train/0003', 'val/0001', 'val/0002'].map(name => `labels/${name}.txt`),
  ]);
  const picture = await sharp(path.join(first, 'images/train/0001.jpg')).metadata();
  expect([picture.format, picture.width, picture.height]).toEqual(['jpeg', SCENE_SIDE, SCENE_SIDE]);
  expect(await readFile(path.join(first, 'labels/train/0001.txt'), 'utf8')).toMatch(/^([0-4]( [01]\.\d{6}){4}\n)+$/);

  await makeDemoDataset({dir: second, ...few});
  for (const file of files) expect(await readFile(path.join(second, file))).toEqual(await readFile(path.join(first, file)));
});

test('a data set that is there stays; one made with other options is replaced whole', async () => {
  const dir = path.join(folder, 'scenes');
  await makeDemoDataset({dir, ...few});
  const before = (await stat(path.join(dir, 'data.yaml'))).ino;
  expect((await makeDemoDataset({dir, ...few})).made).toBe(false);
  expect((await stat(path.join(dir, 'data.yaml'))).ino).toBe(before);

  expect((await makeDemoDataset({dir, ...few, trainScenes: 1})).made).toBe(true);
  expect((await readdir(path.join(dir, 'images/train'))).length).toBe(1);
});

test('aborted half-way it leaves nothing behind', async () => {
  const abort = new AbortController();
  const making = makeDemoDataset({dir: path.join(folder, 'scenes'), ...few, signal: abort.signal, onProgress: () => abort.abort()});
  await expect(making).rejects.toThrow();
  expect(await readdir(folder)).toEqual([]);
});

async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, {recursive: true, withFileTypes: true});
  return entries
    .filter(entry => entry.isFile())
    .map(entry => path.relative(dir, path.join(entry.parentPath, entry.name)))
    .sort();
}
