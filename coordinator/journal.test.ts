import {appendFile, mkdtemp, readFile, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {systemClock} from '../shared/clock.js';
import type {JournaledEvent, OutboxEvent} from '../shared/event.js';
import {GivenLeadership} from '../test/support/leadership.js';
import {DirectoryJournalFiles} from './adapters/journalFiles.js';
import {Journal} from './journal.js';
import type {ConsumedRange} from './journalReplay.js';
import type {JournalFile, JournalFiles} from './ports.js';

let folder: string;
let leadership: GivenLeadership;
let abort: AbortController;
const opened: Journal[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-journal-'));
  leadership = new GivenLeadership(100);
  abort = new AbortController();
});
afterEach(async () => {
  abort.abort();
  await Promise.all(opened.splice(0).map(journal => journal.close()));
  await rm(folder, {recursive: true, force: true});
});

function openJournal(by = leadership, files: JournalFiles = new DirectoryJournalFiles(folder)): Journal {
  const journal = new Journal({files, leadership: by, clock: systemClock});
  opened.push(journal);
  return journal;
}

function log(sequence: number, line = `line ${sequence}`, jobId = 'j1'): OutboxEvent {
  const json = JSON.stringify({type: 'log', t: 1, stream: 'stdout', line});
  return {sequence, jobId, attempt: 1, generation: 7, rank: 0, json};
}

function consumed(sequence: number, rank: number, from: number, to: number, attempt = 1): OutboxEvent {
  const json = JSON.stringify({type: 'consumed', t: 1, epoch: 1, from, to, ids: []});
  return {sequence, jobId: 'j1', attempt, generation: 7, rank, json};
}

async function all(journal: Journal, afterSequence = 0, jobId = 'j1'): Promise<JournaledEvent[]> {
  const events: JournaledEvent[] = [];
  for await (const event of journal.read(jobId, {afterSequence, follow: false, signal: abort.signal})) events.push(event);
  return events;
}

const told = (events: readonly JournaledEvent[]) =>
  events.map(({sequence, event}) => `${sequence} ${event.type === 'log' ? event.line : event.type}`);

const file = () => join(folder, 'jobs', 'j1', 'events.ndjson');

