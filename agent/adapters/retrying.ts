import type {Clock} from '../../shared/clock.js';
import type {Problem} from '../../shared/errors.js';

/** How long to wait before the next try: doubling from `firstMs` to `longestMs`, each shortened by up to a half, so that many agents spread. */
export interface Backoff {
  readonly firstMs: number;
  readonly longestMs: number;
}

export const RECONNECT_BACKOFF: Backoff = {firstMs: 50, longestMs: 2000};

/** `failures`: how many tries have failed in a row, from 1. `random`: from 0 to 1. */
export function backoffMs({firstMs, longestMs}: Backoff, failures: number, random: number): number {
  const ceiling = Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return ceiling * (1 - random / 2);
}

/** Whether a call that met this problem can ever succeed when it is made again as it was. */
export function isWorthRepeating({kind}: Problem): boolean {
  return kind === 'unavailable' || kind === 'timeout' || kind === 'exhausted' || kind === 'cancelled' || kind === 'internal';
}

/**
 * Repeats `attempt` until it succeeds, throws what `isFinal` holds for, or `signal` aborts (its reason is thrown). `onFailure` hears of
 * each failure, and how many there were in a row.
 */
export async function retrying<T>(
  attempt: () => Promise<T>,
  isFinal: (error: unknown) => boolean,
  clock: Clock,
  signal: AbortSignal,
  onFailure: (error: unknown, failures: number) => void = () => {},
): Promise<T> {
  for (let failures = 1; ; failures++) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (isFinal(error)) throw error;
      onFailure(error, failures);
      await clock.sleep(backoffMs(RECONNECT_BACKOFF, failures, Math.random()), signal);
    }
  }
}

/** The stream, ended with an error when nothing comes for `limitMs`. `abort` is called then. */
export async function* withIdleLimit<T>(stream: AsyncIterable<T>, limitMs: number, abort: (reason: Error) => void): AsyncGenerator<T> {
  const onIdle = (): void => abort(new Error(`nothing came for ${limitMs} ms`));
  let timer = setTimeout(onIdle, limitMs);
  try {
    for await (const item of stream) {
      clearTimeout(timer);
      yield item;
      timer = setTimeout(onIdle, limitMs);
    }
  } finally {
    clearTimeout(timer);
  }
}
