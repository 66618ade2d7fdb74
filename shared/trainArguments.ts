import {z} from 'zod';

/**
 * The training arguments by the names and defaults that YOLO users know. What is not taken is listed with what to do instead, and refused
 * by name: no argument is silently ignored. The trainer has the same list; test/fixtures/trainer-contract/train-arguments.json holds both
 * to it.
 */

const int = (min: number, max = Number.MAX_SAFE_INTEGER) => z.number().int().min(min).max(max);
const num = (min: number, max = Number.POSITIVE_INFINITY) => z.number().min(min).max(max);
const ratio = num(0, 1);
const layer = int(0, 999);
const gain = z.union([z.literal('auto'), num(0)]).default('auto');

const fields = {
  epochs: int(1, 100_000).default(100),
  /** Epochs without a better mAP before an early end; 0: never. */
  patience: int(0).default(100),
  /** Images of one optimizer step over all ranks together; `auto` (or -1): the largest that fits, measured at the first start. */
  batch: z
    .union([z.literal('auto'), z.literal(-1), int(1, 65_536)])
    .transform(batch => (batch === -1 ? ('auto' as const) : batch))
    .default(16),
  /** Images of one pass of a rank at most; a larger slice of a batch is computed in parts. `auto`: what fits. */
  device_batch: z.union([z.literal('auto'), int(1, 65_536)]).default('auto'),
  /** Side of the square that the network sees, in pixels. */
  imgsz: int(32, 4096).multipleOf(32).default(640),
  /** Loader threads of each rank; `auto` fits the device's share of cores. */
  workers: z.union([z.literal('auto'), int(0, 64)]).default('auto'),
  optimizer: z.enum(['auto', 'SGD', 'AdamW', 'Adam']).default('auto'),
  seed: int(0, 4_294_967_295).default(0),
  /** `auto`: bfloat16 where the device computes in it, else float16 on a GPU, with its loss scaled. */
  amp: z.union([z.enum(['auto', 'off', 'bf16', 'fp16']), z.boolean()]).default('auto'),
  /** Decoded pictures: in memory (`auto` up to 1 GiB a rank, `ram` as many as fit), in files of the host's cache folder (`disk`), or not kept (false). */
  cache: z.union([z.enum(['auto', 'ram', 'disk']), z.boolean()]).default('auto'),
  /** Hours over all attempts; overrides epochs. 0: no limit. */
  time: num(0, 100_000).default(0),
  /** The weights of every so many epochs are kept; -1: of none but the best and the last. */
  save_period: int(-1).default(-1),
  /** The first so many layers, or a list of layers' numbers and of the starts of parameters' names: they do not train. */
  freeze: z.union([layer, z.array(z.union([layer, z.string().min(1).max(256)])).max(1000)]).default(0),
  cos_lr: z.boolean().default(false),
  /** The last so many epochs train without mosaic. */
  close_mosaic: int(0).default(10),
  lr0: num(0, 10).default(0.01),
  /** Final learning rate as a share of lr0. */
  lrf: num(0, 1).default(0.01),
  momentum: num(0, 0.9999).default(0.937),
  weight_decay: num(0, 1).default(0.0005),
  /** Nominal batch size: the one that weight_decay is meant for. */
  nbs: int(1, 65_536).default(64),
  warmup_epochs: num(0).default(3),
  warmup_momentum: num(0, 0.9999).default(0.8),
  warmup_bias_lr: num(0, 10).default(0.1),
  /** Gradients are scaled down to this L2 norm; 0: never. */
  max_grad_norm: num(0).default(10),
  /** What a gradient that is NaN or infinite does: skip the step, or end the training. */
  nan_policy: z.enum(['skip', 'end']).default('skip'),
  /** Batch norms take their statistics from the slices of all ranks: always, never, or where a rank's own are fewer than 8 images (`auto`). */
  sync_bn: z.union([z.enum(['auto', 'on', 'off']), z.boolean()]).default('auto'),
  /** `bf16`: gradients travel between the ranks in half the bytes. */
  grad_compression: z.enum(['off', 'bf16']).default('off'),
  /** Gains of the losses; `auto`: as the model's family has them. */
  box: gain,
  cls: gain,
  /** Of v8 and v10. */
  dfl: gain,
  /** Of v5. */
  obj: gain,
  /** Of v5: how much of a class's certainty is spread out. */
  label_smoothing: num(0, 0.5).default(0),
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
  /** Training batches, too, as the least rectangle that holds their pictures, as validation has them; without mosaic and mixup then. */
  rect: z.boolean().default(false),
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
  data: 'set data at the top of the spec',
  model: 'set model.arch',
  pretrained: 'starting from given weights is not supported yet; leave it out',
  project: 'set project at the top of the spec',
  name: 'set name at the top of the spec',
  exist_ok: 'every job has a run folder of its own',
  resume: 'a job resumes by itself from its newest checkpoint',
  save: 'checkpoints and weights are always saved',
  task: 'only detectors are trained here',
  mode: 'a job is a training',
  cfg: 'write the arguments into the spec',
  split: "training takes the data set's train, validation its val",
  multi_scale: 'not supported; scale varies the size of objects',
  single_cls: 'not supported; give the data set a single class',
  classes: 'not supported; leave other classes out of the data set',
  fraction: 'not supported; list fewer images in the data set',
  dropout: 'not supported; detectors have no dropout',
  copy_paste: 'not supported; it needs segmentation masks',
  overlap_mask: 'not supported; it is for segmentation',
  mask_ratio: 'not supported; it is for segmentation',
  pose: 'not supported; it is for key points',
  kobj: 'not supported; it is for key points',
  cutmix: 'not supported; use mixup or mosaic',
  bgr: 'not supported; store the pictures in the order of channels that the detector will see',
  auto_augment: 'not supported; it is for classification',
  erasing: 'not supported; it is for classification',
  crop_fraction: 'not supported; it is for classification',
  deterministic: 'deterministic algorithms are always used',
  plots: 'pictures are always written',
  verbose: 'progress is always reported',
  profile: 'not supported; `tenfold-trainer inspect` tells what a model costs',
  compile: 'not supported; leave it out',
};
