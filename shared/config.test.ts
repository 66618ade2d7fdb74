import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import * as path from 'node:path';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {ConfigError, findConfigFile, foldersOf, resolveSettings, type Sources, setting} from './config.js';
import {duration, filePath, hostPort, listOf, oneOf, showHostPort, wholeNumber, yesOrNo} from './settings.js';

const settings = {
  listen: setting({summary: 'where', kind: hostPort(), fallback: {host: '127.0.0.1', port: 7070}}),
  nodeTimeout: setting({summary: 'how long', kind: duration(100, 3_600_000), fallback: 10_000}),
  slots: setting({summary: 'how many', kind: wholeNumber(1, 64), fallback: 1}),
  logFormat: setting({summary: 'how', kind: oneOf('text', 'json'), fallback: 'text' as const}),
};
const nothing: Sources = {flags: {}, env: {}, file: undefined};

function problemsOf(sources: Partial<Sources>): string[] {
  try {
    resolveSettings(settings, 'coordinator', {...nothing, ...sources});
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({where, message}) => `${where}: ${message}`);
  }
}

describe('a setting', () => {
  const file = {path: 'config.yaml', content: {coordinator: {slots: 2, node_timeout: '2s', log_format: 'json'}, agent: {anything: 1}}};

  it('is taken from the flag, then the environment, then the file, then its default', () => {
    const env = {TENFOLD_SLOTS: '3', TENFOLD_NODE_TIMEOUT: '3s'};
    expect(resolveSettings(settings, 'coordinator', {flags: {slots: '4'}, env, file})).toEqual({
      listen: {host: '127.0.0.1', port: 7070},
      nodeTimeout: 3000,
      slots: 4,
      logFormat: 'json',
    });
  });

  it('that is empty in the environment counts as not set', () => {
    expect(resolveSettings(settings, 'coordinator', {...nothing, env: {TENFOLD_SLOTS: ''}}).slots).toBe(1);
  });
});

describe('the report of bad settings', () => {
  it('is complete, and names where each was said', () => {
    const file = {path: 'config.yaml', content: {coordinator: {log_format: 'xml', node_timeuot: '2s'}, cordinator: {}}};
    expect(problemsOf({flags: {listen: 'here'}, env: {TENFOLD_SLOTS: '-1', TENFOLD_NODE_TIMEOUT: '3'}, file})).toEqual([
      'config.yaml: cordinator: unknown key; did you mean coordinator?',
      'config.yaml: coordinator.node_timeuot: unknown key; did you mean node_timeout?',
      '--listen: must be host:port, such as 127.0.0.1:7070 or [::1]:7070, not "here"',
      'TENFOLD_NODE_TIMEOUT: must be a duration from 100ms to 1h, such as 500ms, 30s, 5m or 12h, not "3"',
      'TENFOLD_SLOTS: must be a whole number from 1 to 64, not "-1"',
      'config.yaml: coordinator.log_format: must be one of text, json, not "xml"',
    ]);
  });

  it.each([
    ['a list', ['x'], 'config.yaml: must be a mapping of sections'],
    ['a section that is a text', {coordinator: 'x'}, 'config.yaml: coordinator: must be a mapping'],
  ])('names a file that is %s', (_, content, problem) => {
    expect(problemsOf({file: {path: 'config.yaml', content}})).toEqual([problem]);
  });
});

describe('kinds of settings', () => {
  it('take what people write', () => {
    expect(filePath('/home/ada').parse('~/data')).toBe('/home/ada/data');
    expect(yesOrNo().parse('Yes')).toBe(true);
    expect(yesOrNo().safeParse('constructor').success).toBe(false);
    expect(duration(1, 1e9).parse('1.5s')).toBe(1500);
    expect(listOf(hostPort()).parse('a:1, [::1]:2').map(showHostPort)).toEqual(['a:1', '[::1]:2']);
  });

  it.each(['', 'host', ':7070', 'host:99999', 'host:7070:1', '::1:7070', 'http://host:80'])('refuse the address %j', address => {
    expect(hostPort().safeParse(address).success).toBe(false);
  });
});

describe('folders', () => {
  it('follow XDG, and ignore relative values as it says', () => {
    const folders = foldersOf({XDG_CONFIG_HOME: '/conf', XDG_DATA_HOME: 'relative', XDG_RUNTIME_DIR: '/run/user/7'}, '/home/ada');
    expect(folders).toEqual({
      config: '/conf/tenfold',
      data: '/home/ada/.local/share/tenfold',
      state: '/home/ada/.local/state/tenfold',
      cache: '/home/ada/.cache/tenfold',
      runtime: '/run/user/7/tenfold',
    });
  });
});

describe('the config file', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'tenfold-config-'));
  });
  afterEach(() => rmSync(folder, {recursive: true}));

  it('that was asked for must be there', () => {
    expect(() => findConfigFile(path.join(folder, 'none.yaml'), {})).toThrow('none.yaml: cannot be read (ENOENT)');
  });

  it('that is not YAML is told with the place', () => {
    const file = path.join(folder, 'config.yaml');
    writeFileSync(file, 'coordinator: {a: 1\nb: [');
    expect(() => findConfigFile(undefined, {TENFOLD_CONFIG: file})).toThrow(/config.yaml: is not YAML: .* at line \d/);
  });
});
