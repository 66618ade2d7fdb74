import {readFileSync} from 'node:fs';
import {expect, test} from 'vitest';
import {EXIT_CODES, endReason, endReasonOfExit, isRetriable, rootCause} from './endReason.js';

test('the exit-code table equals the one that the trainer is tested against', () => {
  const fixture = JSON.parse(readFileSync(new URL('../test/fixtures/trainer-contract/exit-codes.json', import.meta.url), 'utf8'));
  expect(EXIT_CODES).toEqual(fixture);
});

test('an exit code outside of the table is a bug of ours, and worth another try', () => {
  expect(endReasonOfExit(99, 'oh')).toEqual({code: 'internal', fault: 'infra', message: 'exit code 99: oh'});
  expect(isRetriable('internal')).toBe(true);
});

test('what a user can mend is not retried', () => {
  for (const code of ['bad_config', 'bad_data', 'diverged', 'out_of_memory', 'cancelled', 'completed'] as const)
    expect(isRetriable(code)).toBe(false);
});

test('a killed rank explains its peers, and so does an agent that was stopped; a bad batch explains even that', () => {
  expect(rootCause([endReason('peer_lost'), endReason('killed'), endReason('peer_lost')])?.code).toBe('killed');
  expect(rootCause([endReason('killed'), endReason('out_of_memory')])?.code).toBe('out_of_memory');
  expect(rootCause([endReason('completed'), endReason('peer_lost')])?.code).toBe('peer_lost');
  expect(rootCause([endReason('peer_lost'), endReason('stopped'), endReason('agent_stopped')])?.code).toBe('agent_stopped');
  expect(rootCause([])).toBeUndefined();
});
