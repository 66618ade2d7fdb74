import {describe, expect, it} from 'vitest';
import {ConfigError, foldersOf} from '../shared/config.js';
import {isLoopback} from '../shared/loopback.js';
import {type CoordinatorConfig, resolveCoordinatorConfig} from './config.js';

const folders = foldersOf({}, '/home/ada');

function configOf(flags: Record<string, string>): CoordinatorConfig {
  return resolveCoordinatorConfig({flags, env: {}, file: undefined}, folders);
}

function problemsOf(flags: Record<string, string>): string[] {
  try {
    configOf(flags);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({where, message}) => `${where}: ${message}`);
  }
}

describe("the coordinator's config", () => {
  it('is complete without a word', () => {
    expect(configOf({})).toMatchObject({
      listen: {host: '127.0.0.1', port: 7070},
      tls: undefined,
      etcd: {endpoints: [{host: '127.0.0.1', port: 2379}], prefix: 'tenfold', tls: undefined, leaderTtlMs: 3000},
      dataDir: '/home/ada/.local/share/tenfold/coordinator',
      rateLimit: {perSecond: 200, burst: 400},
    });
  });

  it('without TLS keeps to this machine, and says how to go on', () => {
    const [problem] = problemsOf({listen: '0.0.0.0:7070'});
    expect(problem).toMatch(
      /^--listen: 0\.0\.0\.0:7070 can be reached from other machines.*--tls-cert and --tls-key.*or listen on 127\.0\.0\.1/,
    );
    expect(problemsOf({listen: '0.0.0.0:7070', tlsCert: 'c.pem', tlsKey: 'c.key'})).toEqual([]);
  });

  it.each(['127.0.0.1', '127.8.9.1', '::1', 'localhost'])('takes %s for this machine', host => {
    expect(isLoopback(host)).toBe(true);
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', 'localhost.evil.example', '127.0.0.1.example', 'host'])(
    'does not take %s for this machine',
    host => {
      expect(isLoopback(host)).toBe(false);
    },
  );

  it('tells all that does not fit together at once', () => {
    expect(problemsOf({tlsKey: 'c.key', tlsClientCa: 'ca.pem', etcdCert: 'e.pem', etcdPrefix: '../x y'})).toEqual([
      '--tls-key: needs --tls-cert, its certificate',
      '--etcd-cert: needs --etcd-key, its private key',
      '--tls-client-ca: needs --tls-cert and --tls-key: clients show certificates only over TLS',
      '--etcd-prefix: must be a plain path such as tenfold or team/tenfold, not "../x y"',
    ]);
  });
});
