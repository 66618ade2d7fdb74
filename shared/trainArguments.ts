import {z} from 'zod';

/**
 * The training arguments by the names and defaults that YOLO users know. What Tenfold does not do yet is listed with the reason, and
 * refused by name when set to anything but its neutral value: no argument is silently ignored.
 */

const int = (min: number, max = Number.MAX_SAFE_INTEGER) => z.number().int().min(min).max(max);
const num = (min: number, max = Number.POSITIVE_INFINITY) => z.number().min(min).max(max);
const ratio = num(0, 1);

const fields = {
  epochs: int(1, 100_000).default(100),
  /** Epochs without a better mAP before an early end; 0: never. */
  patience: int(0).default(100),
  /** Images of one optimizer step over all ranks together. */
  batch: int(1, 65_536).default(16),
  /** Side of the square that the network sees, in pixels. */
  imgsz: int(32, 4096).multipleOf(32).default(640),
  /** Loader threads of each rank; `auto` fits the device's share of cores. */
  workers: z.union([z.literal('auto'), int(0, 64)]).default('auto'),
  optimizer: z.enum(['auto', 'SGD', 'AdamW']).default('auto'),
  seed: int(0, 4_294_967_295).default(0),
  amp: z.union([z.enum(['auto', 'off']), z.boolean()]).default('auto'),
  cache: z.union([z.enum(['auto', 'ram']), z.boolean()]).default('auto'),
  cos_lr: z.boolean().default(false),
  /** The last so many epochs train without mosaic. */
  close_mosaic: int(0).default(10),
  lr0: num(0, 10).default(0.01),
  /** Final learning rate as a share of lr0. */
  lrf: num(0, 1).default(0.01),
  momentum: num(0, 0.9999).default(0.937),
  weight_decay: num(0, 1).default(0.0005),
  warmup_epochs: num(0).default(3),
  warmup_momentum: num(0, 0.9999).default(0.8),
  warmup_bias_lr: num(0, 10).default(0.1),
  /** Gains of the losses. */
  box: num(0).default(7.5),
  cls: num(0).default(0.5),
  dfl: num(0).default(1.5),
  hsv_h: ratio.default(0.015),
  hsv_s: ratio.default(0.7),
  hsv_v: ratio.default(0.4),
  degrees: num(-180, 180).default(0),
  translate: ratio.default(0.1),
  scale: ratio.default(0.5),
  shear: num(-180, 180).default(0),
  perspective: num(0, 0.001).default(0),
  flipud: ratio.default(0),
  fliplr: ratio.default(0.5),
  mosaic: ratio.default(1),
  mixup: ratio.default(0),
  /** Whether each epoch ends with a validation. */
  val: z.boolean().default(true),
};

export const trainArgumentsSchema = z.strictObject(fields);
/** Complete arguments: every default is filled in. */
export type TrainArguments = z.infer<typeof trainArgumentsSchema>;

export const TRAIN_ARGUMENT_NAMES: readonly string[] = Object.keys(fields);

/** Arguments that users of other tools give, and what to do here instead. */
export const REFUSED_TRAIN_ARGUMENTS: Readonly<Record<string, string>> = {
  device: 'Tenfold chooses the devices; ask for their number with resources.gpus',
  project: 'set project at the top of the spec',
  name: 'set name at the top of the spec',
  exist_ok: 'every job has a run folder of its own',
  resume: 'a job resumes by itself from its newest checkpoint',
  save_period: 'set checkpoint.every.epochs',
  time: 'not supported yet; set epochs',
  rect: 'not supported yet',
  label_smoothing: 'not supported yet',
  freeze: 'not supported yet',
  copy_paste: 'not supported yet',
  multi_scale: 'not supported yet',
  data: 'set data at the top of the spec',
  model: 'set model.arch',
};
