import {dyeAgainst, luminance, mixColours, type Ramp, surfaceRamp} from './colour.js';
import {type Cutout, cutOut, type Pose} from './cutout.js';
import {clamp01, mix, type Noise} from './noise.js';
import type {Photograph} from './photographs.js';
import type {Random} from './random.js';
import type {Texture} from './texture.js';

/** Width and height of a scene in pixels. */
export const SCENE_SIDE = 256;

/** Where a product is, in pixels of the scene; right and bottom are exclusive. */
export interface Box {
  readonly classId: number;
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export interface Scene {
  /** SCENE_SIDE^2 * 3: red, green, blue, row by row. */
  readonly pixels: Uint8ClampedArray;
  readonly boxes: readonly Box[];
}

/** What scenes are composed of. */
export interface Props {
  readonly photographs: readonly Photograph[];
  readonly textureCount: number;
  /** The texture of a number in 0..textureCount-1. */
  readonly texture: (index: number) => Texture;
  readonly grain: Noise;
}

/** Products of random kind, size and colour on a random surface, with soft shadows. */
export function composeScene(props: Props, random: Random): Scene {
  const ramp = surfaceRamp(random);
  const pixels = layGround(props.texture(random.below(props.textureCount)), ramp, random);
  const ground = luminance(mixColours(ramp.dark, ramp.light, 0.5));
  const shadow = {x: random.uniform(-5, 5), y: random.uniform(2, 7), strength: random.uniform(0.3, 0.5)};
  const boxes: Box[] = [];
  const wanted = random.pick([3, 3, 4, 4, 5, 6]);
  for (let i = 0; i < wanted; i++) {
    const photograph = random.pick(props.photographs);
    const cutout = cutOut(photograph, poseOf(ground, random), props.grain);
    const place = findPlace(cutout, boxes, random);
    if (place === null) continue;
    castShadow(pixels, cutout, {x: place.x + shadow.x, y: place.y + shadow.y}, shadow.strength);
    paste(pixels, cutout, place);
    boxes.push({classId: photograph.classId, left: place.x, top: place.y, right: place.x + cutout.width, bottom: place.y + cutout.height});
  }
  return {pixels, boxes};
}

function poseOf(ground: number, random: Random): Pose {
  return {
    lengthPx: random.uniform(58, 124),
    stretch: random.uniform(0.92, 1.1),
    mirrored: random.chance(0.5),
    turn: random.uniform(-0.2, 0.2),
    dye: dyeAgainst(ground, random),
  };
}

/** A piece of the texture in the ramp's colours, lit from one side. */
function layGround(texture: Texture, ramp: Ramp, random: Random): Uint8ClampedArray {
  const pixels = new Uint8ClampedArray(SCENE_SIDE ** 2 * 3);
  const slack = texture.side - SCENE_SIDE;
  const [offsetX, offsetY] = [random.below(slack + 1), random.below(slack + 1)];
  const lightAngle = random.uniform(0, 2 * Math.PI);
  const shades = shadesOfRamp(ramp);
  const [slopeX, slopeY] = [(Math.cos(lightAngle) * 0.34) / SCENE_SIDE, (Math.sin(lightAngle) * 0.34) / SCENE_SIDE];
  for (let y = 0; y < SCENE_SIDE; y++) {
    for (let x = 0; x < SCENE_SIDE; x++) {
      const shade = texture.values[(offsetY + y) * texture.side + offsetX + x]! * 3;
      const light = 1 + (x - SCENE_SIDE / 2) * slopeX + (y - SCENE_SIDE / 2) * slopeY;
      const at = (y * SCENE_SIDE + x) * 3;
      pixels[at] = shades[shade]! * light;
      pixels[at + 1] = shades[shade + 1]! * light;
      pixels[at + 2] = shades[shade + 2]! * light;
    }
  }
  return pixels;
}

/** The colour at each of the 256 positions on the ramp. */
function shadesOfRamp(ramp: Ramp): Float32Array {
  const shades = new Float32Array(256 * 3);
  for (let position = 0; position < 256; position++) shades.set(mixColours(ramp.dark, ramp.light, position / 255), position * 3);
  return shades;
}

const PLACING_TRIES = 30;

/** The share of a product, or of its neighbour, that another one may cover. */
const MOST_OVERLAP = 0.12;

/** A spot inside the scene where it hardly overlaps what lies there already, or null when none was found. */
function findPlace(cutout: Cutout, boxes: readonly Box[], random: Random): {x: number; y: number} | null {
  const [roomX, roomY] = [SCENE_SIDE - cutout.width, SCENE_SIDE - cutout.height];
  if (cutout.width === 0 || roomX < 0 || roomY < 0) return null;
  for (let attempt = 0; attempt < PLACING_TRIES; attempt++) {
    const [x, y] = [random.below(roomX + 1), random.below(roomY + 1)];
    const box = {classId: 0, left: x, top: y, right: x + cutout.width, bottom: y + cutout.height};
    if (boxes.every(other => overlap(box, other) <= MOST_OVERLAP)) return {x, y};
  }
  return null;
}

/** Intersection as a share of the smaller box. */
export function overlap(a: Box, b: Box): number {
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return (Math.max(0, width) * Math.max(0, height)) / Math.min(area(a), area(b));
}

function area(box: Box): number {
  return (box.right - box.left) * (box.bottom - box.top);
}

const SHADOW_BLUR_PX = 4;

/** Darkens the ground by the blurred outline. */
function castShadow(pixels: Uint8ClampedArray, cutout: Cutout, place: {x: number; y: number}, strength: number): void {
  const margin = 2 * SHADOW_BLUR_PX;
  const width = cutout.width + 2 * margin;
  const height = cutout.height + 2 * margin;
  const outline = new Float32Array(width * height);
  for (let y = 0; y < cutout.height; y++) {
    outline.set(cutout.opacity.subarray(y * cutout.width, (y + 1) * cutout.width), (y + margin) * width + margin);
  }
  const soft = blur(blur(outline, width, height), width, height);
  const [left, top] = [Math.round(place.x) - margin, Math.round(place.y) - margin];
  for (let y = Math.max(0, -top); y < Math.min(height, SCENE_SIDE - top); y++) {
    for (let x = Math.max(0, -left); x < Math.min(width, SCENE_SIDE - left); x++) {
      const light = 1 - strength * soft[y * width + x]!;
      const at = ((top + y) * SCENE_SIDE + left + x) * 3;
      for (let channel = 0; channel < 3; channel++) pixels[at + channel]! *= light;
    }
  }
}

/** Mean over squares that reach SHADOW_BLUR_PX to each side: rows, then columns. */
function blur(values: Float32Array, width: number, height: number): Float32Array {
  const across = blurLines(values, height, width, width, 1);
  return blurLines(across, width, height, 1, width);
}

/** Running means along `lines` lines of `length` values; `lineStride` and `stride` lead from line to line and from value to value. */
function blurLines(values: Float32Array, lines: number, length: number, lineStride: number, stride: number): Float32Array {
  const radius = SHADOW_BLUR_PX;
  const result = new Float32Array(values.length);
  for (let line = 0; line < lines; line++) {
    const start = line * lineStride;
    let sum = 0;
    for (let i = 0; i < length + radius; i++) {
      if (i < length) sum += values[start + i * stride]!;
      if (i > 2 * radius) sum -= values[start + (i - 2 * radius - 1) * stride]!;
      if (i >= radius) result[start + (i - radius) * stride] = sum / (2 * radius + 1);
    }
  }
  return result;
}

function paste(pixels: Uint8ClampedArray, cutout: Cutout, place: {x: number; y: number}): void {
  for (let y = 0; y < cutout.height; y++) {
    for (let x = 0; x < cutout.width; x++) {
      const from = y * cutout.width + x;
      const opacity = cutout.opacity[from]!;
      if (opacity === 0) continue;
      const at = ((place.y + y) * SCENE_SIDE + place.x + x) * 3;
      for (let channel = 0; channel < 3; channel++) {
        pixels[at + channel] = mix(pixels[at + channel]!, cutout.colours[from * 3 + channel]!, clamp01(opacity));
      }
    }
  }
}
