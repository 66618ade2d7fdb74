/** One item of either source. */
export type Merged<A, B> = {readonly from: 'a'; readonly value: A} | {readonly from: 'b'; readonly value: B};

/**
 * The items of two sources as they come, at most one of each in hand, until both have ended. Whoever stops early also aborts the signal
 * that both heed: a generator that waits for its next item can be ended in no other way. When both have an item, `a` goes first.
 */
export async function* merge<A, B>(a: AsyncIterable<A>, b: AsyncIterable<B>): AsyncGenerator<Merged<A, B>> {
  const sources: Source<Merged<A, B>>[] = [
    new Source(tagged(a, value => ({from: 'a', value}) as const)),
    new Source(tagged(b, value => ({from: 'b', value}) as const)),
  ];
  try {
    for (;;) {
      const waiting = sources.map(source => source.next()).filter(next => next !== undefined);
      if (waiting.length === 0) return;
      const {source, item} = await Promise.race(waiting);
      source.take();
      if (item !== undefined) yield item;
    }
  } finally {
    // One that is stopped between two items would else never let go of what it holds: timers, subscriptions, files.
    for (const source of sources) source.end();
  }
}

/** A source whose next item is asked for once, however often one looks. */
class Source<T> {
  private pending: Promise<{readonly source: Source<T>; readonly item: T | undefined}> | undefined;
  private isOver = false;

  constructor(private readonly items: AsyncGenerator<T>) {}

  /** Undefined once it has ended. */
  next(): Promise<{readonly source: Source<T>; readonly item: T | undefined}> | undefined {
    if (this.isOver) return undefined;
    this.pending ??= this.items.next().then(({done, value}) => {
      if (done) this.isOver = true;
      return {source: this, item: done ? undefined : value};
    });
    // It may fail while nobody looks; whoever looks next is told.
    this.pending.catch(() => {});
    return this.pending;
  }

  /** The item that was next is dealt with. */
  take(): void {
    this.pending = undefined;
  }

  end(): void {
    this.items.return(undefined).catch(() => {});
  }
}

async function* tagged<S, T>(source: AsyncIterable<S>, tag: (value: S) => T): AsyncGenerator<T> {
  for await (const value of source) yield tag(value);
}
