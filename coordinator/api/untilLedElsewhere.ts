import {unavailable} from '../../shared/errors.js';
import type {Leadership} from '../ports.js';

/**
 * The stream that `open` makes, until another process is known to lead: what is new is told there. Then it ends with UNAVAILABLE, as
 * sessions do, and whoever follows goes on by its resume token.
 */
export async function* untilLedElsewhere<T>(
  leadership: Leadership,
  callSignal: AbortSignal,
  open: (signal: AbortSignal) => AsyncIterable<T>,
): AsyncGenerator<T> {
  const elsewhere = new AbortController();
  const look = (): void => {
    if (leadership.ledByAnother()) elsewhere.abort();
  };
  const unsubscribe = leadership.onChange(look);
  try {
    look();
    if (!elsewhere.signal.aborted) yield* open(AbortSignal.any([callSignal, elsewhere.signal]));
    if (elsewhere.signal.aborted) throw unavailable('another coordinator leads now');
  } finally {
    unsubscribe();
  }
}
