import type {Clock} from '../shared/clock.js';

const FIRST_MS = 50;
const LONGEST_MS = 2000;

/** Growing waits between tries of something that fails, from 50 ms to 2 s. */
export class Backoff {
  private failures = 0;
  private failingSince = 0;

  constructor(private readonly clock: Clock) {}

  /** Whether nothing has failed since the last success: the time to tell people. */
  get isFirst(): boolean {
    return this.failures === 0;
  }

  /** How long it has been failing. */
  get elapsedMs(): number {
    return this.failures === 0 ? 0 : this.clock.monotonic() - this.failingSince;
  }

  /** Counts a failure and waits before the next try, or until `signal` aborts. */
  async wait(signal: AbortSignal): Promise<void> {
    if (this.failures === 0) this.failingSince = this.clock.monotonic();
    const ms = Math.min(FIRST_MS * 2 ** this.failures, LONGEST_MS);
    this.failures++;
    await this.clock.sleep(ms, signal);
  }

  reset(): void {
    this.failures = 0;
  }
}
