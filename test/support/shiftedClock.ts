import {type Clock, systemClock} from '../../shared/clock.js';
import {type Instant, instant} from '../../shared/ids.js';

/** The system's clock, set forward as the test says: the wall alone, as NTP does, or the passing of time. */
export class ShiftedClock implements Clock {
  private wallMs = 0;
  private passedMs = 0;
  readonly sleep = systemClock.sleep;

  now(): Instant {
    return instant(systemClock.now() + this.wallMs + this.passedMs);
  }

  monotonic(): number {
    return systemClock.monotonic() + this.passedMs;
  }

  /** The wall clock is set; no time has passed. */
  step(ms: number): void {
    this.wallMs += ms;
  }

  pass(ms: number): void {
    this.passedMs += ms;
  }
}
