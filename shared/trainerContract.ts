import {z} from 'zod';
import {cursorSchema, fileDigestSchema} from './checkpoint.js';
import type {TrainArguments} from './trainArguments.js';

/** The TypeScript side of test/fixtures/trainer-contract: what the agent writes to and reads from `tenfold-trainer`. */

export const CONTRACT_VERSION = 1;

/** The one file that `tenfold-trainer train` reads. */
export interface TrainerConfig {
  readonly contract: typeof CONTRACT_VERSION;
  readonly run: {readonly name: string; readonly dir: string};
  readonly data: {readonly kind: 'shards'; readonly index: string; readonly dir: string} | {readonly kind: 'yaml'; readonly path: string};
  readonly model: {readonly arch: string; readonly weights: string | null; readonly nc: number | 'auto'};
  /** `device` is the agent's to say: a rank that was given a GPU must not fall back to the CPU. */
  readonly train: TrainArguments & {readonly device: 'cuda' | 'cpu'};
  readonly checkpoint: {readonly every: {readonly epochs?: number; readonly steps?: number}; readonly dir: string};
  readonly resume: {readonly dir: string} | null;
  readonly collective: {readonly backend: 'auto' | 'gloo' | 'nccl'; readonly timeout_s: number; readonly generation: number};
  readonly progress: {readonly interval_ms: number};
}

/** JSON has no NaN: what overflowed comes as null. */
const lossValueSchema = z
  .number()
  .nullable()
  .transform(value => value ?? Number.NaN);
/** The parts of a loss, in the order of the model's family. */
const lossesSchema = z.array(z.object({name: z.string(), value: lossValueSchema}));
const metricsSchema = z.object({precision: z.number(), recall: z.number(), map50: z.number(), map50_95: z.number()});
const at = {t: z.number()};

/** One line on TENFOLD_EVENTS_FD. */
export const trainerEventSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('hello'),
    ...at,
    contract: z.number(),
    rank: z.number().int(),
    world_size: z.number().int(),
    generation: z.number(),
    pid: z.number().int(),
    torch: z.string(),
    device: z.string(),
    threads: z.number().int(),
  }),
  z.object({type: z.literal('joined'), ...at, backend: z.string()}),
  z.object({
    type: z.literal('model'),
    ...at,
    arch: z.string(),
    nc: z.number().int(),
    parameters: z.number(),
    gflops: z.number(),
    transferred: z.number().int(),
  }),
  z.object({
    type: z.literal('batch'),
    ...at,
    batch: z.number().int(),
    device_batch: z.number().int(),
    peak_bytes: z.number(),
  }),
  z.object({type: z.literal('resumed'), ...at, step: z.number().int(), cursor: cursorSchema}),
  z.object({
    type: z.literal('consumed'),
    ...at,
    epoch: z.number().int(),
    from: z.number().int(),
    to: z.number().int(),
    ids: z.array(z.number().int()),
  }),
  z.object({
    type: z.literal('step'),
    ...at,
    epoch: z.number().int(),
    epochs: z.number().int(),
    batch: z.number().int(),
    batches: z.number().int(),
    step: z.number().int(),
    offset: z.number().int(),
    loss: lossesSchema,
    lr: z.array(z.number()),
    images_per_s: z.number(),
    data_wait_ms: z.number(),
  }),
  z.object({type: z.literal('val'), ...at, epoch: z.number().int(), done: z.number().int(), total: z.number().int()}),
  z.object({
    type: z.literal('epoch'),
    ...at,
    epoch: z.number().int(),
    time_s: z.number(),
    train: lossesSchema,
    val: lossesSchema.nullish(),
    metrics: metricsSchema.nullish(),
    lr: z.array(z.number()),
    best: z.boolean(),
    images: z.number(),
    images_per_s: z.number(),
    corrupt_images: z.number().int().min(0).optional(),
  }),
  z.object({
    type: z.literal('evaluation'),
    ...at,
    epoch: z.number().int(),
    images: z.number().int(),
    labels: z.number().int(),
    confidence: z.number(),
    metrics: metricsSchema,
    classes: z.array(metricsSchema.extend({name: z.string(), images: z.number().int(), labels: z.number().int()})),
  }),
  z.object({
    type: z.literal('checkpoint'),
    ...at,
    step: z.number().int(),
    cursor: cursorSchema,
    dir: z.string(),
    files: z.array(fileDigestSchema).min(1),
    fitness: z.number().nullish(),
    map50: z.number().nullish(),
    map50_95: z.number().nullish(),
  }),
  z.object({type: z.literal('warning'), ...at, code: z.string(), message: z.string(), subject: z.string().optional()}),
  z.object({type: z.literal('artifact'), ...at, path: z.string(), bytes: z.number().int(), sha256: z.string()}),
  z.object({type: z.literal('end'), ...at, exit_code: z.number().int(), reason: z.string(), message: z.string()}),
]);
export type TrainerEvent = z.infer<typeof trainerEventSchema>;

/** What the agent itself says about a rank, in the same journal. */
export const agentEventSchema = z.discriminatedUnion('type', [
  z.object({type: z.literal('log'), ...at, stream: z.enum(['stdout', 'stderr']), line: z.string()}),
  z.object({type: z.literal('staged'), ...at, message: z.string()}),
  z.object({type: z.literal('started'), ...at, pid: z.number().int(), device: z.string()}),
  z.object({type: z.literal('exited'), ...at, code: z.string(), message: z.string()}),
  z.object({type: z.literal('bad_event'), ...at, line: z.string(), message: z.string()}),
]);
export type AgentEvent = z.infer<typeof agentEventSchema>;
export type RankEvent = TrainerEvent | AgentEvent;

/** Any event of a rank or its agent. */
export const rankEventSchema = z.union([trainerEventSchema, agentEventSchema]);

/** What `tenfold-trainer devices --json` prints. */
export const trainerDevicesSchema = z.object({
  gpus: z.array(z.object({name: z.string(), model: z.string(), memory_bytes: z.number().int()})),
  /** Empty where there are some. */
  why_none: z.string(),
});

/** One line on TENFOLD_CONTROL_FD. */
export type TrainerCommand = {readonly cmd: 'checkpoint'} | {readonly cmd: 'stop'; readonly checkpoint: boolean};

/** Parses one NDJSON line of a trainer. A line that is not an event is an expected outcome: trainers may be of another version. */
export function parseTrainerEvent(line: string): {ok: true; event: TrainerEvent} | {ok: false; message: string} {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    return {ok: false, message: `not JSON: ${(error as Error).message}`};
  }
  const parsed = trainerEventSchema.safeParse(value);
  if (parsed.success) return {ok: true, event: parsed.data};
  return {ok: false, message: z.prettifyError(parsed.error)};
}
