import {mkdir, mkdtemp, rm, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import sharp from 'sharp';
import {afterEach, beforeEach, expect, test} from 'vitest';
import {readSample} from './readSample.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-sample-'));
});
afterEach(() => rm(folder, {recursive: true, force: true}));

async function picture(name: string, orientation?: number): Promise<{path: string; labelPath: string}> {
  const blank = sharp({create: {width: 32, height: 16, channels: 3, background: 'grey'}}).toFormat(name.endsWith('png') ? 'png' : 'jpeg');
  const path = join(folder, name);
  await writeFile(path, await (orientation === undefined ? blank : blank.withMetadata({orientation})).toBuffer());
  return {path, labelPath: join(folder, 'a.txt')};
}

async function sizeOf(name: string, orientation?: number): Promise<unknown> {
  const {sample} = await readSample(await picture(name, orientation), 1);
  return sample && [sample.width, sample.height];
}

test('a picture has the size that it is shown with, as the trainer has it', async () => {
  expect(await sizeOf('plain.jpg')).toEqual([32, 16]);
  expect(await sizeOf('upside-down.jpg', 3)).toEqual([32, 16]);
  expect(await sizeOf('on-its-side.jpg', 6)).toEqual([16, 32]);
  expect(await sizeOf('on-its-side.png', 6)).toEqual([32, 16]);
});

test('labels that are missing mean background, those that cannot be read are told', async () => {
  const image = await picture('a.jpg');
  expect(await readSample(image, 1)).toMatchObject({sample: {boxes: []}, problems: []});
  await symlink('gone.txt', image.labelPath);
  expect((await readSample(image, 1)).problems).toMatchObject([
    {code: 'label_unreadable', message: expect.stringContaining('leads nowhere')},
  ]);
  await rm(image.labelPath);
  // Reading a folder fails with EISDIR, for root too.
  await mkdir(image.labelPath);
  const {sample, problems} = await readSample(image, 1);
  expect(sample).toBeUndefined();
  expect(problems).toMatchObject([{code: 'label_unreadable', severity: 'error', file: image.labelPath}]);
});
