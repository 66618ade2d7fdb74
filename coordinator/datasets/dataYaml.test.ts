import {expect, test} from 'vitest';
import {parseDataYaml} from './dataYaml.js';

function problemsOf(text: string): string[] {
  const parsed = parseDataYaml(text, 'data.yaml');
  return 'problems' in parsed ? parsed.problems.map(found => `${found.code}: ${found.message}`) : [];
}

test('names may be a list or a mapping, splits may be lists', () => {
  const list = parseDataYaml('train: a\nval: [b, c]\nnames: [cat, dog]', 'data.yaml');
  expect(list).toEqual({yaml: {path: '', train: ['a'], val: ['b', 'c'], names: ['cat', 'dog']}});
  const mapping = parseDataYaml('path: ..\ntrain: a\nval: b\nnc: 2\nnames:\n  1: dog\n  0: cat', 'data.yaml');
  expect(mapping).toMatchObject({yaml: {path: '..', names: ['cat', 'dog']}});
});

test('a class that YAML reads as a number or a truth value keeps its name', () => {
  expect(parseDataYaml('train: a\nval: b\nnames: [9, 10, on]', 'x')).toMatchObject({yaml: {names: ['9', '10', 'on']}});
});

test.each([
  ['train: [', 'yaml_malformed'],
  ['just words', 'yaml_malformed'],
  ['val: b\nnames: [a]', 'split_missing: has no key train'],
  ['train: a\nvalid: b\nnames: [a]', 'is valid meant to be it?'],
  ['train: 3\nval: b\nnames: [a]', 'yaml_invalid: train: must name a folder'],
  ['train: a\nval: b', 'names_invalid: has no key names'],
  ['train: a\nval: b\nnames: []', 'names is empty'],
  ['train: a\nval: b\nnames: [a, a]', 'class name a stands twice'],
  ['train: a\nval: b\nnames: {0: a, 2: c}', 'must run from 0 to 1 without gaps'],
  ['train: a\nval: b\nnames: [a, b]\nnc: 3', 'nc is 3, but names has 2'],
])('%j is refused', (text, expected) => {
  expect(problemsOf(text).join('\n')).toContain(expected);
});

test('everything that is missing is told at once', () => {
  expect(problemsOf('path: x')).toHaveLength(3);
});
