import {existsSync, readFileSync} from 'node:fs';
import {homedir} from 'node:os';
import * as path from 'node:path';
import {parseDocument} from 'yaml';
import type {z} from 'zod';
import {nearest} from './suggest.js';

/**
 * Settings of a process: flag > environment > file > default. A setting `nodeTimeout` of the section `coordinator` is the flag
 * `--node-timeout`, the environment variable `TENFOLD_NODE_TIMEOUT`, and `coordinator.node_timeout` in the YAML file. Whatever is wrong
 * is reported at once and whole, each with where it was said.
 */

export interface Setting<T> {
  /** For `--help`. */
  readonly summary: string;
  readonly kind: z.ZodType<T>;
  readonly fallback: T;
  /** What stands for the value in `--help`, such as `host:port`; absent for a switch. */
  readonly placeholder?: string;
}
// biome-ignore lint/suspicious/noExplicitAny: a table holds settings of any type; `Values` gives each its own back.
export type Settings = Readonly<Record<string, Setting<any>>>;
export type Values<S extends Settings> = {readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never};

export const setting = <T>(definition: Setting<T>): Setting<T> => definition;

/** Where values come from; flags by the setting's name, as commander gives them. */
export interface Sources {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: NodeJS.ProcessEnv;
  readonly file: ConfigFile | undefined;
}

export interface ConfigFile {
  readonly path: string;
  readonly content: unknown;
}

/** One wrong value. `where` is the flag, variable or key that said it. */
export interface ConfigProblem {
  readonly where: string;
  readonly message: string;
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(readonly problems: readonly ConfigProblem[]) {
    super(problems.map(({where, message}) => `${where}: ${message}`).join('\n'));
  }
}

export const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`;
export const variableOf = (name: string): string => `TENFOLD_${keyOf(name).toUpperCase()}`;
export const keyOf = (name: string): string => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);

/** The sections of a config file, so that a misspelt one is noticed. */
const SECTIONS = ['client', 'coordinator', 'agent', 'up'];

/** Complete values of all settings. Throws `ConfigError` with every problem. */
export function resolveSettings<S extends Settings>(settings: S, section: string, sources: Sources): Values<S> {
  const {values: inFile, problems} = sectionOf(sources.file, section, Object.keys(settings));
  const values: Record<string, unknown> = {};
  for (const [name, {kind, fallback}] of Object.entries(settings)) {
    const said = firstSaid(name, section, sources, inFile);
    if (said === undefined) {
      values[name] = fallback;
      continue;
    }
    const parsed = kind.safeParse(said.value);
    if (parsed.success) values[name] = parsed.data;
    else problems.push({where: said.where, message: `${parsed.error.issues[0]!.message}, not ${JSON.stringify(said.value)}`});
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return values as Values<S>;
}

function firstSaid(
  name: string,
  section: string,
  {flags, env, file}: Sources,
  inFile: Readonly<Record<string, unknown>>,
): {where: string; value: unknown} | undefined {
  if (flags[name] !== undefined) return {where: flagOf(name), value: flags[name]};
  const variable = env[variableOf(name)];
  if (variable !== undefined && variable !== '') return {where: variableOf(name), value: variable};
  const value = inFile[keyOf(name)];
  return value === undefined || value === null ? undefined : {where: `${file!.path}: ${section}.${keyOf(name)}`, value};
}

function sectionOf(
  file: ConfigFile | undefined,
  section: string,
  names: readonly string[],
): {values: Readonly<Record<string, unknown>>; problems: ConfigProblem[]} {
  if (file === undefined || file.content === null || file.content === undefined) return {values: {}, problems: []};
  if (!isMapping(file.content)) return {values: {}, problems: [{where: file.path, message: 'must be a mapping of sections'}]};
  const problems = unknownKeys(file.content, SECTIONS, file.path, '');
  const values = file.content[section] ?? {};
  if (!isMapping(values)) return {values: {}, problems: [...problems, {where: `${file.path}: ${section}`, message: 'must be a mapping'}]};
  return {values, problems: [...problems, ...unknownKeys(values, names.map(keyOf), file.path, `${section}.`)]};
}

function unknownKeys(mapping: Record<string, unknown>, known: readonly string[], file: string, prefix: string): ConfigProblem[] {
  return Object.keys(mapping)
    .filter(key => !known.includes(key))
    .map(key => {
      const suggestion = nearest(key, known);
      const hint = suggestion === undefined ? `known here: ${known.join(', ')}` : `did you mean ${suggestion}?`;
      return {where: `${file}: ${prefix}${key}`, message: `unknown key; ${hint}`};
    });
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Folders by the XDG base directory specification, each Tenfold's own. */
export interface Folders {
  readonly config: string;
  readonly data: string;
  readonly state: string;
  readonly cache: string;
  /** Of this login session where the system has such a thing, else `state`. */
  readonly runtime: string;
}

export function foldersOf(env: NodeJS.ProcessEnv, home = homedir()): Folders {
  const folder = (variable: string, ...fallback: string[]): string => {
    const value = env[variable];
    // The specification: paths that are not absolute are ignored.
    return path.join(value !== undefined && path.isAbsolute(value) ? value : path.join(home, ...fallback), 'tenfold');
  };
  const state = folder('XDG_STATE_HOME', '.local', 'state');
  const runtime = env.XDG_RUNTIME_DIR;
  return {
    config: folder('XDG_CONFIG_HOME', '.config'),
    data: folder('XDG_DATA_HOME', '.local', 'share'),
    state,
    cache: folder('XDG_CACHE_HOME', '.cache'),
    runtime: runtime !== undefined && path.isAbsolute(runtime) ? path.join(runtime, 'tenfold') : state,
  };
}

/** The config file in use: the given one, else that of TENFOLD_CONFIG, else the user's, else the machine's; undefined when there is none. */
export function findConfigFile(given: string | undefined, env: NodeJS.ProcessEnv): ConfigFile | undefined {
  const asked = given ?? (env.TENFOLD_CONFIG || undefined);
  const candidates = [path.join(foldersOf(env).config, 'config.yaml'), '/etc/tenfold/config.yaml'];
  const found = asked ?? candidates.find(existsSync);
  return found === undefined ? undefined : readConfigFile(found);
}

function readConfigFile(file: string): ConfigFile {
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError([{where: file, message: `cannot be read (${(error as NodeJS.ErrnoException).code})`}]);
  }
  const document = parseDocument(source, {prettyErrors: true});
  if (document.errors.length > 0)
    throw new ConfigError(document.errors.map(({message}) => ({where: file, message: `is not YAML: ${message.split('\n')[0]}`})));
  return {path: file, content: document.toJS()};
}
