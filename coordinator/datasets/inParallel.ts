/**
 * What `work` makes of each item, in the order of the items, at most `atOnce` at a time. Where files lie on another host, a look at one
 * takes a round trip: one after the other, those of a large data set would take hours. Throws what the first failure was, or that
 * `signal` aborted; then nothing more is begun.
 */
export async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  signal: AbortSignal,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const workThrough = async (): Promise<void> => {
    while (next < items.length) {
      signal.throwIfAborted();
      const at = next++;
      try {
        results[at] = await work(items[at]!);
      } catch (error) {
        next = items.length;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({length: Math.min(atOnce, items.length)}, workThrough));
  return results;
}
