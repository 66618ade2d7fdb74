import {z} from 'zod';
import {isValidId} from './ids.js';
import {nearest} from './suggest.js';
import {REFUSED_TRAIN_ARGUMENTS, TRAIN_ARGUMENT_NAMES, trainArgumentsSchema} from './trainArguments.js';

/** A job spec as users write it (YAML or JSON), parsed once at the door into a complete one. */

/** The networks that the trainer has by name: agent/trainer/models. */
export const ARCHITECTURES: readonly string[] = [
  ...['yolov5n', 'yolov5s', 'yolov5m', 'yolov5l', 'yolov5x'],
  ...['yolov8n', 'yolov8s', 'yolov8m', 'yolov8l', 'yolov8x'],
  ...['yolov10n', 'yolov10s', 'yolov10m', 'yolov10b', 'yolov10l', 'yolov10x'],
];

export const modelSchema = z.strictObject({
  /** A known name, or the text of a model yaml (it holds a line break). */
  arch: z
    .string()
    .max(65_536)
    .refine(arch => arch.includes('\n') || ARCHITECTURES.includes(arch), {
      error: issue => `unknown model ${String(issue.input)}; known are ${ARCHITECTURES.join(', ')}, or the text of a model yaml`,
    }),
  nc: z.union([z.literal('auto'), z.number().int().min(1).max(10_000)]).default('auto'),
});

export const checkpointPolicySchema = z
  .strictObject({
    every: z.strictObject({epochs: z.number().int().min(1).optional(), steps: z.number().int().min(1).optional()}).default({epochs: 1}),
    keep: z.strictObject({best: z.number().int().min(0).default(1), last: z.number().int().min(1).default(2)}).prefault({}),
  })
  .prefault({});

export const restartsSchema = z
  .strictObject({infra: z.number().int().min(0).max(1000).default(10), user: z.number().int().min(0).max(1000).default(0)})
  .prefault({});

export const jobSpecSchema = z.strictObject({
  kind: z.literal('TrainJob').default('TrainJob'),
  name: z
    .string()
    .refine(isValidId, 'must be 1 to 63 lower-case letters, digits, "-" or ".", beginning and ending with a letter or digit')
    .optional(),
  project: z.string().max(128).default('default'),
  priority: z.number().int().min(0).max(100).default(50),
  /** `datasets/{id}`, or the path of a data.yaml on the coordinator's machine. */
  data: z.string().min(1).max(4096),
  model: modelSchema,
  train: trainArgumentsSchema.prefault({}),
  resources: z.strictObject({gpus: z.number().int().min(1).max(1024).default(1)}).prefault({}),
  checkpoint: checkpointPolicySchema,
  policy: z.strictObject({restarts: restartsSchema}).prefault({}),
});
/** Complete: every default is filled in. */
export type JobSpec = z.infer<typeof jobSpecSchema>;

/** What DESIGN of the spec foresees and this version does not do: refused by name rather than ignored. */
const NOT_YET: Readonly<Record<string, string>> = {
  'model.weights': 'starting from given weights is not supported yet',
  'resources.gpu': 'choosing a kind of GPU is not supported yet',
  'resources.hosts': 'choosing hosts is not supported yet',
  'resources.topology': 'topology preferences are not supported yet',
  'checkpoint.to': "every checkpoint goes to the coordinator's store",
  'policy.preemptible': 'preemption is not supported yet',
  'policy.max_duration': 'a limit of duration is not supported yet',
  'policy.hang': 'hang detection by policy is not supported yet',
  export: 'export is not supported yet; the weights are safetensors',
};

/** One thing that is wrong with a spec. `path` is that of the YAML form, such as `train.epochs`. */
export interface SpecProblem {
  readonly path: string;
  readonly message: string;
}

export type ParsedSpec = {readonly ok: true; readonly spec: JobSpec} | {readonly ok: false; readonly problems: readonly SpecProblem[]};

/** Parses an untrusted spec. Reports every problem at once, unknown keys with the nearest known one. */
export function parseJobSpec(input: unknown): ParsedSpec {
  const parsed = jobSpecSchema.safeParse(input);
  const problems = parsed.success ? [] : parsed.error.issues.flatMap(issue => problemsOf(issue, input));
  problems.push(...problemsAcrossFields(input));
  if (parsed.success && problems.length === 0) return {ok: true, spec: parsed.data};
  return {ok: false, problems: problems.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))};
}

