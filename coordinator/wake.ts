/** Who wants to know that something changed. Listeners are told nothing else: they look for themselves. */
export class Topic {
  private readonly listeners = new Set<() => void>();

  /** Returns how to stop listening. Listeners must not throw. */
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  publish(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

/** Coalesced wake-ups for one waiter: however often it rings meanwhile, the next wait ends once. */
export class Bell {
  private rung = false;
  private waiting: (() => void) | undefined;

  readonly ring = (): void => {
    this.rung = true;
    this.waiting?.();
  };

  /** Resolves when it rings, at once if it has rung since the last wait, or when `signal` aborts. */
  async wait(signal: AbortSignal): Promise<void> {
    if (!this.rung && !signal.aborted) {
      const rung = new Promise<void>(resolve => {
        this.waiting = resolve;
      });
      signal.addEventListener('abort', this.ring, {once: true});
      await rung;
      signal.removeEventListener('abort', this.ring);
      this.waiting = undefined;
    }
    this.rung = false;
  }
}

/** Yields once at the start and again after each change of `topic`, coalesced, until `signal` aborts. */
export async function* wakeUps(topic: Topic, signal: AbortSignal): AsyncGenerator<void> {
  const bell = new Bell();
  const unsubscribe = topic.subscribe(bell.ring);
  try {
    while (!signal.aborted) {
      yield;
      await bell.wait(signal);
    }
  } finally {
    unsubscribe();
  }
}
