import {type Random, seededRandom} from './random.js';

/** A square of values in 0..1 that repeats seamlessly. */
export type Noise = (x: number, y: number) => number;

/** After this many pixels noise repeats; a power of two. */
export const NOISE_SIDE = 256;

/**
 * Fractal value noise: five octaves of smoothly interpolated random lattices, each twice as fine and half as strong as the one before.
 * Computed once into a table; looked up with wrap-around (nearest pixel).
 */
export function fractalNoise(seed: number): Noise {
  const random = seededRandom(seed);
  const table = new Float32Array(NOISE_SIDE ** 2);
  for (let octave = 0; octave < 5; octave++) addOctave(table, 4 << octave, 0.5 ** octave, random);
  stretch(table);
  return (x, y) => table[(Math.floor(y) & (NOISE_SIDE - 1)) * NOISE_SIDE + (Math.floor(x) & (NOISE_SIDE - 1))]!;
}

/** Adds `strength` times a lattice of `cells` x `cells` random values, interpolated between them. */
function addOctave(table: Float32Array, cells: number, strength: number, random: Random): void {
  const lattice = Float32Array.from({length: cells * cells}, () => random.uniform(0, strength));
  const cell = NOISE_SIDE / cells;
  for (let y = 0; y < NOISE_SIDE; y++) {
    const row = Math.floor(y / cell);
    const below = ((row + 1) % cells) * cells;
    const v = smooth(y / cell - row);
    for (let x = 0; x < NOISE_SIDE; x++) {
      const column = Math.floor(x / cell);
      const right = (column + 1) % cells;
      const u = smooth(x / cell - column);
      const top = mix(lattice[row * cells + column]!, lattice[row * cells + right]!, u);
      const bottom = mix(lattice[below + column]!, lattice[below + right]!, u);
      table[y * NOISE_SIDE + x]! += mix(top, bottom, v);
    }
  }
}

/** To 0..1 in place. */
function stretch(table: Float32Array): void {
  let low = Infinity;
  let high = -Infinity;
  for (const value of table) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  for (let i = 0; i < table.length; i++) table[i] = (table[i]! - low) / (high - low);
}

/** The S-curve 3t^2 - 2t^3. */
export function smooth(t: number): number {
  return t * t * (3 - 2 * t);
}

export function mix(from: number, to: number, t: number): number {
  return from + (to - from) * t;
}

export function clamp01(value: number): number {
  return Math.min(Math.max(value, 0), 1);
}