function problemsOf(issue: z.core.$ZodIssue, input: unknown): SpecProblem[] {
  const path = issue.path.map(String);
  if (issue.code === 'unrecognized_keys') return issue.keys.map(key => unknownKey([...path, key], knownKeysAt(path)));
  if (issue.code === 'invalid_union')
    return [{path: path.join('.'), message: `${unionMessage(issue)}, not ${shown(valueAt(input, path))}`}];
  const missing = issue.code === 'invalid_type' && valueAt(input, path) === undefined;
  return [{path: path.join('.'), message: missing ? 'is required' : issue.message}];
}

function unknownKey(path: string[], known: readonly string[]): SpecProblem {
  const dotted = path.join('.');
  const key = path[path.length - 1]!;
  const isTrainArgument = path[0] === 'train' && path.length === 2;
  const reason = ownText(NOT_YET, dotted) ?? (isTrainArgument ? ownText(REFUSED_TRAIN_ARGUMENTS, key) : undefined);
  if (reason !== undefined) return {path: dotted, message: reason};
  const suggestion = nearest(key, known);
  const elsewhere = path.length === 1 && TRAIN_ARGUMENT_NAMES.includes(key) ? `train.${key}` : undefined;
  const hint = elsewhere ?? suggestion;
  return {path: dotted, message: `unknown key${hint === undefined ? `; known here: ${known.join(', ')}` : `; did you mean ${hint}?`}`};
}

/** A key of a user's may be one that every object has, such as `constructor`. */
function ownText(texts: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(texts, key) ? texts[key] : undefined;
}

/** The keys that the spec knows below a path, read from the schema itself. */
function knownKeysAt(path: readonly string[]): string[] {
  let schema: z.core.$ZodType = jobSpecSchema;
  for (const key of path) schema = objectBehind(schema)?.shape[key] ?? z.never();
  return Object.keys(objectBehind(schema)?.shape ?? {});
}

function objectBehind(schema: z.core.$ZodType): z.ZodObject | undefined {
  if (schema instanceof z.ZodObject) return schema;
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault || schema instanceof z.ZodOptional)
    return objectBehind(schema.unwrap());
  return undefined;
}

function unionMessage(issue: z.core.$ZodIssueInvalidUnion): string {
  return [...new Set(issue.errors.flat().map(inner => inner.message))].join('; or ');
}

function problemsAcrossFields(input: unknown): SpecProblem[] {
  const problems: SpecProblem[] = [];
  const gpus = valueAt(input, ['resources', 'gpus']);
  const batch = valueAt(input, ['train', 'batch']) ?? 16;
  if (typeof gpus === 'number' && typeof batch === 'number' && batch >= 0 && batch < gpus)
    problems.push({
      path: 'train.batch',
      message: `the global batch of ${batch} is smaller than the ${gpus} devices; every rank needs an image`,
    });
  return [...problems, ...foreignLossArguments(input)];
}

/** Arguments of losses that not every family has. Of a model yaml the trainer itself knows the family. */
const LOSS_ARGUMENTS = [
  {name: 'label_smoothing', neutral: 0, families: /^yolov5/, why: "only YOLOv5's loss smooths labels"},
  {name: 'obj', neutral: 'auto', families: /^yolov5/, why: "only YOLOv5's loss has such an item"},
  {name: 'dfl', neutral: 'auto', families: /^yolov(8|10)/, why: "only YOLOv8's and YOLOv10's losses have such an item"},
] as const;

function foreignLossArguments(input: unknown): SpecProblem[] {
  const arch = valueAt(input, ['model', 'arch']);
  if (typeof arch !== 'string' || !ARCHITECTURES.includes(arch)) return [];
  return LOSS_ARGUMENTS.filter(({name, neutral, families}) => {
    const given = valueAt(input, ['train', name]);
    return given !== undefined && given !== neutral && !families.test(arch);
  }).map(({name, why}) => ({path: `train.${name}`, message: `${why}; leave it out with ${arch}`}));
}

function valueAt(input: unknown, path: readonly string[]): unknown {
  let value = input;
  for (const key of path) value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  return value;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
