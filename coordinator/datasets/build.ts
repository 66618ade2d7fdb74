import {createHash} from 'node:crypto';
import {relative} from 'node:path';
import type {DatasetIndex, DatasetProblem, DatasetSplit} from '../../shared/dataset.js';
import {objectKeys} from '../objectKeys.js';
import type {ObjectStore} from '../ports.js';
import {isSkippable, ProblemLog, problem} from './problems.js';
import {type ReadSample, readSample} from './readSample.js';
import {encodeShard, type ShardSample} from './shardWriter.js';
import {type ImageFile, type SourceFiles, SPLIT_NAMES, type SplitName} from './sourceFiles.js';

/** A shard is closed when it has this many bytes of images: large enough to stream, small enough to fetch again. */
const SHARD_BYTES = 64 * 1024 * 1024;
/** Images read and decoded at once; sharp decodes on libuv's threads. */
const READS_IN_FLIGHT = 4;

export type BuiltDataset =
  | {
      readonly ok: true;
      readonly classNames: readonly string[];
      readonly splits: readonly DatasetSplit[];
      readonly indexDigest: string;
      readonly log: ProblemLog;
    }
  | {readonly ok: false; readonly log: ProblemLog};

export interface BuildOptions {
  readonly skipBadSamples: boolean;
  /** Names of samples are relative to it. */
  readonly baseFolder: string;
  readonly onProgress: (imagesScanned: number, imagesTotal: number) => void;
  readonly signal: AbortSignal;
}

/**
 * Reads and checks every image and label, and writes shards and their index into the object store. All images are looked at even when
 * the first is bad, so that one run tells everything. The same files give the same digests.
 */
export async function buildDataset(files: SourceFiles, objects: ObjectStore, options: BuildOptions): Promise<BuiltDataset> {
  const log = new ProblemLog();
  for (const found of files.problems) log.add(found);
  const total = files.splits.train.length + files.splits.val.length;
  const trainDigests = new Map<string, string>();
  const index: DatasetIndex = {version: 1, names: [...files.names], splits: {}};
  const splits: DatasetSplit[] = [];
  let scanned = 0;

  for (const name of SPLIT_NAMES) {
    const writer = new SplitWriter(name, objects);
    const seen = new Map<string, string>();
    for await (const {image, read} of readInOrder(files.splits[name], files.names.length, options.signal)) {
      for (const found of read.problems) log.add(found);
      options.onProgress(++scanned, total);
      if (read.sample === undefined || read.problems.some(found => found.severity === 'error' && isSkippable(found))) continue;
      for (const found of repetition(image, read.sample, name, seen, trainDigests)) log.add(found);
      await writer.add({...read.sample, name: relative(options.baseFolder, image.path)});
    }
    const {split, shards} = await writer.finish();
    if (split.samples === 0) log.add(problem('split_empty', options.baseFolder, 0, `${name} has no usable image`));
    index.splits[name] = {samples: split.samples, shards};
    splits.push(split);
  }
  if (splits.every(split => split.boxes === 0)) {
    log.add(problem('no_boxes', options.baseFolder, 0, 'no image has a box; labels are expected in a folder labels/ beside images/'));
  }
  if (log.isFatal(options.skipBadSamples)) return {ok: false, log};

  const bytes = Buffer.from(JSON.stringify(index));
  const indexDigest = createHash('sha256').update(bytes).digest('hex');
  await objects.put(objectKeys.blob(indexDigest), bytes);
  return {ok: true, classNames: files.names, splits, indexDigest, log};
}

interface ReadImage {
  readonly image: ImageFile;
  readonly read: {readonly sample?: ReadSample; readonly problems: readonly DatasetProblem[]};
}

/** Reads some images ahead, and yields them in order. */
async function* readInOrder(images: readonly ImageFile[], classes: number, signal: AbortSignal): AsyncGenerator<ReadImage> {
  const inFlight: Promise<ReadImage>[] = [];
  const start = async (image: ImageFile): Promise<ReadImage> => ({image, read: await readSample(image, classes)});
  for (const image of images) {
    signal.throwIfAborted();
    inFlight.push(start(image));
    if (inFlight.length >= READS_IN_FLIGHT) yield await inFlight.shift()!;
  }
  for (const rest of inFlight) yield await rest;
}

/** The same picture twice in a split, or in both, is told: the second makes the validation too good. */
function repetition(
  image: ImageFile,
  sample: ReadSample,
  split: SplitName,
  seen: Map<string, string>,
  trainDigests: Map<string, string>,
): DatasetProblem[] {
  const problems: DatasetProblem[] = [];
  const twin = seen.get(sample.sha256);
  const inTrain = split === 'val' ? trainDigests.get(sample.sha256) : undefined;
  if (twin !== undefined) problems.push(problem('duplicate_image', image.path, 0, `has the same content as ${twin}`));
  if (inTrain !== undefined)
    problems.push(
      problem('train_val_overlap', image.path, 0, `is in train as well, as ${inTrain}; the validation will look better than it is`),
    );
  seen.set(sample.sha256, image.path);
  if (split === 'train') trainDigests.set(sample.sha256, image.path);
  return problems;
}

/** Collects a split's samples, numbers them, and writes a shard whenever one is full. */
class SplitWriter {
  private readonly name: SplitName;
  private readonly objects: ObjectStore;
  private readonly shards: {digest: string; bytes: number; samples: number}[] = [];
  private open: ShardSample[] = [];
  private openBytes = 0;
  private samples = 0;
  private boxes = 0;
  private backgrounds = 0;
  private bytes = 0;

  constructor(name: SplitName, objects: ObjectStore) {
    this.name = name;
    this.objects = objects;
  }

  async add(sample: Omit<ShardSample, 'id'>): Promise<void> {
    const {name, width, height, boxes, bytes} = sample;
    this.open.push({id: this.samples, name, width, height, boxes, bytes});
    this.openBytes += bytes.length;
    this.samples += 1;
    this.boxes += boxes.length;
    this.backgrounds += boxes.length === 0 ? 1 : 0;
    this.bytes += bytes.length;
    if (this.openBytes >= SHARD_BYTES) await this.close();
  }

  async finish(): Promise<{split: DatasetSplit; shards: {digest: string; bytes: number; samples: number}[]}> {
    if (this.open.length > 0) await this.close();
    const split = {
      name: this.name,
      samples: this.samples,
      boxes: this.boxes,
      backgrounds: this.backgrounds,
      bytes: this.bytes,
      shards: this.shards.length,
    };
    return {split, shards: this.shards};
  }

  private async close(): Promise<void> {
    const {bytes, digest} = encodeShard(this.open);
    await this.objects.put(objectKeys.blob(digest), bytes);
    this.shards.push({digest, bytes: bytes.length, samples: this.open.length});
    this.open = [];
    this.openBytes = 0;
  }
}
