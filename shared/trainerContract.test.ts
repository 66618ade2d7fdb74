import {readFileSync} from 'node:fs';
import {expect, test} from 'vitest';
import {REFUSED_TRAIN_ARGUMENTS, trainArgumentsSchema} from './trainArguments.js';
import {CONTRACT_VERSION, parseTrainerEvent} from './trainerContract.js';

const fixture = (name: string): string => readFileSync(new URL(`../test/fixtures/trainer-contract/${name}`, import.meta.url), 'utf8');

test('every event of the contract parses', () => {
  const lines = fixture('events.ndjson').trim().split('\n');
  for (const line of lines) expect(parseTrainerEvent(line), line).toMatchObject({ok: true});
  const types = new Set(lines.map(line => JSON.parse(line).type));
  expect(types.size).toBe(lines.length);
});

test('the example config has arguments that we would accept, and our contract version', () => {
  const config = JSON.parse(fixture('config.json'));
  expect(config.contract).toBe(CONTRACT_VERSION);
  const {device, ...train} = config.train;
  expect(device).toBe('cuda');
  expect(trainArgumentsSchema.safeParse(train).success).toBe(true);
});

test("the arguments that are taken, their defaults, and those that are refused are the trainer's", () => {
  const {taken, trainer_alone: trainerAlone, refused} = JSON.parse(fixture('train-arguments.json'));
  // `[]` and 0 are the same to freeze: nothing. The spec prefers the number.
  expect(trainArgumentsSchema.parse({})).toEqual({...taken, freeze: 0});
  expect(Object.keys(REFUSED_TRAIN_ARGUMENTS).sort()).toEqual([...Object.keys(trainerAlone), ...refused].sort());
});

test('a loss that overflowed is NaN, and costs no other figure', () => {
  const epoch = fixture('events.ndjson')
    .split('\n')
    .find(line => line.includes('"type":"epoch"'))!;
  const event = JSON.parse(epoch);
  event.val[0].value = null;
  expect(parseTrainerEvent(JSON.stringify(event))).toMatchObject({
    ok: true,
    event: {metrics: event.metrics, val: [{value: Number.NaN}, ...event.val.slice(1)]},
  });
});

test('a line that is no event is an outcome, not an exception', () => {
  expect(parseTrainerEvent('{"type":"ste')).toMatchObject({ok: false});
  expect(parseTrainerEvent('{"type":"dance","t":1}')).toMatchObject({ok: false});
  expect(parseTrainerEvent('{"type":"val","t":1,"epoch":"x","done":1,"total":2}')).toMatchObject({ok: false});
});
