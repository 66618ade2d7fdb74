/**
 * The order in which an epoch's samples are taken, exactly as the trainer has it (test/fixtures/trainer-contract: "Sample order"). It
 * depends on the seed and the epoch only; the world size merely shares out each global batch, so a cursor means the same at any size.
 */

const MASK = (1n << 64n) - 1n;
const INCREMENT = 0x9e3779b97f4a7c15n;

/** Output function of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
function mix(value: bigint): bigint {
  let z = value;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & MASK;
  return z ^ (z >> 31n);
}

/** The sample ids 0..samples-1 in the order of epoch `epoch` (from 1). */
export function permutation(seed: number, epoch: number, samples: number): number[] {
  let state = mix(BigInt(seed)) ^ mix((BigInt(epoch) + INCREMENT) & MASK);
  const next = (): bigint => {
    state = (state + INCREMENT) & MASK;
    return mix(state);
  };
  const order = Array.from({length: samples}, (_, id) => id);
  for (let i = samples - 1; i > 0; i--) {
    const j = Number(next() % BigInt(i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** How an epoch is shared out: `batch` is global, `worldSize` that of the attempt. */
export interface Sharing {
  readonly batch: number;
  readonly worldSize: number;
}

/** The positions of [from, to) in an epoch's permutation that `rank` takes: within each global batch every worldSize-th, from its own number on. */
export function rankPositions(rank: number, from: number, to: number, {batch, worldSize}: Sharing): number[] {
  const positions: number[] = [];
  for (let position = from; position < to; position++) if ((position % batch) % worldSize === rank) positions.push(position);
  return positions;
}
