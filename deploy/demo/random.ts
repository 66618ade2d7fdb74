/** A stream of random numbers that its seed determines. */
export interface Random {
  /** Uniform in [low, high). */
  uniform(low: number, high: number): number;
  /** A whole number, uniform in 0..n-1. */
  below(n: number): number;
  chance(probability: number): boolean;
  pick<T>(from: readonly T[]): T;
}

/** Mulberry32 (Tommy Ettinger, 2017; public domain): 32 bits of state, plenty for placing things in pictures. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = state;
    word = Math.imul(word ^ (word >>> 15), word | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return {
    uniform: (low, high) => low + next() * (high - low),
    below,
    chance: probability => next() < probability,
    pick: from => from[below(from.length)]!,
  };
}

/** Mixes numbers into one seed, so that (seed, split, index) names an independent stream (32-bit FNV-1a over the numbers' bytes). */
export function seedFrom(...parts: readonly number[]): number {
  let hash = 0x811c9dc5;
  for (const part of parts) {
    for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((part >>> shift) & 0xff), 0x01000193);
  }
  return hash >>> 0;
}
