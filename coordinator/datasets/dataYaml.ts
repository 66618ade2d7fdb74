import {parse, YAMLParseError} from 'yaml';
import {z} from 'zod';
import type {DatasetProblem} from '../../shared/dataset.js';
import {nearest} from '../../shared/suggest.js';
import {problem} from './problems.js';

/** A YOLO data.yaml, parsed: where the images are, and what the classes are called. */
export interface DataYaml {
  /** Base folder of the splits as written; relative to the yaml's own folder. */
  readonly path: string;
  /** Folders, globs, or text files of image paths, as written. */
  readonly train: readonly string[];
  readonly val: readonly string[];
  readonly names: readonly string[];
}

const entry = z
  .union([z.string().min(1), z.array(z.string().min(1)).min(1)])
  .transform(value => (typeof value === 'string' ? [value] : value));
const schema = z.object({
  path: z.string().nullish(),
  train: entry,
  val: entry,
  names: z.union([z.array(z.coerce.string()), z.record(z.string(), z.coerce.string())]),
  nc: z.number().int().nullish(),
});

/** Parses a data.yaml's text. All problems at once; `file` is only for their messages. */
export function parseDataYaml(text: string, file: string): {readonly yaml: DataYaml} | {readonly problems: readonly DatasetProblem[]} {
  let value: unknown;
  try {
    value = parse(text, {maxAliasCount: 100});
  } catch (error) {
    const line = error instanceof YAMLParseError ? (error.linePos?.[0].line ?? 0) : 0;
    const message = error instanceof Error ? error.message.split('\n')[0]! : String(error);
    return {problems: [problem('yaml_malformed', file, line, `not YAML: ${message}`)]};
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return {problems: [problem('yaml_malformed', file, 0, 'must be a mapping with the keys train, val and names')]};
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) return {problems: parsed.error.issues.map(issue => shapeProblem(issue, value, file))};
  const names = classNames(parsed.data.names, parsed.data.nc ?? undefined, file);
  if ('problems' in names) return names;
  return {yaml: {path: parsed.data.path ?? '', train: parsed.data.train, val: parsed.data.val, names: names.names}};
}

function shapeProblem(issue: z.core.$ZodIssue, value: object, file: string): DatasetProblem {
  const key = String(issue.path[0] ?? '');
  if (key in value && (value as Record<string, unknown>)[key] !== null) {
    return problem('yaml_invalid', file, 0, `${issue.path.join('.')}: ${expectation(key)}`);
  }
  const close = nearest(key, Object.keys(value));
  const hint = close === undefined ? '' : `; is ${close} meant to be it?`;
  const code = key === 'names' ? 'names_invalid' : 'split_missing';
  return problem(code, file, 0, `has no key ${key}: ${expectation(key)}${hint}`);
}

function expectation(key: string): string {
  if (key === 'names') return 'must be a list of class names, or a mapping of class numbers to names';
  if (key === 'train' || key === 'val') return 'must name a folder of images, a glob, or a text file of image paths (or a list of these)';
  return key === 'nc' ? 'must be the number of classes' : 'must be the folder that the splits are relative to';
}

/** Class names in the order of their numbers, which must run from 0 without gaps. */
function classNames(
  raw: readonly string[] | Readonly<Record<string, string>>,
  nc: number | undefined,
  file: string,
): {readonly names: string[]} | {readonly problems: DatasetProblem[]} {
  const wrong = (message: string) => ({problems: [problem('names_invalid', file, 0, message)]});
  const byNumber = Array.isArray(raw)
    ? new Map(raw.map((name, i) => [i, name]))
    : new Map(Object.entries(raw).map(([key, name]) => [Number(key), name]));
  const names = [...byNumber.keys()].sort((a, b) => a - b).map(number => byNumber.get(number)!.trim());
  if (names.length === 0) return wrong('names is empty; name at least one class');
  if (names.some((_, i) => !byNumber.has(i))) return wrong(`class numbers in names must run from 0 to ${names.length - 1} without gaps`);
  if (names.some(name => name === '')) return wrong('names holds an empty class name');
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) return wrong(`class name ${twice} stands twice in names`);
  if (nc !== undefined && nc !== names.length) return wrong(`nc is ${nc}, but names has ${names.length} classes`);
  return {names};
}
