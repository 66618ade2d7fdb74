import {expect, test} from 'vitest';
import {inParallel} from './inParallel.js';

const never = new AbortController().signal;

test('items are worked on together up to the bound, and the results are in their order', async () => {
  let open = 0;
  let most = 0;
  const work = async (item: number): Promise<number> => {
    most = Math.max(most, ++open);
    for (let turns = 0; turns < 10 - item; turns++) await Promise.resolve();
    open--;
    return item * 10;
  };
  expect(await inParallel([1, 2, 3, 4, 5, 6, 7], 3, never, work)).toEqual([10, 20, 30, 40, 50, 60, 70]);
  expect(most).toBe(3);
  expect(await inParallel([], 3, never, work)).toEqual([]);
});

test('after a failure, and once the signal aborts, nothing more is begun', async () => {
  const begun: number[] = [];
  const failing = async (item: number): Promise<void> => {
    begun.push(item);
    await Promise.resolve();
    if (item === 2) throw new Error('the disk is gone');
  };
  await expect(inParallel([1, 2, 3, 4, 5, 6, 7, 8], 2, never, failing)).rejects.toThrow('the disk is gone');
  expect(begun.length).toBeLessThan(5);

  const leaving = new AbortController();
  let done = 0;
  const aborting = async (): Promise<void> => {
    if (++done === 3) leaving.abort();
  };
  await expect(inParallel(new Array(100).fill(0), 2, leaving.signal, aborting)).rejects.toThrow(/abort/);
  expect(done).toBe(3);
});
