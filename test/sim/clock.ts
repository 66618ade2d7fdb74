import {type Instant, instant} from '../../shared/ids.js';

/** A clock that jumps from one appointment to the next. Appointments at the same moment are kept in the order in which they were made. */
export class VirtualClock {
  private time = 0;
  /** The next one last. */
  private readonly appointments: {readonly at: number; readonly act: () => void}[] = [];

  now(): Instant {
    return instant(this.time);
  }

  after(ms: number, act: () => void): void {
    const at = this.time + ms;
    let low = 0;
    let high = this.appointments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.appointments[middle]!.at > at) low = middle + 1;
      else high = middle;
    }
    this.appointments.splice(low, 0, {at, act});
  }

  /** Runs appointments until `isDone`, or until `end`, or until there are none. */
  run(end: number, isDone: () => boolean): void {
    while (!isDone()) {
      const next = this.appointments.at(-1);
      if (next === undefined || next.at > end) return;
      this.appointments.pop();
      this.time = next.at;
      next.act();
    }
  }
}

/** A source of chance that a seed determines (mulberry32). */
export class Chance {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let z = this.state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.between(0, choices.length - 1)]!;
  }
}
