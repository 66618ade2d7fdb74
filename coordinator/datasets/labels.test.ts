import {expect, test} from 'vitest';
import {parseLabels} from './labels.js';

const codes = (text: string, classes = 3) => parseLabels(text, classes, 'a.txt').problems.map(found => `${found.line}:${found.code}`);

test('a box line becomes class, centre and size', () => {
  expect(parseLabels('2 0.5 0.25 0.2 0.1\n', 3, 'a.txt')).toEqual({
    boxes: [[2, 0.5, 0.25, expect.closeTo(0.2), expect.closeTo(0.1)]],
    problems: [],
  });
});

test('an empty file is background', () => {
  expect(parseLabels('\n \n', 3, 'a.txt')).toEqual({boxes: [], problems: []});
});

test('a polygon gives its bounding box', () => {
  expect(parseLabels('0 0.1 0.2 0.5 0.2 0.3 0.6', 1, 'a.txt').boxes).toEqual([
    [0, expect.closeTo(0.3), expect.closeTo(0.4), expect.closeTo(0.4), expect.closeTo(0.4)],
  ]);
});

test('rounding beyond the edge is clipped, more is refused', () => {
  expect(parseLabels('0 0.5 0.5 1.0004 1', 1, 'a.txt').boxes).toEqual([[0, 0.5, 0.5, 1, 1]]);
  expect(codes('0 0.5 0.5 1.1 1')).toEqual(['1:label_out_of_range']);
  expect(codes('0 320 240 64 48')).toEqual(['1:label_out_of_range']);
});

test('each kind of bad line is told with its number, and the good ones are kept', () => {
  const text = [
    '0 0.5 0.5 0.1 0.1',
    '3 0.5 0.5 0.1 0.1',
    'cat 0.5 0.5 0.1 0.1',
    '0 0.5 0.5',
    '0 0.5 0.5 0 0.1',
    '-1 0.5 0.5 0.1 0.1',
    '0 0.5 0.5 0.1 0.1',
  ].join('\r\n');
  expect(codes(text)).toEqual([
    '2:class_out_of_range',
    '3:label_malformed',
    '4:label_malformed',
    '5:label_out_of_range',
    '6:label_malformed',
    '7:duplicate_label',
  ]);
  expect(parseLabels(text, 3, 'a.txt').boxes).toHaveLength(1);
});

test('words that JavaScript takes for numbers are not numbers here', () => {
  for (const word of ['0x1', 'Infinity', 'NaN', '1_0', '']) expect(codes(`0 ${word} 0.5 0.1 0.1`)).toEqual(['1:label_malformed']);
});
