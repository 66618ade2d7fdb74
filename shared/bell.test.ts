import {expect, test} from 'vitest';
import {Bell} from './bell.js';
import type {Clock} from './clock.js';
import {instant} from './ids.js';

/** Time stands still; a sleep ends when the test says so. */
class HandClock implements Clock {
  private sleepers: (() => void)[] = [];
  now = () => instant(0);
  monotonic = () => 0;
  sleep(_ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      this.sleepers.push(resolve);
      signal?.addEventListener('abort', () => resolve(), {once: true});
    });
  }
  elapse(): void {
    for (const wake of this.sleepers.splice(0)) wake();
  }
}

const clock = new HandClock();
const never = new AbortController().signal;
const ways: [string, (bell: Bell, signal: AbortSignal) => Promise<void>][] = [
  ['wait', (bell, signal) => bell.wait(signal)],
  ['waitAtMost', (bell, signal) => bell.waitAtMost(clock, 1000, signal)],
];

/** Whether it resolves by what is due already: many turns of microtasks and one of timers. */
async function resolves(promise: Promise<void>): Promise<boolean> {
  const slow = new Promise<false>(resolve => setImmediate(() => setImmediate(() => resolve(false))));
  return Promise.race([promise.then(() => true), slow]);
}

test.each(ways)('%s ends at a ring, at once if it rang before, and once however often it rang', async (_name, wait) => {
  const bell = new Bell();
  const first = wait(bell, never);
  expect(await resolves(first)).toBe(false);
  bell.ring();
  expect(await resolves(first)).toBe(true);
  bell.ring();
  bell.ring();
  expect(await resolves(wait(bell, never))).toBe(true);
  expect(await resolves(wait(bell, never))).toBe(false);
});

test.each(ways)('%s ends when its signal aborts', async (_name, wait) => {
  const stop = new AbortController();
  const waiting = wait(new Bell(), stop.signal);
  stop.abort();
  expect(await resolves(waiting)).toBe(true);
});

test('waitAtMost ends after its limit, and leaves no ring behind, whichever came first', async () => {
  const bell = new Bell();
  const first = bell.waitAtMost(clock, 1000, never);
  clock.elapse();
  expect(await resolves(first)).toBe(true);
  const second = bell.waitAtMost(clock, 1000, never);
  bell.ring();
  expect(await resolves(second)).toBe(true);
  expect(await resolves(bell.waitAtMost(clock, 1000, never))).toBe(false);
});
