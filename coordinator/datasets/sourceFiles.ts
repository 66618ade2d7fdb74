import {createHash} from 'node:crypto';
import type {Stats} from 'node:fs';
import {readdir, readFile, stat} from 'node:fs/promises';
import {basename, dirname, extname, isAbsolute, join, resolve, sep} from 'node:path';
import {glob} from 'tinyglobby';
import type {DatasetProblem} from '../../shared/dataset.js';
import {type DataYaml, parseDataYaml} from './dataYaml.js';
import {inParallel} from './inParallel.js';
import {problem} from './problems.js';

export type SplitName = 'train' | 'val';
export const SPLIT_NAMES: readonly SplitName[] = ['train', 'val'];

/** An image that the data.yaml names, with where its label file lies if it has one. */
export interface ImageFile {
  readonly path: string;
  readonly labelPath: string;
}

/** Everything that a data.yaml names, found on disk but not yet read. */
export interface SourceFiles {
  readonly names: readonly string[];
  readonly splits: Readonly<Record<SplitName, readonly ImageFile[]>>;
  /** Missing images and the like; the splits hold the rest. */
  readonly problems: readonly DatasetProblem[];
  /** SHA-256 over the data.yaml and the path, size and time of each file. */
  readonly fingerprint: string;
}

const READABLE = new Set(['.jpg', '.jpeg', '.png', '.webp']);
const OTHER_IMAGES = new Set(['.bmp', '.tif', '.tiff', '.gif', '.heic', '.dng', '.avif', '.pfm', '.mpo']);

/** Looks at files and folders under way at once. Libuv's threads take four of them at a time, or what UV_THREADPOOL_SIZE says. */
const LOOKS_IN_FLIGHT = 64;

/**
 * Reads a data.yaml and finds its files. Paths are resolved against the yaml's own folder. Problems of the whole set come back instead.
 * Throws when `signal` aborts: a large data set takes minutes.
 */
export async function findSourceFiles(
  yamlPath: string,
  signal: AbortSignal,
): Promise<SourceFiles | {readonly problems: readonly DatasetProblem[]}> {
  const text = await readText(yamlPath);
  if (text === undefined)
    return {problems: [problem('yaml_missing', yamlPath, 0, "cannot be read on the coordinator's machine; check the path")]};
  const parsed = parseDataYaml(text, yamlPath);
  if ('problems' in parsed) return parsed;
  const {yaml} = parsed;

  const [train, val] = await Promise.all(SPLIT_NAMES.map(split => findSplit(yaml, split, yamlPath, signal)));
  const problems = [...train!.problems, ...val!.problems];
  if (problems.some(found => found.code === 'split_missing' || found.code === 'split_empty')) return {problems};
  const splits = {train: train!.images, val: val!.images};
  return {names: yaml.names, splits, problems, fingerprint: await fingerprint(text, [...splits.train, ...splits.val], signal)};
}

interface FoundSplit {
  readonly images: ImageFile[];
  readonly problems: DatasetProblem[];
}

async function findSplit(yaml: DataYaml, split: SplitName, yamlPath: string, signal: AbortSignal): Promise<FoundSplit> {
  const base = resolve(dirname(yamlPath), yaml.path);
  const found = await Promise.all(yaml[split].map(entry => findEntry(resolve(base, entry), yamlPath, split, signal)));
  const problems = found.flatMap(part => part.problems);
  const images = [...new Map(found.flatMap(part => part.images).map(image => [image.path, image])).values()];
  images.sort((a, b) => (a.path < b.path ? -1 : 1));
  if (images.length === 0 && problems.length === 0) {
    problems.push(problem('split_empty', yamlPath, 0, `${split} holds no image (${[...READABLE].join(', ')})`));
  }
  return {images, problems};
}

