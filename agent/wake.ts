import type {Clock} from '../shared/clock.js';

/** A coalescing wake-up call: however often it rings before somebody waits, the next wait ends at once, and only that one. */
export class Bell {
  private rung = false;
  private wake: () => void = () => {};

  ring(): void {
    this.rung = true;
    this.wake();
  }

  /** Resolves at a ring, after `limitMs`, or when `signal` aborts. One waiter at a time. */
  async wait(clock: Clock, limitMs: number, signal: AbortSignal): Promise<void> {
    if (!this.rung && !signal.aborted) {
      const awake = new AbortController();
      this.wake = () => awake.abort();
      signal.addEventListener('abort', this.wake, {once: true});
      await clock.sleep(limitMs, awake.signal);
      signal.removeEventListener('abort', this.wake);
      this.wake = () => {};
    }
    this.rung = false;
  }
}
