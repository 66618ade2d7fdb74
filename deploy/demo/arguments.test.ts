import {expect, test} from 'vitest';
import {demoCluster, parseArguments} from './arguments.js';

test('without arguments the demo trains its own scenes', () => {
  expect(parseArguments([])).toMatchObject({help: false, data: undefined, words: expect.arrayContaining(['model=yolov8n', 'epochs=12'])});
});

test("the user's own come last, so that they win", () => {
  const {data, words} = parseArguments(['--data', 'my/data.yaml', 'model=yolov8s', 'epochs=5']);
  expect(data).toBe('my/data.yaml');
  expect(words.slice(-2)).toEqual(['model=yolov8s', 'epochs=5']);
  expect(parseArguments(['--data=my/data.yaml', '--out=there']).out).toBe('there');
});

test.each([[['--dta', 'x']], [['yolov8s']], [['--data']]])('%j is refused', args => {
  expect(() => parseArguments(args)).toThrow(/--help/);
});

test.each([
  [0, 2, '--agents 2 --cpu-slots 1'],
  [1, 1, '--agents 1'],
  [2, 2, '--agents 2'],
  [8, 2, '--agents 2'],
])('a machine with %i GPUs shows %i agents', (gpus, agents, flags) => {
  const cluster = demoCluster(gpus);
  expect([cluster.agents, cluster.upFlags.join(' ')]).toEqual([agents, flags]);
});
