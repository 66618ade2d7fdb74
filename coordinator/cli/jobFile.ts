import {existsSync, readFileSync} from 'node:fs';
import * as path from 'node:path';
import {parse, parseDocument} from 'yaml';
import type {FieldProblem} from '../../shared/errors.js';
import {isValidId} from '../../shared/ids.js';
import {ARCHITECTURES} from '../../shared/jobSpec.js';
import {nearest} from '../../shared/suggest.js';
import {REFUSED_TRAIN_ARGUMENTS, TRAIN_ARGUMENT_NAMES} from '../../shared/trainArguments.js';

/** A job's spec from a YAML file and `key=value` words, as yet unchecked: `parseJobSpec` judges the whole. */

/** Short names of the command line, and where they belong in the spec. YOLO's train arguments come on top. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  name: 'name',
  project: 'project',
  priority: 'priority',
  data: 'data',
  kind: 'kind',
  model: 'model.arch',
  nc: 'model.nc',
  gpus: 'resources.gpus',
};

export interface SpecSources {
  /** Path of a YAML or JSON file. */
  readonly file: string | undefined;
  /** `key=value` words; later ones win, and all win over the file. */
  readonly words: readonly string[];
  readonly cwd: string;
}

export type SpecResult =
  | {readonly ok: true; readonly spec: Record<string, unknown>}
  | {readonly ok: false; readonly problems: readonly FieldProblem[]};

/** Puts the spec together. Relative paths become absolute: against the file's own folder, or against `cwd` for words. */
export function assembleSpec({file, words, cwd}: SpecSources): SpecResult {
  const problems: FieldProblem[] = [];
  const spec = file === undefined ? {} : fromFile(path.resolve(cwd, file), problems);
  for (const word of words) putWord(spec, word, cwd, problems);
  return problems.length > 0 ? {ok: false, problems} : {ok: true, spec};
}

function fromFile(file: string, problems: FieldProblem[]): Record<string, unknown> {
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch (error) {
    problems.push({path: file, message: `cannot be read (${(error as NodeJS.ErrnoException).code})`});
    return {};
  }
  const document = parseDocument(source);
  if (document.errors.length > 0) {
    problems.push(...document.errors.map(({message}) => ({path: file, message: `is not YAML: ${message.split('\n')[0]}`})));
    return {};
  }
  const content: unknown = document.toJS();
  if (!isMapping(content)) {
    problems.push({path: file, message: 'must be a mapping with the keys data, model, train, …'});
    return {};
  }
  return withPathsResolved(content, path.dirname(file), problems);
}

function withPathsResolved(spec: Record<string, unknown>, folder: string, problems: FieldProblem[]): Record<string, unknown> {
  const resolved = {...spec};
  if (typeof spec.data === 'string') resolved.data = resolveData(spec.data, folder);
  if (typeof spec.model === 'string') resolved.model = {arch: resolveModel(spec.model, folder, problems)};
  else if (isMapping(spec.model) && typeof spec.model.arch === 'string')
    resolved.model = {...spec.model, arch: resolveModel(spec.model.arch, folder, problems)};
  return resolved;
}

function putWord(spec: Record<string, unknown>, word: string, cwd: string, problems: FieldProblem[]): void {
  const at = word.indexOf('=');
  if (at <= 0) {
    problems.push({path: word, message: 'must be key=value, such as epochs=100'});
    return;
  }
  const key = word.slice(0, at);
  const value = scalarOf(word.slice(at + 1));
  const target = targetOf(key);
  if (target === undefined) problems.push({path: key, message: unknownWord(key)});
  else if (target === 'data' && typeof value === 'string') spec.data = resolveData(value, cwd);
  else if (target === 'model.arch' && typeof value === 'string') putAt(spec, target, resolveModel(value, cwd, problems));
  else putAt(spec, target, value);
}

/** Where a word's key belongs in the spec; undefined when there is no such key. Dotted keys are judged with the whole spec. */
function targetOf(key: string): string | undefined {
  if (Object.hasOwn(SHORT_NAMES, key)) return SHORT_NAMES[key];
  if (key.includes('.')) return key;
  return TRAIN_ARGUMENT_NAMES.includes(key) || Object.hasOwn(REFUSED_TRAIN_ARGUMENTS, key) ? `train.${key}` : undefined;
}

function unknownWord(key: string): string {
  const suggestion = nearest(key, [...Object.keys(SHORT_NAMES), ...TRAIN_ARGUMENT_NAMES]);
  return `unknown key; ${suggestion === undefined ? '`tenfold submit --help` lists them' : `did you mean ${suggestion}?`}`;
}

/** As YAML reads a scalar: numbers, true and false, null, lists in brackets; everything else is a text. */
function scalarOf(text: string): unknown {
  try {
    return text === '' ? '' : parse(text);
  } catch {
    // Not YAML, such as a path with a colon: a text.
    return text;
  }
}

function putAt(spec: Record<string, unknown>, dotted: string, value: unknown): void {
  const keys = dotted.split('.');
  let place = spec;
  for (const key of keys.slice(0, -1)) {
    const inner = Object.hasOwn(place, key) ? place[key] : undefined;
    const mapping: Record<string, unknown> = isMapping(inner) ? {...inner} : {};
    define(place, key, mapping);
    place = mapping;
  }
  define(place, keys.at(-1)!, value);
}

/** Sets a property of the object's own, whatever its name: `__proto__` is a wrong key and not a way into prototypes. */
function define(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, {value, writable: true, enumerable: true, configurable: true});
}

/**
 * `datasets/ID` is a registered data set's name whatever folders there are here: YOLO's own folder is called datasets, too. Everything
 * else is a path where there is such a file or folder, with `./` in any case; a bare name is a registered data set's otherwise.
 */
function resolveData(data: string, folder: string): string {
  const isYaml = /\.ya?ml$/.test(data);
  if (/^datasets\/[^/]+$/.test(data) && !isYaml) return data;
  if (isValidId(data) && !isYaml && !existsSync(path.resolve(folder, data))) return `datasets/${data}`;
  return dataYamlAt(data, folder);
}

/** The absolute path of a data.yaml; a folder stands for the data.yaml in it. */
export function dataYamlAt(data: string, folder: string): string {
  const resolved = path.resolve(folder, data);
  const inside = path.join(resolved, 'data.yaml');
  return existsSync(inside) ? inside : resolved;
}

/** A known name stays; the path of a model yaml becomes its text, since agents cannot read this machine's files. */
function resolveModel(model: string, folder: string, problems: FieldProblem[]): string {
  if (model.includes('\n') || !/\.(ya?ml|pt)$/.test(model)) return model;
  const file = path.resolve(folder, model);
  const stem = path.basename(model).replace(/\.(ya?ml|pt)$/, '');
  const known = ARCHITECTURES.includes(stem);
  if (model.endsWith('.pt')) {
    const instead = known ? `; model=${stem} trains that architecture from scratch` : '';
    problems.push({path: 'model', message: `starting from given weights is not supported yet${instead}`});
    return model;
  }
  if (existsSync(file)) return readFileSync(file, 'utf8');
  if (known) return stem;
  problems.push({path: 'model', message: `there is no file ${file}`});
  return model;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
