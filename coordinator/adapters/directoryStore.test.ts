import {createHash} from 'node:crypto';
import {mkdir, mkdtemp, readdir, rm, utimes, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {Readable} from 'node:stream';
import {text} from 'node:stream/consumers';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {systemClock} from '../../shared/clock.js';
import {instant} from '../../shared/ids.js';
import {silentLog} from '../../shared/log.js';
import {RecordingLog} from '../../test/support/recordingLog.js';
import {ObjectNotFoundError} from '../ports.js';
import {DirectoryStore} from './directoryStore.js';

let folder: string;
let store: DirectoryStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-objects-'));
  store = new DirectoryStore(folder);
});
afterEach(() => rm(folder, {recursive: true, force: true}));

const sha256 = (content: string) => createHash('sha256').update(content).digest('hex');
const chunks = (...parts: string[]) => Readable.from(parts.map(part => Buffer.from(part)));

describe('a directory as object store', () => {
  it('shows an object only once it is complete and verified', async () => {
    expect(await store.receive('a/b', 0, chunks('hello '))).toBe(6);
    expect(await store.received('a/b')).toBe(6);
    expect(await store.size('a/b')).toBeUndefined();
    await expect(text(store.read('a/b'))).rejects.toThrow(ObjectNotFoundError);
    expect(await store.receive('a/b', 6, chunks('wor', 'ld'))).toBe(11);
    expect(await store.complete('a/b', 11, sha256('hello world'))).toBe(true);
    expect(await text(store.read('a/b'))).toBe('hello world');
    expect(await text(store.read('a/b', 6))).toBe('world');
    expect(await text(store.read('a/b', 99))).toBe('');
    expect(await store.received('a/b')).toBe(0);
  });

  it('keeps what came before a link broke', async () => {
    async function* breaking() {
      yield Buffer.from('half');
      throw new Error('broken');
    }
    await expect(store.receive('a', 0, breaking())).rejects.toThrow('broken');
    expect(await store.received('a')).toBe(4);
    await expect(store.receive('a', 0, chunks('half'))).rejects.toThrow('4 bytes are here');
  });

  it('drops what does not verify, and tells when an object went bad', async () => {
    await store.receive('a', 0, chunks('hullo'));
    expect(await store.complete('a', 5, sha256('hello'))).toBe(false);
    expect(await store.received('a')).toBe(0);
    await store.put('a', Buffer.from('hullo'));
    expect(await store.verify('a', 5, sha256('hullo'))).toBe(true);
    expect(await store.verify('a', 5, sha256('hello'))).toBe(false);
    expect(await store.verify('nothing', 5, sha256('hello'))).toBe(false);
  });

  it('replaces a small object as a whole, and leaves nothing beside it', async () => {
    await store.put('x/y', Buffer.from('one'));
    await store.put('x/y', Buffer.from('two'));
    expect(await text(store.read('x/y'))).toBe('two');
    expect(await readdir(join(folder, '.incoming'))).toEqual([]);
  });

  it('leaves nothing of an object that could not be put', async () => {
    await store.put('x', Buffer.from('one'));
    await expect(store.put('x/below', Buffer.from('two'))).rejects.toThrow(/EEXIST|ENOTDIR/);
    expect(await readdir(join(folder, '.incoming'))).toEqual([]);
  });

  it('removes what killed processes left of puts, but not what may be under way, be it another process that writes', async () => {
    const now = systemClock.now();
    await store.receive('jobs/coming', 0, chunks('x'));
    for (const [name, minutesAgo] of [['put-abandoned', 61] as const, ['put-under-way', 59] as const]) {
      await writeFile(join(folder, '.incoming', name), 'x');
      await utimes(join(folder, '.incoming', name), now / 1000, now / 1000 - 60 * minutesAgo);
    }
    await store.removeAbandonedPuts(now, silentLog);
    expect((await readdir(join(folder, '.incoming'))).sort()).toEqual(['jobs', 'put-under-way']);
    expect(await store.received('jobs/coming')).toBe(1);
  });

  it('tells of what is left of puts and cannot be removed, and removes the rest', async () => {
    const incoming = join(folder, '.incoming');
    // A folder is not removed as a file, whoever asks.
    await mkdir(join(incoming, 'put-0'), {recursive: true});
    await writeFile(join(incoming, 'put-1'), 'x');
    const log = new RecordingLog();
    await store.removeAbandonedPuts(instant(systemClock.now() + 2 * 3_600_000), log);
    expect(await readdir(incoming)).toEqual(['put-0']);
    expect(log.lines).toMatchObject([{level: 'warn', fields: {path: join(incoming, 'put-0')}}]);
  });

  it('lists by prefix, finished and unfinished apart', async () => {
    for (const key of ['j/1/b', 'j/1/a', 'j/10/c', 'k']) await store.put(key, Buffer.from('x'));
    await store.receive('j/1/coming', 0, chunks('x'));
    expect(await store.list('j/1/')).toEqual(['j/1/a', 'j/1/b']);
    expect(await store.list('j/1')).toEqual(['j/1/a', 'j/1/b', 'j/10/c']);
    expect(await store.list('')).toEqual(['j/1/a', 'j/1/b', 'j/10/c', 'k']);
    expect(await store.listUnfinished('j/')).toEqual(['j/1/coming']);
    expect(await store.list('nothing/')).toEqual([]);
    await store.delete('j/1/a');
    await store.delete('j/1/coming');
    expect(await store.list('j/1/')).toEqual(['j/1/b']);
    expect(await store.listUnfinished('')).toEqual([]);
  });

  it.each(['../outside', 'a/../../outside', '/absolute', 'a//b', '', '.incoming/a', 'a/./b', 'nul\0'])('refuses the key %j', async key => {
    await expect(store.put(key, Buffer.from('x'))).rejects.toThrow('not an object key');
    await expect(store.receive(key, 0, chunks('x'))).rejects.toThrow('not an object key');
  });
});
