import {createWriteStream} from 'node:fs';
import {PassThrough} from 'node:stream';
import {expect, it} from 'vitest';
import {createLog, errorChain, type LogConfig} from './log.js';

function logged(format: LogConfig['format'], level: LogConfig['level'] = 'info') {
  const stream = new PassThrough({encoding: 'utf8'});
  const log = createLog({component: 'agent', level, format, stream});
  return {
    log,
    lines: () =>
      String(stream.read() ?? '')
        .trimEnd()
        .split('\n'),
  };
}

const failure = new Error('committing attempt j7/2', {cause: new Error('deadline exceeded')});

it('writes one line for people, with its fields and the whole chain of an error', () => {
  const {log, lines} = logged('text');
  log.child({node: 'node-a'}).warn('attempt ended', {job: 'j7', reason: 'a rank was killed', error: failure});
  const [time, ...rest] = lines()[0]!.split(' ');
  expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  expect(rest.join(' ')).toBe(
    'WARN  [agent] attempt ended node=node-a job=j7 reason="a rank was killed" error="committing attempt j7/2: deadline exceeded"',
  );
});

it('writes one JSON object a line for collectors', () => {
  const {log, lines} = logged('json');
  log.info('placed', {attempt: 2, message: 'not the message'});
  const {timestamp, ...rest} = JSON.parse(lines()[0]!);
  expect(Date.parse(timestamp)).toBeGreaterThan(0);
  expect(rest).toEqual({level: 'info', component: 'agent', message: 'placed', attempt: 2});
});

it('loses what cannot be written, and lets the process go on', async () => {
  const stream = createWriteStream('/dev/full');
  const log = createLog({component: 'up', level: 'info', format: 'text', stream});
  const failed = new Promise<void>(resolve => stream.once('close', resolve)); // an error that nobody hears would fail this run
  log.info('one');
  await failed;
  log.info('another');
});

it('tells with an error where it came from', () => {
  const {log, lines} = logged('text');
  log.error('a call failed', {error: failure});
  const [line, ...stack] = lines();
  expect(line).toContain('error="committing attempt j7/2: deadline exceeded"');
  expect(stack[0]).toBe('Error: deadline exceeded');
});

it('leaves out what is below its level', () => {
  const {log, lines} = logged('text', 'warn');
  log.info('no');
  log.debug('no');
  log.error('yes');
  expect(lines()).toHaveLength(1);
});

it('ends the chain of an error that causes itself', () => {
  const loop = new Error('round');
  loop.cause = loop;
  expect(errorChain(loop)).toMatch(/^round: round/);
});
