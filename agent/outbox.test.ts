import {mkdir, mkdtemp, readdir, readFile, rm, rmdir, symlink, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {type Clock, systemClock} from '../shared/clock.js';
import type {OutboxEvent} from '../shared/event.js';
import {silentLog} from '../shared/log.js';
import {RecordingLog} from '../test/support/recordingLog.js';
import {waitUntil} from '../test/support/waitUntil.js';
import {Outbox, type OutboxOptions} from './outbox.js';

const origin = {jobId: 'j1', attempt: 1, generation: 5, rank: 0};
let dir: string;
let opened: Outbox[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tenfold-outbox-'));
});

afterEach(async () => {
  for (const outbox of opened) await outbox.close();
  opened = [];
  await rm(dir, {recursive: true, force: true});
});

async function open(options: Partial<OutboxOptions> = {}): Promise<Outbox> {
  const outbox = await Outbox.open({dir: join(dir, 'outbox'), clock: systemClock, log: silentLog, ...options});
  opened.push(outbox);
  return outbox;
}

async function say(outbox: Outbox, ...words: string[]): Promise<void> {
  for (const word of words) outbox.append(origin, 'consumed', JSON.stringify(word));
  await outbox.flush();
}

async function all(outbox: Outbox, after = outbox.acknowledged): Promise<OutboxEvent[]> {
  const events: OutboxEvent[] = [];
  for (let next = await outbox.read(after); next.length > 0; next = await outbox.read(events.at(-1)!.sequence)) events.push(...next);
  return events;
}

const told = (events: readonly OutboxEvent[]): string[] => events.map(({sequence, json}) => `${sequence} ${JSON.parse(json)}`);

