import {readdirSync, readFileSync} from 'node:fs';
import {expect, test} from 'vitest';
import {parse} from 'yaml';
import {ARCHITECTURES} from '../../shared/jobSpec.js';

test('specs may name the networks that the trainer has, and no others', () => {
  const folder = new URL('../../agent/trainer/models/', import.meta.url);
  const names = readdirSync(folder).flatMap(file => {
    const {sizes} = parse(readFileSync(new URL(file, folder), 'utf8')) as {sizes: Record<string, unknown>};
    return Object.keys(sizes).map(size => file.replace('.yaml', size));
  });
  expect([...ARCHITECTURES].sort()).toEqual(names.sort());
});
