import {Bell} from '../shared/bell.js';

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
