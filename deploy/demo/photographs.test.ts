import {expect, test} from 'vitest';
import {PHOTOGRAPH_SIDE, parsePhotographs} from './photographs.js';

const PIXELS = PHOTOGRAPH_SIDE ** 2;

function words(...values: number[]): number[] {
  return values.flatMap(value => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
}

/** An images file in which photograph i is filled with i + 1, and its labels file. */
function files(labels: number[]): [Uint8Array, Uint8Array] {
  const images = labels.flatMap((_, i) => new Array<number>(PIXELS).fill(i + 1));
  return [
    Uint8Array.from([...words(0x803, labels.length, PHOTOGRAPH_SIDE, PHOTOGRAPH_SIDE), ...images]),
    Uint8Array.from([...words(0x801, labels.length), ...labels]),
  ];
}

test('of all photographs those of the five classes are kept, in order', () => {
  const photographs = parsePhotographs(...files([9, 0, 1, 6, 5]));
  expect(photographs.map(photograph => [photograph.classId, photograph.brightness[0], photograph.brightness.length])).toEqual([
    [4, 1, PIXELS],
    [0, 3, PIXELS],
    [2, 5, PIXELS],
  ]);
});

test('files that are cut short, swapped, or do not belong together are refused', () => {
  const [images, labels] = files([1, 3]);
  expect(() => parsePhotographs(images.subarray(0, 100), labels)).toThrow('cut short');
  expect(() => parsePhotographs(images.subarray(0, 3), labels)).toThrow('cut short');
  expect(() => parsePhotographs(Uint8Array.from([...labels, ...words(0, 0)]), images)).toThrow('images file is not IDX');
  expect(() => parsePhotographs(images, images)).toThrow('labels file is not IDX');
  expect(() => parsePhotographs(images, files([1])[1])).toThrow('2 photographs but 1 labels');
});