describe('the journal of a job', () => {
  it('numbers events of all outboxes from 1 and writes none twice, also after a restart', async () => {
    const before = openJournal();
    await before.append('node-a', 'box-a', [log(1, 'a1'), log(2, 'a2')]);
    await before.append('node-b', 'box-b', [log(1, 'b1')]);
    await before.append('node-a', 'box-a', [log(1, 'a1'), log(2, 'a2'), log(3, 'a3')]);

    leadership.give(101);
    const after = openJournal();
    await after.append('node-a', 'box-a', [log(3, 'a3'), log(4, 'a4')]);
    await after.append('node-a', 'new-box', [log(1, 'a5')]);
    expect(told(await all(after))).toEqual(['1 a1', '2 a2', '3 b1', '4 a3', '5 a4', '6 a5']);
    expect(told(await all(after, 4))).toEqual(['5 a4', '6 a5']);
  });

  it('refuses to write under a lesser revision than it has the mark of: etcd was restored, and the events would count for nobody', async () => {
    await openJournal().append('node-a', 'box', [log(1)]);
    const restored = new GivenLeadership(60);
    const journal = openJournal(restored);
    await expect(journal.append('node-a', 'box', [log(2)])).rejects.toThrow(/mark of leader 100.*only 60.*--bump-revision/s);
    restored.give(1000);
    await journal.append('node-a', 'box', [log(2)]);
    expect(told(await all(journal))).toEqual(['1 line 1', '2 line 2']);
  });

  it('goes on after a crash in the middle of a line', async () => {
    await openJournal().append('node-a', 'box', [log(1), log(2)]);
    const whole = await readFile(file(), 'utf8');
    await appendFile(file(), whole.trimEnd().split('\n').at(-1)!.slice(0, 40));

    const after = openJournal();
    expect(told(await all(after))).toEqual(['1 line 1', '2 line 2']);
    await after.append('node-a', 'box', [log(2), log(3)]);
    expect(told(await all(after))).toEqual(['1 line 1', '2 line 2', '3 line 3']);
    expect(told(await all(openJournal()))).toEqual(['1 line 1', '2 line 2', '3 line 3']);
  });

  it('does not count what a former leader writes behind its successor', async () => {
    const frozen = new GivenLeadership(100);
    const former = openJournal(frozen);
    await former.append('node-a', 'box', [log(1)]);
    const successor = openJournal(new GivenLeadership(200));
    await successor.append('node-a', 'box', [log(2, 'by the successor')]);

    await former.append('node-a', 'box', [log(2, 'by the former')]);
    await successor.append('node-a', 'box', [log(3)]);
    expect(told(await all(successor))).toEqual(['1 line 1', '2 by the successor', '3 line 3']);
    expect(told(await all(openJournal(new GivenLeadership(201))))).toEqual(['1 line 1', '2 by the successor', '3 line 3']);
  });

  it('does not acknowledge what was written while leadership went away, and counts it once as what lies in the file', async () => {
    const slow = slowFiles(() => leadership.give(undefined));
    const journal = openJournal(leadership, slow.files);
    await expect(journal.append('node-a', 'box', [log(1)])).rejects.toThrow('does not lead');
    expect(told(await all(journal))).toEqual(['1 line 1']);

    leadership.give(102);
    slow.onAppend = () => undefined;
    await journal.append('node-a', 'box', [log(1), log(2)]);
    expect(told(await all(journal))).toEqual(['1 line 1', '2 line 2']);
  });

  it('shows what another leader wrote, while that one leads and once this one leads again', async () => {
    const ours = openJournal();
    await ours.append('node-a', 'box', [log(1)]);
    expect(await ours.lastSequence('j1')).toBe(1);

    leadership.give(undefined);
    const successor = openJournal(new GivenLeadership(200));
    await successor.append('node-a', 'box', [log(2)]);
    expect(await ours.lastSequence('j1')).toBe(2);
    leadership.give(undefined, true);
    await successor.append('node-a', 'box', [log(3)]);
    expect(told(await all(ours, 1))).toEqual(['2 line 2', '3 line 3']);

    await successor.append('node-a', 'box', [log(4)]);
    leadership.give(300);
    expect(told(await all(ours, 3))).toEqual(['4 line 4']);
  });

  it('gives a watcher of a former leader what its successor wrote by the time that anybody looks', async () => {
    const ours = openJournal();
    await ours.append('node-a', 'box', [log(1)]);
    const seen: number[] = [];
    const watching = (async () => {
      for await (const event of ours.read('j1', {afterSequence: 0, follow: true, signal: abort.signal})) {
        seen.push(event.sequence);
        if (event.sequence === 3) return;
      }
    })();
    await expect.poll(() => seen).toEqual([1]);
    leadership.give(undefined);
    await openJournal(new GivenLeadership(200)).append('node-a', 'box', [log(2), log(3)]);
    expect(await ours.lastSequence('j1')).toBe(3);
    await watching;
    expect(seen).toEqual([1, 2, 3]);
  });

  it('shares one fsync among appends that come while the disk is busy', async () => {
    const counting = slowFiles(() => undefined);
    const journal = openJournal(leadership, counting.files);
    await journal.append('node-a', 'box', [log(1)]);
    const before = counting.appends;
    await Promise.all(Array.from({length: 50}, (_, i) => journal.append(`node-${i}`, 'box', [log(1, `from ${i}`)])));
    expect(counting.appends - before).toBeLessThanOrEqual(2);
    expect(await all(journal)).toHaveLength(51);
  });

  it('lets a watcher go on by its last sequence, first from the file, then live', async () => {
    const journal = openJournal();
    await journal.append(
      'node-a',
      'box',
      Array.from({length: 1500}, (_, i) => log(i + 1)),
    );
    const seen: number[] = [];
    const watching = (async () => {
      for await (const event of journal.read('j1', {afterSequence: 1400, follow: true, signal: abort.signal})) {
        seen.push(event.sequence);
        if (event.sequence === 1600) abort.abort();
      }
    })();
    for (let i = 1501; i <= 1600; i++) await journal.append('node-a', 'box', [log(i)]);
    await watching;
    expect(seen).toEqual(Array.from({length: 200}, (_, i) => 1401 + i));
  });

  it('keeps a line that is not an event as a bad event, so that the count has no gap', async () => {
    const journal = openJournal();
    await journal.append('node-a', 'box', [{...log(1), json: '{"type":"from the future"}'}, log(2)]);
    expect(told(await all(journal))).toEqual(['1 bad_event', '2 line 2']);
  });

  it('knows what each rank of the newest attempt consumed, in joined stretches', async () => {
    const journal = openJournal();
    await journal.append('node-a', 'box', [consumed(1, 0, 0, 16), consumed(2, 1, 0, 16), consumed(3, 0, 16, 48)]);
    const whole = [
      {rank: 0, epoch: 1, from: 0, to: 48},
      {rank: 1, epoch: 1, from: 0, to: 16},
    ];
    const sees = async (by: Journal, attempt: number) => {
      const shown: ConsumedRange[] = [];
      const note = (ranges: readonly ConsumedRange[]) => shown.push(...ranges) > 0;
      await by.untilConsumed('j1', attempt, note, AbortSignal.timeout(50));
      return [...new Set(shown)];
    };
    expect(await sees(journal, 1)).toEqual(whole);
    expect(await sees(openJournal(), 1)).toEqual(whole);
    await journal.append('node-a', 'box', [consumed(4, 0, 16, 32, 2)]);
    expect(await sees(journal, 2)).toEqual([{rank: 0, epoch: 1, from: 16, to: 32}]);
    expect(await sees(journal, 1)).toEqual([]);
  });

  it('keeps many jobs apart and few files open', async () => {
    const journal = new Journal({files: new DirectoryJournalFiles(folder), leadership, clock: systemClock, openAtMost: 2});
    opened.push(journal);
    const jobs = Array.from({length: 10}, (_, i) => `job-${i}`);
    for (const [i, jobId] of jobs.entries()) await journal.append('node-a', 'box', [log(i + 1, jobId, jobId)]);
    for (const jobId of jobs) expect(told(await all(journal, 0, jobId))).toEqual([`1 ${jobId}`]);
  });
});

/** Files that count appends, and call `onAppend` once the bytes are on disk and before that is told. */
function slowFiles(onAppend: () => void) {
  const real = new DirectoryJournalFiles(folder);
  const slow = {
    appends: 0,
    onAppend,
    files: {
      async open(jobId: string): Promise<JournalFile> {
        const opened = await real.open(jobId);
        return {
          read: (offset, length) => opened.read(offset, length),
          size: () => opened.size(),
          sync: () => opened.sync(),
          close: () => opened.close(),
          append: async bytes => {
            await opened.append(bytes);
            slow.appends++;
            slow.onAppend();
          },
        };
      },
    },
  };
  return slow;
}
