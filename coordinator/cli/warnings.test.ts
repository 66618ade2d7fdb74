import {connect} from 'node:tls';
import {afterEach, expect, it, vi} from 'vitest';
import {keepIpServerNamesQuiet} from './warnings.js';

const {emitWarning} = process;
afterEach(() => {
  process.emitWarning = emitWarning;
});

it('of all warnings, only the one of IP addresses as TLS server names is kept quiet', () => {
  const told = vi.fn();
  process.emitWarning = told;
  keepIpServerNamesQuiet();
  connect({host: '127.0.0.1', port: 1, servername: '127.0.0.1'})
    .on('error', () => {})
    .destroy();
  expect(told).not.toHaveBeenCalled();
  process.emitWarning('another', 'DeprecationWarning', 'DEP0001');
  process.emitWarning('one more', {code: 'ours'});
  expect(told.mock.calls).toEqual([
    ['another', 'DeprecationWarning', 'DEP0001'],
    ['one more', {code: 'ours'}],
  ]);
});
