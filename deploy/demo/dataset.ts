import {existsSync} from 'node:fs';
import {mkdir, readdir, readFile, rename, rm, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {promisify} from 'node:util';
import {gunzip} from 'node:zlib';
import sharp from 'sharp';
import {fractalNoise} from './noise.js';
import {CLASS_NAMES, type Photograph, parsePhotographs} from './photographs.js';
import {seededRandom, seedFrom} from './random.js';
import {type Box, composeScene, type Props, SCENE_SIDE, type Scene} from './scene.js';
import {makeTexture, type Texture} from './texture.js';

/** Where Debian's dataset-fashion-mnist puts its files. */
export const FASHION_MNIST_DIR = '/usr/share/datasets/fashion-mnist';

export interface DemoDatasetOptions {
  /** Folder of the data set; made whole or not at all. */
  readonly dir: string;
  readonly trainScenes: number;
  readonly valScenes: number;
  readonly seed: number;
  /** Called after each scene. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** Train and val share neither products nor surfaces: train is made of the first IDX pair, val of the second. */
const SPLITS = [
  {name: 'train', files: 'train', seed: 1, textureCount: 64},
  {name: 'val', files: 't10k', seed: 2, textureCount: 24},
] as const;
type Split = (typeof SPLITS)[number];

/** Changes whenever the same options would give other pictures, so that an older data set is made anew. */
const RECIPE = 1;

/** Where the random streams of textures begin; scenes use the streams of their own numbers. */
const TEXTURE_STREAM = 0xffffffff;

const JPEG_QUALITY = 90;

/** Scenes in the encoder's hands at a time. */
const ENCODING_AT_ONCE = 8;

/**
 * A YOLO detection data set of product photographs on textured surfaces, the same for the same options. Does nothing when it is there.
 * Returns its data.yaml, and whether it was made now. Throws when the photographs are missing, when writing fails, and when aborted; then
 * nothing is left behind.
 */
export async function makeDemoDataset(options: DemoDatasetOptions): Promise<{dataYaml: string; made: boolean}> {
  const dataYaml = path.join(options.dir, 'data.yaml');
  const description = describe(options);
  if (await isThere(dataYaml, description)) return {dataYaml, made: false};

  await removeLeftovers(options.dir);
  const unfinished = `${options.dir}.unfinished-${process.pid}`;
  try {
    let done = 0;
    const onScene = (): void => options.onProgress?.(++done, options.trainScenes + options.valScenes);
    for (const split of SPLITS) {
      const count = split.name === 'train' ? options.trainScenes : options.valScenes;
      await writeSplit(split, count, unfinished, options, onScene);
    }
    await writeFile(path.join(unfinished, 'data.yaml'), description);
    await rm(options.dir, {recursive: true, force: true});
    await rename(unfinished, options.dir);
  } catch (error) {
    await rm(unfinished, {recursive: true, force: true});
    throw error;
  }
  return {dataYaml, made: true};
}

/** The data.yaml. Its first line names all that the pictures depend on. */
function describe(options: DemoDatasetOptions): string {
  return [
    `# Made by Tenfold's demo: recipe ${RECIPE}, seed ${options.seed}, ${options.trainScenes} + ${options.valScenes} scenes of Fashion-MNIST products.`,
    'path: .',
    'train: images/train',
    'val: images/val',
    'names:',
    ...CLASS_NAMES.map((name, classId) => `  ${classId}: ${name}`),
    '',
  ].join('\n');
}

async function isThere(dataYaml: string, description: string): Promise<boolean> {
  return existsSync(dataYaml) && (await readFile(dataYaml, 'utf8')) === description;
}

/** Unfinished folders of makers that were killed before they could clean up. */
async function removeLeftovers(dir: string): Promise<void> {
  await mkdir(path.dirname(dir), {recursive: true});
  const prefix = `${path.basename(dir)}.unfinished-`;
  for (const name of await readdir(path.dirname(dir))) {
    const maker = name.startsWith(prefix) ? Number(name.slice(prefix.length)) : Number.NaN;
    if (Number.isInteger(maker) && !isAlive(maker)) await rm(path.join(path.dirname(dir), name), {recursive: true, force: true});
  }
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`);
}

async function writeSplit(split: Split, count: number, root: string, options: DemoDatasetOptions, onScene: () => void): Promise<void> {
  const images = path.join(root, 'images', split.name);
  const labels = path.join(root, 'labels', split.name);
  await Promise.all([mkdir(images, {recursive: true}), mkdir(labels, {recursive: true})]);

  const props = await gatherProps(split, options.seed);
  const writing = new Set<Promise<void>>();
  for (let index = 0; index < count; index++) {
    options.signal?.throwIfAborted();
    const scene = composeScene(props, seededRandom(seedFrom(options.seed, split.seed, index)));
    const name = String(index + 1).padStart(4, '0');
    const write = writeScene(scene, path.join(images, `${name}.jpg`), path.join(labels, `${name}.txt`)).then(onScene);
    writing.add(write);
    write.finally(() => writing.delete(write)).catch(() => undefined); // awaited, and its error thrown, below
    if (writing.size >= ENCODING_AT_ONCE) await Promise.race(writing);
  }
  await Promise.all(writing);
}

async function gatherProps(split: Split, seed: number): Promise<Props> {
  const noise = fractalNoise(seedFrom(seed, split.seed));
  const made = new Map<number, Texture>(); // on demand: a small data set needs few
  const texture = (index: number): Texture => {
    const known = made.get(index) ?? makeTexture(index, noise, seededRandom(seedFrom(seed, split.seed, TEXTURE_STREAM, index)));
    made.set(index, known);
    return known;
  };
  return {photographs: await readPhotographs(split.files), textureCount: split.textureCount, texture, grain: noise};
}

async function readPhotographs(prefix: string): Promise<Photograph[]> {
  const [images, labels] = await Promise.all([readGzip(`${prefix}-images-idx3-ubyte.gz`), readGzip(`${prefix}-labels-idx1-ubyte.gz`)]);
  return parsePhotographs(images, labels);
}

async function readGzip(name: string): Promise<Buffer> {
  const file = path.join(FASHION_MNIST_DIR, name);
  try {
    return await promisify(gunzip)(await readFile(file));
  } catch (cause) {
    throw new Error(`reading ${file}: deploy/setup installs it (Debian package dataset-fashion-mnist)`, {cause});
  }
}

async function writeScene(scene: Scene, imageFile: string, labelFile: string): Promise<void> {
  const raw = {width: SCENE_SIDE, height: SCENE_SIDE, channels: 3 as const};
  const jpeg = await sharp(scene.pixels, {raw}).jpeg({quality: JPEG_QUALITY}).toBuffer();
  await Promise.all([writeFile(imageFile, jpeg), writeFile(labelFile, scene.boxes.map(labelLine).join(''))]);
}

/** A line of a YOLO label file: class, centre, width and height, as shares of the picture. */
export function labelLine(box: Box): string {
  const shares = [(box.left + box.right) / 2, (box.top + box.bottom) / 2, box.right - box.left, box.bottom - box.top];
  return `${box.classId} ${shares.map(pixels => (pixels / SCENE_SIDE).toFixed(6)).join(' ')}\n`;
}
