/** One item of either source. */
export type Merged<A, B> = {readonly from: 'a'; readonly value: A} | {readonly from: 'b'; readonly value: B};

/**
 * The items of two sources as they come, at most one of each in hand, until both have ended. Whoever stops early aborts the signal that
 * both heed: a generator that waits for its next item cannot be ended in any other way. When both have an item, `a` goes first.
 */
export async function* merge<A, B>(a: AsyncIterable<A>, b: AsyncIterable<B>): AsyncGenerator<Merged<A, B>> {
  const nextOfA = pull(a, value => ({from: 'a', value}) as const);
  const nextOfB = pull(b, value => ({from: 'b', value}) as const);
  let pendingA: Pending<Merged<A, B>> | undefined = nextOfA();
  let pendingB: Pending<Merged<A, B>> | undefined = nextOfB();
  for (;;) {
    const pending: Pending<Merged<A, B>>[] = [pendingA, pendingB].filter(one => one !== undefined);
    if (pending.length === 0) return;
    const {item, again} = await Promise.race(pending);
    const isA = again === nextOfA;
    if (item !== undefined) yield item;
    const next = item === undefined ? undefined : again();
    if (isA) pendingA = next;
    else pendingB = next;
  }
}

type Pending<T> = Promise<{readonly item: T | undefined; readonly again: () => Pending<T>}>;

/** How to fetch one more item; an undefined one is the end. */
function pull<S, T>(source: AsyncIterable<S>, tag: (value: S) => T): () => Pending<T> {
  const iterator = source[Symbol.asyncIterator]();
  const next = (): Pending<T> => {
    const pending = iterator.next().then(result => ({item: result.done === true ? undefined : tag(result.value), again: next}));
    // It may fail while nobody looks; whoever looks next is told.
    pending.catch(() => {});
    return pending;
  };
  return next;
}