/** One entry of a split: a folder (searched through), a text file of paths, or a glob. */
async function findEntry(entry: string, yamlPath: string, split: SplitName, signal: AbortSignal): Promise<FoundSplit> {
  const info = await statOrAbsent(entry);
  if (info?.isDirectory()) return sortOut(await filesBelow(entry), entry);
  if (info?.isFile() && extname(entry).toLowerCase() === '.txt') return imagesListedIn(entry, signal);
  if (/[*?[\]{}]/.test(entry)) {
    const files = await glob(entry, {absolute: true, expandDirectories: false});
    if (files.length > 0) return sortOut(files, undefined);
  }
  return {images: [], problems: [problem('split_missing', yamlPath, 0, `${split} names ${entry}, which is not there`)]};
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, {recursive: true, withFileTypes: true});
  return entries.filter(entry => entry.isFile() || entry.isSymbolicLink()).map(entry => join(entry.parentPath ?? entry.path, entry.name));
}

/** Takes the images out of a list of files; tells of images that no trainer reads, and of label files whose image is missing. */
async function sortOut(files: readonly string[], folder: string | undefined): Promise<FoundSplit> {
  const images: ImageFile[] = [];
  const problems: DatasetProblem[] = [];
  for (const path of files) {
    const extension = extname(path).toLowerCase();
    if (READABLE.has(extension)) images.push({path, labelPath: labelPathOf(path)});
    if (OTHER_IMAGES.has(extension))
      problems.push(problem('unsupported_image', path, 0, `${extension} is not read; convert it to JPEG, PNG or WebP`));
  }
  if (folder !== undefined) problems.push(...(await labelsWithoutImage(folder, images)));
  return {images, problems};
}

async function labelsWithoutImage(folder: string, images: readonly ImageFile[]): Promise<DatasetProblem[]> {
  const labelFolder = dirname(labelPathOf(join(folder, 'x.jpg')));
  const labels = (await filesBelow(labelFolder).catch(() => [])).filter(path => path.endsWith('.txt') && labelFolder !== folder);
  const known = new Set(images.map(image => image.labelPath));
  return labels
    .filter(path => !known.has(path) && basename(path) !== 'classes.txt')
    .map(path =>
      problem('missing_image', path, 0, `there are labels, but no image for them in ${folder}; restore the image or remove the label file`),
    );
}

async function imagesListedIn(listPath: string, signal: AbortSignal): Promise<FoundSplit> {
  const images: ImageFile[] = [];
  const problems: DatasetProblem[] = [];
  const lines = ((await readText(listPath)) ?? '').split('\n').map(line => line.trim());
  const listed = [...lines.entries()].filter(([, line]) => line !== '');
  const pathOf = (line: string): string => (isAbsolute(line) ? line : resolve(dirname(listPath), line));
  const infos = await inParallel(listed, LOOKS_IN_FLIGHT, signal, ([, line]) => statOrAbsent(pathOf(line)));
  for (const [at, [i, line]] of listed.entries()) {
    const path = pathOf(line);
    if (!infos[at]?.isFile()) problems.push(problem('missing_image', listPath, i + 1, `${line} is listed, but not there`));
    else if (!READABLE.has(extname(path).toLowerCase()))
      problems.push(problem('unsupported_image', listPath, i + 1, `${line} is not JPEG, PNG or WebP`));
    else images.push({path, labelPath: labelPathOf(path)});
  }
  return {images, problems};
}

/** `…/images/…/x.jpg` -> `…/labels/…/x.txt`, the last `images` folder counting; without one the label lies beside the image. */
export function labelPathOf(imagePath: string): string {
  const withoutExtension = imagePath.slice(0, imagePath.length - extname(imagePath).length);
  const marker = `${sep}images${sep}`;
  const at = withoutExtension.lastIndexOf(marker);
  if (at < 0) return `${withoutExtension}.txt`;
  return `${withoutExtension.slice(0, at)}${sep}labels${sep}${withoutExtension.slice(at + marker.length)}.txt`;
}

async function fingerprint(yamlText: string, images: readonly ImageFile[], signal: AbortSignal): Promise<string> {
  const paths = images.flatMap(image => [image.path, image.labelPath]);
  const infos = await inParallel(paths, LOOKS_IN_FLIGHT, signal, statOrAbsent);
  const hash = createHash('sha256').update(yamlText);
  for (const [i, path] of paths.entries()) hash.update(`\0${path}\0${infos[i]?.size ?? -1}\0${infos[i]?.mtimeMs ?? -1}`);
  return hash.digest('hex');
}

function statOrAbsent(path: string): Promise<Stats | undefined> {
  return stat(path).catch(() => undefined);
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