describe('the outbox', () => {
  it('numbers events from 1 and keeps them until they are acknowledged', async () => {
    const outbox = await open();
    await say(outbox, 'a', 'b', 'c');
    expect(told(await all(outbox))).toEqual(['1 a', '2 b', '3 c']);
    outbox.acknowledge(2);
    expect(told(await all(outbox))).toEqual(['3 c']);
    expect((await all(outbox))[0]).toEqual({...origin, sequence: 3, json: '"c"'});
  });

  it('goes on with the same id and numbers after its agent was killed', async () => {
    const first = await open();
    await say(first, 'a', 'b');
    const second = await open();
    await say(second, 'c');
    expect(second.id).toBe(first.id);
    expect(told(await all(second))).toEqual(['1 a', '2 b', '3 c']);
  });

  it('loses at most the line that was being written, wherever the agent was killed', async () => {
    const outbox = await open();
    await say(outbox, 'a', 'b', 'c');
    const path = join(dir, 'outbox', '0000000000000001.ndjson');
    const whole = await readFile(path);
    const ends = [...whole].flatMap((byte, index) => (byte === 0x0a ? [index + 1] : []));
    for (let length = whole.length; length >= 0; length--) {
      await writeFile(path, whole.subarray(0, length));
      const recovered = await Outbox.open({dir: join(dir, 'outbox'), clock: systemClock, log: silentLog});
      const wholeLines = ends.filter(end => end <= length).length;
      await say(recovered, 'next');
      expect(told(await all(recovered, 0))).toEqual([...['1 a', '2 b', '3 c'].slice(0, wholeLines), `${wholeLines + 1} next`]);
      await recovered.close();
    }
  });

  it('puts a damaged spool aside, and begins a new one under another id', async () => {
    const first = await open();
    await say(first, 'a', 'b', 'c');
    const path = join(dir, 'outbox', '0000000000000001.ndjson');
    const lines = (await readFile(path, 'utf8')).split('\n');
    await writeFile(path, [lines[0], '{"sequence":2,"jo', lines[2], ''].join('\n'));
    const second = await open();
    expect(second.id).not.toBe(first.id);
    await say(second, 'd');
    expect(told(await all(second))).toEqual(['1 d']);
    expect((await readdir(dir)).some(name => name.startsWith('outbox.damaged-'))).toBe(true);
  });

  it('notices a segment that is missing in the middle', async () => {
    const first = await open({segmentBytes: 1});
    for (const word of ['a', 'b', 'c']) await say(first, word);
    await rm(join(dir, 'outbox', '0000000000000002.ndjson'));
    const second = await open();
    expect(second.id).not.toBe(first.id);
  });

  it('removes what is acknowledged, and remembers the next number all the same', async () => {
    const outbox = await open({segmentBytes: 1});
    for (const word of ['a', 'b', 'c', 'd']) await say(outbox, word);
    outbox.acknowledge(3);
    expect(told(await all(outbox))).toEqual(['4 d']);
    outbox.acknowledge(4);
    await say(outbox, 'e');
    const later = await open();
    expect(later.acknowledged).toBeGreaterThanOrEqual(3);
    expect(told(await all(later)).at(-1)).toBe('5 e');
  });

  it('goes on in the last segment while another one cannot be begun, and begins it later', async () => {
    let now = 0;
    const outbox = await open({segmentBytes: 1, clock: {...systemClock, monotonic: () => now}});
    const inTheWay = join(dir, 'outbox', '0000000000000002.ndjson');
    await mkdir(inTheWay);
    await say(outbox, 'a', 'b');
    await say(outbox, 'c');
    await rmdir(inTheWay);
    now += 1000;
    await say(outbox, 'd');
    await say(outbox, 'e');
    expect(told(await all(outbox))).toEqual(['1 a', '2 b', '3 c', '4 d', '5 e']);
    const later = await open();
    expect(told(await all(later))).toEqual(['1 a', '2 b', '3 c', '4 d', '5 e']);
    expect((await readdir(join(dir, 'outbox'))).filter(name => name.endsWith('.ndjson'))).toEqual(
      ['1', '5', '6'].map(first => `${first.padStart(16, '0')}.ndjson`),
    );
  });

  it('closes on a disk that takes nothing, and says how much is lost', async () => {
    const log = new RecordingLog();
    const outbox = await Outbox.open({
      dir: join(dir, 'outbox'),
      clock: {...systemClock, sleep: () => new Promise(setImmediate)},
      log,
      segmentBytes: 1,
    });
    await symlink('/dev/full', join(dir, 'outbox', '0000000000000002.ndjson'));
    await say(outbox, 'a');
    outbox.append(origin, 'consumed', '"b"');
    await waitUntil('the disk is full', () => log.lines.length > 0);
    outbox.append(origin, 'consumed', '"c"');
    await outbox.close();
    expect(log.lines.filter(({level}) => level === 'error').map(({message, fields}) => [message, fields.events])).toEqual([
      ['the outbox cannot be written; trying again', undefined],
      ['the disk did not take the last events; they are lost', 2],
    ]);
    expect(outbox.durable).toBe(1);
  });

  it('starts where nothing can be written: what it knows already is not written again', async () => {
    const first = await open();
    await say(first, 'a');
    await mkdir(join(dir, 'outbox', 'id.new'));
    const second = await open();
    expect(second.id).toBe(first.id);
    expect(told(await all(second))).toEqual(['1 a']);
  });

  it('believes no acknowledgement of what was never sent', async () => {
    const outbox = await open();
    await say(outbox, 'a');
    outbox.acknowledge(99);
    await say(outbox, 'b');
    expect(told(await all(outbox))).toEqual(['2 b']);
  });

  it('reads on over segments and batches, and again from anywhere', async () => {
    const outbox = await open({segmentBytes: 300_000});
    const words = Array.from({length: 500}, (_, index) => `${index} ${'x'.repeat(index % 7 === 0 ? 40_000 : 10)}`);
    for (const word of words) outbox.append(origin, 'consumed', JSON.stringify(word));
    await outbox.flush();
    expect((await all(outbox)).map(({json}) => JSON.parse(json))).toEqual(words);
    expect((await all(outbox, 250)).map(({sequence}) => sequence)[0]).toBe(251);
    expect((await all(outbox, 3))[0]!.sequence).toBe(4);
  });

  it('shows nothing that is not on disk', async () => {
    const outbox = await open();
    outbox.append(origin, 'step', '1');
    expect(outbox.durable).toBe(0);
    expect(await outbox.read(0)).toEqual([]);
    await outbox.flush();
    expect(outbox.durable).toBe(1);
  });

  it('rings when there is more to read', async () => {
    const outbox = await open();
    const rung = new Promise<void>(resolve => outbox.onDurable(resolve));
    outbox.append(origin, 'step', '1');
    await rung;
    expect(await outbox.read(0)).toHaveLength(1);
  });

  it('thins progress while the coordinator is away, never the ledger, and says how much it left out', async () => {
    let now = 0;
    const clock: Clock = {...systemClock, monotonic: () => now};
    const outbox = await open({clock, thinning: {thinAtBytes: 2000, fullAtBytes: 4000, intervalMs: 1000}});
    for (let i = 0; i < 200; i++) {
      now += 100;
      outbox.append(origin, 'step', '"step"');
      outbox.append(origin, 'consumed', '"consumed"');
      await outbox.flush();
    }
    const words = (await all(outbox)).map(({json}) => JSON.parse(json));
    expect(words.filter(word => word === 'consumed')).toHaveLength(200);
    expect(words.filter(word => word === 'step').length).toBeLessThan(40);
    outbox.acknowledge(outbox.durable);
    await say(outbox, 'back');
    const last = (await all(outbox)).map(({json}) => JSON.parse(json));
    expect(last[0]).toMatchObject({type: 'log', line: expect.stringMatching(/^… 1[6-9]\d progress events/)});
    expect(last[1]).toBe('back');
  });
});
