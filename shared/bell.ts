import type {Clock} from './clock.js';

/** Coalesced wake-ups for one waiter: however often it rings meanwhile, the next wait ends at once, and only that one. */
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

  /** As `wait`, but also resolves after `limitMs`. */
  async waitAtMost(clock: Clock, limitMs: number, signal: AbortSignal): Promise<void> {
    if (!this.rung && !signal.aborted) {
      const awake = new AbortController();
      const wake = (): void => awake.abort();
      this.waiting = wake;
      signal.addEventListener('abort', wake, {once: true});
      await clock.sleep(limitMs, awake.signal);
      signal.removeEventListener('abort', wake);
      this.waiting = undefined;
    }
    this.rung = false;
  }
}
