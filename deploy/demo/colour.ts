import {clamp01, mix} from './noise.js';
import type {Random} from './random.js';

/** Red, green, blue, 0..255. */
export type Colour = readonly [number, number, number];

/** Colours that clothes, shoes and bags come in. */
const DYES: readonly Colour[] = [
  [38, 70, 130], // denim
  [24, 33, 66], // navy
  [34, 34, 38], // black
  [128, 24, 44], // burgundy
  [205, 58, 52], // red
  [232, 116, 82], // coral
  [236, 170, 60], // mustard
  [186, 132, 80], // camel
  [112, 74, 48], // brown
  [96, 108, 56], // olive
  [28, 110, 84], // emerald
  [38, 140, 150], // teal
  [96, 162, 214], // sky
  [116, 80, 160], // violet
  [226, 136, 170], // rose
  [238, 230, 214], // cream
  [246, 246, 248], // white
  [150, 154, 162], // grey
];

/** Colours of floors, walls and tables, from its dark to its light. */
const SURFACES: readonly (readonly [Colour, Colour])[] = [
  [
    [92, 60, 38],
    [204, 160, 112],
  ], // oak
  [
    [60, 38, 28],
    [150, 102, 70],
  ], // walnut
  [
    [128, 116, 100],
    [238, 230, 216],
  ], // sand
  [
    [84, 98, 110],
    [206, 216, 224],
  ], // slate
  [
    [36, 46, 60],
    [112, 128, 146],
  ], // charcoal
  [
    [70, 100, 92],
    [190, 214, 198],
  ], // sage
  [
    [34, 78, 76],
    [126, 178, 166],
  ], // pine
  [
    [120, 66, 58],
    [232, 178, 156],
  ], // terracotta
  [
    [140, 84, 100],
    [246, 208, 212],
  ], // blush
  [
    [52, 64, 116],
    [162, 178, 226],
  ], // periwinkle
  [
    [140, 110, 40],
    [250, 224, 150],
  ], // straw
  [
    [66, 60, 88],
    [180, 168, 206],
  ], // lavender
  [
    [150, 150, 152],
    [250, 250, 250],
  ], // white
];

export interface Ramp {
  readonly dark: Colour;
  readonly light: Colour;
}

export function surfaceRamp(random: Random): Ramp {
  const [dark, light] = random.pick(SURFACES);
  return {dark: vary(dark, random), light: vary(light, random)};
}

/** A dye that stands out from a background of the given luminance (0..1). */
export function dyeAgainst(background: number, random: Random): Colour {
  const dyes = DYES.filter(dye => Math.abs(luminance(dye) - background) > 0.18);
  return vary(random.pick(dyes), random);
}

/** Rec. 709 weights on the stored (gamma) values, 0..1: enough to judge contrast by. */
export function luminance([red, green, blue]: Colour): number {
  return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255;
}

/** A few per cent off, as no two dye lots are the same. */
function vary([red, green, blue]: Colour, random: Random): Colour {
  const off = (value: number): number => clamp01((value + random.uniform(-14, 14)) / 255) * 255;
  return [off(red), off(green), off(blue)];
}

/** Channel by channel. */
export function mixColours(from: Colour, to: Colour, t: number): Colour {
  return [mix(from[0], to[0], t), mix(from[1], to[1], t), mix(from[2], to[2], t)];
}
