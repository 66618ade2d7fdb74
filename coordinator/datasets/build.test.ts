import {mkdir, mkdtemp, rename, rm, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import sharp from 'sharp';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {type DatasetIndex, datasetIndexSchema} from '../../shared/dataset.js';
import {DirectoryStore} from '../adapters/directoryStore.js';
import {type BuiltDataset, buildDataset} from './build.js';
import {findSourceFiles} from './sourceFiles.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-dataset-'));
});
afterEach(() => rm(folder, {recursive: true, force: true}));

const YAML = 'train: images/train\nval: images/val\nnames: [cat, dog]\n';

async function write(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(join(folder, path)), {recursive: true});
  await writeFile(join(folder, path), content);
}

/** A picture that no other shade equals. */
function jpeg(shade: number, size = 32): Promise<Buffer> {
  const noise = Buffer.from(Array.from({length: size * size * 3}, (_, i) => (i * 31 + shade * 17) % 256));
  return sharp(noise, {raw: {width: size, height: size, channels: 3}})
    .jpeg()
    .toBuffer();
}

/** A good data set: three images in train (one of them background), two in val. */
async function writeGoodSet(): Promise<void> {
  await write('data.yaml', YAML);
  for (const [i, name] of ['train/a', 'train/b', 'train/c', 'val/d', 'val/e'].entries()) {
    await write(`images/${name}.jpg`, await jpeg(i));
    if (name !== 'train/c') await write(`labels/${name}.txt`, `${i % 2} 0.5 0.5 0.25 0.25\n`);
  }
}

async function build(skipBadSamples = false): Promise<BuiltDataset | {readonly refused: string[]}> {
  const files = await findSourceFiles(join(folder, 'data.yaml'), new AbortController().signal);
  if (!('splits' in files)) return {refused: files.problems.map(found => found.code)};
  return buildDataset(files, new DirectoryStore(join(folder, 'store')), {
    skipBadSamples,
    baseFolder: folder,
    onProgress: () => undefined,
    signal: new AbortController().signal,
  });
}

async function codes(): Promise<string[]> {
  const built = await build();
  if ('refused' in built) return built.refused;
  expect(built.ok).toBe(false);
  return built.log.problems.map(found => found.code);
}

async function readIndex(digest: string): Promise<DatasetIndex> {
  const chunks: Buffer[] = [];
  for await (const chunk of new DirectoryStore(join(folder, 'store')).read(`blobs/${digest}`)) chunks.push(chunk as Buffer);
  return datasetIndexSchema.parse(JSON.parse(Buffer.concat(chunks).toString()));
}

test('a good set becomes an index and shards, and the same files give the same digest', async () => {
  await writeGoodSet();
  const first = await build();
  const second = await build();
  if (!('ok' in first && first.ok && 'ok' in second && second.ok)) throw new Error('refused');
  expect(first.splits).toMatchObject([
    {name: 'train', samples: 3, boxes: 2, backgrounds: 1, shards: 1},
    {name: 'val', samples: 2, boxes: 2, backgrounds: 0, shards: 1},
  ]);
  expect(second.indexDigest).toBe(first.indexDigest);
  const index = await readIndex(first.indexDigest);
  expect(index.names).toEqual(['cat', 'dog']);
  expect(index.splits.train).toMatchObject({samples: 3, shards: [{samples: 3}]});
});

test('the same source unchanged has the same fingerprint, a touched label another one', async () => {
  await writeGoodSet();
  const print = async () => {
    const files = await findSourceFiles(join(folder, 'data.yaml'), new AbortController().signal);
    return 'fingerprint' in files ? files.fingerprint : undefined;
  };
  const before = await print();
  expect(await print()).toBe(before);
  await write('labels/train/a.txt', '1 0.5 0.5 0.5 0.25\n');
  expect(await print()).not.toBe(before);
});

test('every defect has its own name', async () => {
  expect(await codes()).toEqual(['yaml_missing']);
  await writeGoodSet();
  await write('data.yaml', 'train: [');
  expect(await codes()).toEqual(['yaml_malformed']);
  await write('data.yaml', 'train: images/train\nval: images/vall\nnames: [cat, dog]\n');
  expect(await codes()).toEqual(['split_missing']);
  await write('data.yaml', 'train: images/train\nval: images/val\nnames: [cat, cat]\n');
  expect(await codes()).toEqual(['names_invalid']);
  await mkdir(join(folder, 'images/empty'));
  await write('data.yaml', 'train: images/train\nval: images/empty\nnames: [cat, dog]\n');
  expect(await codes()).toEqual(['split_empty']);
});

