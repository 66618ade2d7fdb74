import {expect, test} from 'vitest';
import {labelLine} from './dataset.js';
import {fractalNoise} from './noise.js';
import {CLASS_NAMES, PHOTOGRAPH_SIDE, type Photograph} from './photographs.js';
import {seededRandom} from './random.js';
import {type Box, composeScene, overlap, type Props, SCENE_SIDE} from './scene.js';
import {makeTexture, TEXTURE_SIDE, type Texture} from './texture.js';

/** A bright block of the given size in the middle of a photograph. */
function block(classId: number, width: number, height: number): Photograph {
  const brightness = new Uint8Array(PHOTOGRAPH_SIDE ** 2);
  for (let y = 14 - height / 2; y < 14 + height / 2; y++) {
    for (let x = 14 - width / 2; x < 14 + width / 2; x++) brightness[y * PHOTOGRAPH_SIDE + x] = 200;
  }
  return {classId, brightness};
}

const evenGround: Texture = {side: TEXTURE_SIDE, values: new Uint8Array(TEXTURE_SIDE ** 2).fill(128)};

const noise = fractalNoise(1);
const boards = makeTexture(0, noise, seededRandom(2));

function props(over: Partial<Props> = {}): Props {
  return {photographs: [block(0, 8, 24), block(3, 24, 16)], textureCount: 1, texture: () => boards, grain: noise, ...over};
}

test('a seed gives one scene, another seed another', () => {
  const first = composeScene(props(), seededRandom(7));
  expect(composeScene(props(), seededRandom(7))).toEqual(first);
  expect(composeScene(props(), seededRandom(8)).pixels).not.toEqual(first.pixels);
});

test('every box lies inside the scene, has the shape of its product, and hardly overlaps another', () => {
  for (let seed = 0; seed < 20; seed++) {
    const {boxes} = composeScene(props(), seededRandom(seed));
    expect(boxes.length).toBeGreaterThanOrEqual(1);
    for (const box of boxes) {
      expect(Math.min(box.left, box.top)).toBeGreaterThanOrEqual(0);
      expect(Math.max(box.right, box.bottom)).toBeLessThanOrEqual(SCENE_SIDE);
      const wide = box.right - box.left > box.bottom - box.top;
      expect(wide).toBe(box.classId === 3);
      for (const other of boxes) if (other !== box) expect(overlap(box, other)).toBeLessThanOrEqual(0.12);
    }
  }
});

test('a box fits its product: the colour changes where the box begins, and nowhere far outside any box', () => {
  for (let seed = 0; seed < 20; seed++) {
    const {pixels, boxes} = composeScene(props({texture: () => evenGround}), seededRandom(seed));
    const alone = boxes.find(box => boxes.every(other => other === box || distance(box, other) > 24));
    if (alone === undefined) continue;
    const middle = Math.round((alone.top + alone.bottom) / 2);
    expect(jump(pixels, alone.left - 3, alone.left + 4, middle)).toBeGreaterThan(20);
    if (alone.left >= 30) expect(jump(pixels, alone.left - 26, alone.left - 20, middle)).toBeLessThan(8);
  }
});

test('all kinds of texture differ, and use much of the ramp', () => {
  const pictures = Array.from({length: 8}, (_, kind) => makeTexture(kind, noise, seededRandom(4)).values);
  for (const values of pictures) {
    const sorted = values.toSorted((a, b) => a - b);
    expect(sorted[Math.floor(sorted.length * 0.98)]! - sorted[Math.floor(sorted.length * 0.02)]!).toBeGreaterThan(40);
  }
  expect(new Set(pictures.map(values => values.slice(0, 4096).join())).size).toBe(8);
});

test('a label line is class, centre and size as shares of the picture', () => {
  expect(labelLine({classId: 4, left: 0, top: 64, right: 128, bottom: 192})).toBe('4 0.250000 0.500000 0.500000 0.500000\n');
  expect(CLASS_NAMES).toHaveLength(5);
});

/** The gap between two boxes, along the axis where it is larger; negative when they overlap. */
function distance(a: Box, b: Box): number {
  return Math.max(a.left - b.right, b.left - a.right, a.top - b.bottom, b.top - a.bottom);
}

/** The largest difference of a channel between two pixels of a row. */
function jump(pixels: Uint8ClampedArray, from: number, to: number, row: number): number {
  const at = (column: number, channel: number): number => pixels[(row * SCENE_SIDE + Math.max(0, column)) * 3 + channel]!;
  return Math.max(...[0, 1, 2].map(channel => Math.abs(at(from, channel) - at(to, channel))));
}
