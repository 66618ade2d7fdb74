import {expect, test} from 'vitest';
import {editDistance, nearest} from './suggest.js';

test.each([
  ['', 'abc', 3],
  ['epoch', 'epochs', 1],
  ['bacth', 'batch', 1],
  ['kitten', 'sitting', 3],
])('%s and %s are %i edits apart', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

test('a slip of the finger finds its word, another word finds none', () => {
  const known = ['epochs', 'batch', 'imgsz', 'val'];
  expect(nearest('epoch', known)).toBe('epochs');
  expect(nearest('Bacth', known)).toBe('batch');
  expect(nearest('validation', known)).toBe('val');
  expect(nearest('colour', known)).toBeUndefined();
});
