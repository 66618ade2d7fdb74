import {expect, it} from 'vitest';
import {foldersOf} from '../../../shared/config.js';
import {resolveUpConfig} from './upConfig.js';

it('port 0 is any that is free, as no port is', () => {
  const portOf = (port?: string): number | undefined =>
    resolveUpConfig({flags: {port}, env: {}, file: undefined}, foldersOf({}, '/home/u')).port;
  expect([portOf(), portOf('0'), portOf('7171')]).toEqual([undefined, undefined, 7171]);
});
