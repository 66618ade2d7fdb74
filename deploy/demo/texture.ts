import {clamp01, NOISE_SIDE, type Noise, smooth} from './noise.js';
import type {Random} from './random.js';

/**
 * Surfaces that products may lie on. A texture is a grey picture, larger than a scene, whose values say where on a colour ramp a pixel
 * lies: one texture cut out at many places and coloured in many ways makes many backgrounds.
 */
export interface Texture {
  readonly side: number;
  /** side^2 positions on the colour ramp, 0..255. */
  readonly values: Uint8Array;
}

/** A surface as a function of pixel coordinates, 0..1. */
type Surface = (x: number, y: number) => number;

export const TEXTURE_SIDE = 384;

const SURFACES = [planks, linen, gingham, marble, terrazzo, tiles, carpet, paper] as const;

/** A texture of the kind that `index` names (they take turns); scale, direction and the piece of the noise are random. */
export function makeTexture(index: number, noise: Noise, random: Random): Texture {
  const [shiftX, shiftY] = [random.below(NOISE_SIDE), random.below(NOISE_SIDE)];
  const surface = SURFACES[index % SURFACES.length]!((x, y) => noise(x + shiftX, y + shiftY), random);
  const turned = turn(surface, random.uniform(0, 2 * Math.PI));
  const values = new Uint8Array(TEXTURE_SIDE ** 2);
  for (let y = 0; y < TEXTURE_SIDE; y++) {
    for (let x = 0; x < TEXTURE_SIDE; x++) values[y * TEXTURE_SIDE + x] = Math.round(clamp01(turned(x, y)) * 255);
  }
  return {side: TEXTURE_SIDE, values};
}

function turn(surface: Surface, angle: number): Surface {
  const cos = Math.cos(angle);
  const sin = Math.sin(angle);
  return (x, y) => surface(cos * x - sin * y, sin * x + cos * y);
}

/** Boards with grain along them, each a little lighter or darker than its neighbours, with dark joints. */
function planks(noise: Noise, random: Random): Surface {
  const width = random.uniform(36, 64);
  return (x, y) => {
    const board = Math.floor(x / width);
    const fromJoint = Math.min(x - board * width, (board + 1) * width - x);
    const shade = noise(board * 37, board * 91);
    const grain = noise(x * 2.2 + board * 53, y * 0.16);
    const fine = noise(x * 7 + board * 17, y * 0.5);
    const joint = fromJoint < 1.2 ? 0.45 : 0;
    return 0.25 + 0.3 * shade + 0.35 * (grain - 0.4) + 0.18 * fine - joint;
  };
}

/** Threads over and under each other. */
function linen(noise: Noise, random: Random): Surface {
  const thread = random.uniform(2.4, 3.6);
  return (x, y) => {
    const warp = Math.sin((x * Math.PI) / thread);
    const weft = Math.sin((y * Math.PI) / thread);
    const slub = noise(x * 0.4, y * 3) + noise(x * 3, y * 0.4);
    return 0.5 + 0.13 * warp * weft + 0.22 * (slub - 1) + 0.1 * (noise(x, y) - 0.5);
  };
}

/** The table-cloth check: two crossing sets of stripes. */
function gingham(noise: Noise, random: Random): Surface {
  const stripe = random.uniform(14, 30);
  return (x, y) => {
    const across = Math.floor(x / stripe) & 1;
    const along = Math.floor(y / stripe) & 1;
    const weave = 0.05 * Math.sin(x * 1.9) * Math.sin(y * 1.9);
    return 0.2 + 0.3 * (across + along) + weave + 0.12 * (noise(x, y) - 0.5);
  };
}

/** Veins: thin bright lines where a warped wave passes through zero. */
function marble(noise: Noise, random: Random): Surface {
  const wave = random.uniform(70, 130);
  return (x, y) => {
    const warp = noise(x * 0.6, y * 0.6) * 9 + noise(x * 1.7 + 80, y * 1.7) * 2;
    const vein = 1 - Math.abs(Math.sin(x / wave + warp));
    return 0.72 - 0.5 * vein ** 5 - 0.25 * noise(x * 0.8 + 31, y * 0.8);
  };
}

/** Chips of stone in cement: cells of a jittered grid, each with its own shade. */
function terrazzo(noise: Noise, random: Random): Surface {
  const cell = random.uniform(12, 20);
  return (x, y) => {
    const column = Math.floor(x / cell);
    const row = Math.floor(y / cell);
    const centreX = (column + 0.3 + 0.4 * noise(column * 71, row * 13)) * cell;
    const centreY = (row + 0.3 + 0.4 * noise(column * 29, row * 83)) * cell;
    const radius = cell * (0.12 + 0.3 * noise(column * 47, row * 59));
    const wobble = 1 + 0.7 * (noise(x * 3, y * 3) - 0.5);
    const inside = Math.hypot(x - centreX, y - centreY) * wobble < radius;
    const chip = noise(column * 101, row * 7) < 0.5 ? 0.12 : 0.95;
    return inside ? chip : 0.52 + 0.12 * (noise(x * 4, y * 4) - 0.5);
  };
}

/** Glazed squares with joints between them. */
function tiles(noise: Noise, random: Random): Surface {
  const side = random.uniform(38, 70);
  return (x, y) => {
    const column = Math.floor(x / side);
    const row = Math.floor(y / side);
    const fromJoint = Math.min(x - column * side, (column + 1) * side - x, y - row * side, (row + 1) * side - y);
    const shade = 0.5 + 0.35 * (noise(column * 61, row * 43) - 0.5) + 0.2 * (noise(x * 0.7, y * 0.7) - 0.5);
    const bevel = smooth(clamp01((fromJoint - 1.5) / 3));
    return shade * bevel + 0.92 * (1 - bevel);
  };
}

/** Short pile: fine noise on soft patches. */
function carpet(noise: Noise): Surface {
  return (x, y) => 0.1 + 0.45 * noise(x * 5, y * 5) + 0.3 * noise(x * 0.9 + 50, y * 0.9) + 0.15 * noise(x * 11, y * 3);
}

/** Nearly even, with fibres. */
function paper(noise: Noise): Surface {
  return (x, y) => 0.5 + 0.3 * (noise(x * 0.5, y * 0.5) - 0.5) + 0.16 * (noise(x * 6, y * 2) - 0.5);
}
