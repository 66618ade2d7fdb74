import {readFileSync} from 'node:fs';
import {describe, expect, test} from 'vitest';
import type {Cursor} from '../../shared/checkpoint.js';
import {type AttemptHistory, type Consumed, committedLedger, coveredUpTo, isExact} from './ledger.js';
import {permutation, rankPositions} from './sampleOrder.js';

const fixture = JSON.parse(readFileSync(new URL('../../test/fixtures/trainer-contract/sample-order.json', import.meta.url), 'utf8'));

describe('the sample order is the trainer’s', () => {
  test.each(fixture.permutations as {seed: number; epoch: number; n: number; order: number[]}[])(
    'seed $seed, epoch $epoch, $n samples',
    row => {
      expect(permutation(row.seed, row.epoch, row.n)).toEqual(row.order);
    },
  );

  type Slice = {n: number; batch: number; offset: number; world_size: number; rank: number; positions: number[]};
  test.each(fixture.rank_slices as Slice[])(
    'rank $rank of $world_size at $offset of $n',
    ({n, batch, offset, world_size, rank, positions}) => {
      const to = Math.min(offset + batch, n);
      expect(rankPositions(rank, offset, to, {batch, worldSize: world_size})).toEqual(positions);
    },
  );
});

const SAMPLES = 10;
const BATCH = 4;

/** What an attempt's ranks consume from `from` to `to`, a batch at a time. */
function consume(worldSize: number, from: Cursor, to: Cursor): Consumed[] {
  const events: Consumed[] = [];
  for (let {epoch, offset} = from; epoch < to.epoch || (epoch === to.epoch && offset < to.offset); ) {
    const end = Math.min(offset + BATCH, SAMPLES);
    const order = permutation(0, epoch, SAMPLES);
    for (let rank = 0; rank < worldSize; rank++) {
      const ids = rankPositions(rank, offset, end, {batch: BATCH, worldSize}).map(position => order[position]!);
      events.push({rank, epoch, from: offset, to: end, ids});
    }
    [epoch, offset] = end === SAMPLES ? [epoch + 1, 0] : [epoch, end];
  }
  return events;
}

function attempt(number: number, worldSize: number, start: Cursor, to: Cursor): AttemptHistory {
  return {number, start, worldSize, batch: BATCH, events: consume(worldSize, start, to)};
}

const at = (epoch: number, offset = 0): Cursor => ({epoch, offset});
const ledger = (attempts: AttemptHistory[], end: Cursor) => committedLedger(attempts, end, {seed: 0, samples: SAMPLES});

describe('the committed history', () => {
  test('of one undisturbed attempt has every sample once', () => {
    const epochs = ledger([attempt(1, 2, at(1), at(3))], at(3));
    expect(epochs.map(epoch => [epoch.epoch, epoch.counts.size, isExact(epoch)])).toEqual([
      [1, 10, true],
      [2, 10, true],
    ]);
  });

  test('leaves out what an attempt did beyond the checkpoint that the next one started from, at another world size too', () => {
    const epochs = ledger([attempt(1, 2, at(1), at(2, 8)), attempt(2, 3, at(1, 8), at(2, 4)), attempt(3, 1, at(2, 4), at(3))], at(3));
    expect(epochs.every(isExact)).toBe(true);
  });

  test('leaves out what lies after an older checkpoint, when the newest one proved bad', () => {
    const epochs = ledger([attempt(1, 2, at(1), at(3, 4)), attempt(2, 2, at(3), at(3)), attempt(3, 2, at(2), at(4))], at(4));
    expect(epochs.map(isExact)).toEqual([true, true, true]);
  });

  test('tells of samples that were repeated, left out, or taken out of turn', () => {
    const good = attempt(1, 1, at(1), at(2));
    const [first, second, third] = good.events as [Consumed, Consumed, Consumed];
    expect(ledger([{...good, events: [first, third]}], at(2))[0]).toMatchObject({missing: second.ids, repeated: [], misplaced: []});
    expect(ledger([{...good, events: [first, second, second, third]}], at(2))[0]).toMatchObject({missing: [], repeated: second.ids});
    const swapped = {...first, ids: [first.ids[1]!, first.ids[0]!, ...first.ids.slice(2)]};
    expect(ledger([{...good, events: [swapped, second, third]}], at(2))[0]).toMatchObject({
      missing: [],
      misplaced: swapped.ids.slice(0, 2),
    });
    const short = {...first, ids: first.ids.slice(1)};
    expect(isExact(ledger([{...good, events: [short, second, third]}], at(2))[0]!)).toBe(false);
  });

  test('of a job under way reaches as far as its newest checkpoint', () => {
    const epochs = ledger([attempt(1, 2, at(1), at(2, 8))], at(2, 4));
    expect(epochs.map(epoch => [epoch.reached, isExact(epoch)])).toEqual([
      [10, true],
      [4, true],
    ]);
  });
});

describe('how far all ranks are covered', () => {
  test('is as far as the slowest rank', () => {
    const events = consume(2, at(1), at(1, 8));
    expect(coveredUpTo(events, 2, SAMPLES)).toEqual(at(1, 8));
    expect(coveredUpTo(events.slice(0, -1), 2, SAMPLES)).toEqual(at(1, 4));
    expect(coveredUpTo(events, 3, SAMPLES)).toEqual(at(1));
  });

  test('goes over the end of an epoch', () => {
    expect(coveredUpTo(consume(2, at(1), at(2)), 2, SAMPLES)).toEqual(at(2));
  });

  test('stops at a gap, and begins where the attempt began', () => {
    const events = consume(1, at(2, 4), at(3, 4));
    expect(coveredUpTo(events, 1, SAMPLES, at(2, 4))).toEqual(at(3, 4));
    expect(coveredUpTo([events[0]!, events[2]!], 1, SAMPLES, at(2, 4))).toEqual(at(2, 8));
  });

  test('counts ranges that were flushed together', () => {
    expect(
      coveredUpTo(
        [
          {rank: 0, epoch: 1, from: 0, to: 8},
          {rank: 0, epoch: 1, from: 8, to: 10},
        ],
        1,
        SAMPLES,
      ),
    ).toEqual(at(2));
  });
});
