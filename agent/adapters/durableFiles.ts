import {createHash, randomUUID} from 'node:crypto';
import {createReadStream} from 'node:fs';
import {copyFile, link, open, readFile, rename} from 'node:fs/promises';
import {dirname} from 'node:path';

/** Makes a folder's entries durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Writes a small file whole: after a crash it is there with all its bytes, or as it was before. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  const file = await open(temporary, 'w');
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(dirname(path));
}

/** A copy that is there whole or not at all, as long as the machine lives. */
export async function copyWhole(path: string, target: string): Promise<void> {
  await copyFile(path, `${target}.new`);
  await rename(`${target}.new`, target);
}

/** Gives a file a second name; where the file system permits none for it, a copy. */
export async function linkOrCopy(path: string, target: string): Promise<void> {
  await link(path, target).catch(async error => {
    const {code} = error as NodeJS.ErrnoException;
    if (code !== 'EXDEV' && code !== 'EPERM' && code !== 'EMLINK') throw error;
    await copyWhole(path, target);
  });
}

/** What a file holds; undefined where there is none. What cannot be read is not taken for absent. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The id that a file keeps. One is made where there is none; nothing is written where there is, for the disk may be full. */
export async function idKeptIn(path: string): Promise<string> {
  const known = ((await readIfThere(path)) ?? '').trim();
  if (known !== '') return known;
  const id = randomUUID();
  await writeDurably(path, `${id}\n`);
  return id;
}

/** SHA-256 of a file, in hex. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, {highWaterMark: 1024 * 1024})) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
