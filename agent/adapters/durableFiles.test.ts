import {link, mkdtemp, readdir, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, it, vi} from 'vitest';
import {linkOrCopy} from './durableFiles.js';

vi.mock('node:fs/promises', async importOriginal => {
  const real = await importOriginal<typeof import('node:fs/promises')>();
  return {...real, link: vi.fn(real.link)};
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-files-'));
  await writeFile(join(folder, 'weights'), 'of epoch 1');
});
afterEach(() => rm(folder, {recursive: true, force: true}));

describe('a second name of a file', () => {
  it.each(['EPERM', 'EXDEV', 'EMLINK'])('is a copy where the file system refuses links: %s', async code => {
    vi.mocked(link).mockRejectedValueOnce(Object.assign(new Error('no links here'), {code}));
    await linkOrCopy(join(folder, 'weights'), join(folder, 'kept'));
    expect(await readFile(join(folder, 'kept'), 'utf8')).toBe('of epoch 1');
    expect((await readdir(folder)).sort()).toEqual(['kept', 'weights']);
  });

  it('is no copy where the disk is full: that may pass', async () => {
    vi.mocked(link).mockRejectedValueOnce(Object.assign(new Error('no space left'), {code: 'ENOSPC'}));
    await expect(linkOrCopy(join(folder, 'weights'), join(folder, 'kept'))).rejects.toMatchObject({code: 'ENOSPC'});
  });
});
