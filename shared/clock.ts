import {performance} from 'node:perf_hooks';
import {type Instant, instant} from './ids.js';

/** Time as shells see it. Cores get instants as arguments; tests and the simulator bring a clock of their own. */
export interface Clock {
  /** Wall-clock time: for records and for people. It may jump. */
  now(): Instant;
  /** Milliseconds from some fixed point, never going back: for deadlines and durations. */
  monotonic(): number;
  /** Resolves after `ms`, or at once when `signal` aborts: the caller looks at the signal. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Longest delay that a timer of Node takes; more wraps around to 1 ms. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => instant(Date.now()),
  monotonic: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise(resolve => {
      if (signal?.aborted) return resolve();
      const wake = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.min(Math.max(ms, 0), LONGEST_TIMER_MS));
      signal?.addEventListener('abort', wake, {once: true});
    }),
};