test('bad samples are all told at once, and left out when asked', async () => {
  await writeGoodSet();
  await write('images/train/f.jpg', (await jpeg(9, 64)).subarray(0, 900));
  await write('images/train/g.jpg', await jpeg(10));
  await write('labels/train/g.txt', '0 1.5 0.5 0.1 0.1\n');
  await write('images/train/h.jpg', await jpeg(11));
  await write('labels/train/h.txt', '2 0.5 0.5 0.1 0.1\n');
  await write('labels/train/lost.txt', '0 0.5 0.5 0.1 0.1\n');
  await write('images/train/i.bmp', 'BM');
  await write('images/val/j.jpg', await jpeg(0));
  expect((await codes()).sort()).toEqual([
    'class_out_of_range',
    'label_out_of_range',
    'missing_image',
    'train_val_overlap',
    'unreadable_image',
    'unsupported_image',
  ]);
  const skipped = await build(true);
  expect(skipped).toMatchObject({
    ok: true,
    splits: [
      {name: 'train', samples: 3},
      {name: 'val', samples: 3},
    ],
  });
});

test('a text file of paths may be a split, and a path in it that is not there is told with its line', async () => {
  await writeGoodSet();
  await write('val.txt', './images/val/d.jpg\n./images/val/gone.jpg\n');
  await write('data.yaml', 'train: images/train\nval: val.txt\nnames: [cat, dog]\n');
  const built = await build();
  expect('log' in built && built.log.problems).toMatchObject([{code: 'missing_image', line: 2}]);
});

test('a set without any box is refused: most likely the labels lie elsewhere', async () => {
  await write('data.yaml', YAML);
  await write('images/train/a.jpg', await jpeg(1));
  await write('images/val/b.jpg', await jpeg(2));
  expect(await codes()).toEqual(['no_boxes']);
});

test('folders behind links are part of the set as those behind globs are, links in circles do no harm, and broken links are told', async () => {
  await writeGoodSet();
  await mkdir(join(folder, 'elsewhere'));
  for (const kind of ['images', 'labels']) {
    await rename(join(folder, kind, 'train'), join(folder, 'elsewhere', kind));
    await mkdir(join(folder, kind, 'train'));
    await symlink(join(folder, 'elsewhere', kind), join(folder, kind, 'train/linked'));
    await symlink('.', join(folder, kind, 'train/round'));
  }
  expect(await build()).toMatchObject({ok: true, splits: [{samples: 3, boxes: 2}, {samples: 2}]});
  await symlink('gone.jpg', join(folder, 'images/val/x.jpg'));
  await symlink('gone', join(folder, 'labels/val/more'));
  await symlink('editor@host.1', join(folder, 'labels/val/.#d.txt'));
  expect(await codes()).toEqual(['broken_link', 'broken_link']);
});

test("what notebooks and Macs leave behind is not of the set, in folders as in globs, and a broken hidden link is nobody's business", async () => {
  await writeGoodSet();
  const before = await build();
  await write('images/train/.ipynb_checkpoints/a-checkpoint.jpg', await jpeg(9));
  await write('images/train/._a.jpg', 'of the file system');
  await write('labels/train/._a.txt', 'of the file system');
  await symlink(join(folder, 'nowhere'), join(folder, 'images/train/.#a.jpg'));
  const after = await build();
  if (!('ok' in before && before.ok && 'ok' in after && after.ok)) throw new Error('refused');
  expect(after.indexDigest).toBe(before.indexDigest);
});

test("`../train/images` beside the data.yaml's folder wins; else it is looked for in that folder, as some exports mean it", async () => {
  await write('set/data.yaml', 'train: ../train/images\nval: ../valid/images\nnames: [cat]\n');
  for (const [i, place] of ['set/train', 'set/valid', 'valid'].entries()) {
    await write(`${place}/images/a.jpg`, await jpeg(i));
    await write(`${place}/labels/a.txt`, '0 0.5 0.5 0.25 0.25\n');
  }
  const files = await findSourceFiles(join(folder, 'set/data.yaml'), new AbortController().signal);
  if (!('splits' in files)) throw new Error(JSON.stringify(files.problems));
  expect(files.splits.train.map(image => image.path)).toEqual([join(folder, 'set/train/images/a.jpg')]);
  expect(files.splits.val.map(image => image.path)).toEqual([join(folder, 'valid/images/a.jpg')]);
});
