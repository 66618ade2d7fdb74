import {createHash} from 'node:crypto';
import {readFile} from 'node:fs/promises';
import {basename, dirname, extname, isAbsolute, join, resolve, sep} from 'node:path';
import {glob} from 'tinyglobby';
import type {DatasetProblem} from '../../shared/dataset.js';
import {type DataYaml, parseDataYaml} from './dataYaml.js';
import {type FoundFiles, filesBelow, LOOKS_IN_FLIGHT, statOrAbsent} from './filesBelow.js';
import {inParallel} from './inParallel.js';
import {isSkippable, problem} from './problems.js';

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
  if (problems.some(found => !isSkippable(found))) return {problems};
  const splits = {train: train!.images, val: val!.images};
  return {names: yaml.names, splits, problems, fingerprint: await fingerprint(text, [...splits.train, ...splits.val], signal)};
}

interface FoundSplit {
  readonly images: ImageFile[];
  readonly problems: DatasetProblem[];
}

async function findSplit(yaml: DataYaml, split: SplitName, yamlPath: string, signal: AbortSignal): Promise<FoundSplit> {
  const base = resolve(dirname(yamlPath), yaml.path);
  const found = await Promise.all(yaml[split].map(entry => findEntry(base, entry, yamlPath, split, signal)));
  const problems = found.flatMap(part => part.problems);
  const images = [...new Map(found.flatMap(part => part.images).map(image => [image.path, image])).values()];
  images.sort((a, b) => (a.path < b.path ? -1 : 1));
  if (images.length === 0 && problems.length === 0) {
    problems.push(problem('split_empty', yamlPath, 0, `${split} holds no image (${[...READABLE].join(', ')})`));
  }
  return {images, problems};
}

/**
 * One entry of a split. Exports of some labelling tools say `../train/images` where `train/images` lies beside their data.yaml; YOLO trainers
 * read them, too.
 */
async function findEntry(base: string, entry: string, yamlPath: string, split: SplitName, signal: AbortSignal): Promise<FoundSplit> {
  const named = resolve(base, entry);
  const paths = entry.startsWith('../') ? [named, resolve(base, entry.slice(3))] : [named];
  for (const path of paths) {
    const found = await imagesNamed(path, signal);
    if (found !== undefined) return found;
  }
  return {images: [], problems: [problem('split_missing', yamlPath, 0, `${split} names ${named}, which is not there`)]};
}

/** A folder (searched through), a text file of paths, or a glob; undefined where nothing is. */
async function imagesNamed(path: string, signal: AbortSignal): Promise<FoundSplit | undefined> {
  const info = await statOrAbsent(path);
  if (info?.isDirectory()) return imagesBelow(path, signal);
  if (info?.isFile() && extname(path).toLowerCase() === '.txt') return imagesListedIn(path, signal);
  const files = /[*?[\]{}]/.test(path) ? await glob(path, {absolute: true, expandDirectories: false}) : [];
  return files.length > 0 ? sortOut(files) : undefined;
}

async function imagesBelow(folder: string, signal: AbortSignal): Promise<FoundSplit> {
  const found = await filesBelow(folder, signal);
  const {images, problems} = sortOut(found.files);
  return {images, problems: [...notReached(found), ...problems, ...(await labelsWithoutImage(folder, images, signal))]};
}

/** Takes the images out of a list of files, and tells of those that no trainer reads. */
function sortOut(files: readonly string[]): FoundSplit {
  const images: ImageFile[] = [];
  const problems: DatasetProblem[] = [];
  for (const path of files) {
    const extension = extname(path).toLowerCase();
    if (READABLE.has(extension)) images.push({path, labelPath: labelPathOf(path)});
    if (OTHER_IMAGES.has(extension))
      problems.push(problem('unsupported_image', path, 0, `${extension} is not read; convert it to JPEG, PNG or WebP`));
  }
  return {images, problems};
}

/** Folders that cannot be listed, and broken links that may stand for an image or a folder; label files are looked at with their images. */
function notReached({brokenLinks, unlisted}: FoundFiles): DatasetProblem[] {
  const matters = (path: string): boolean => extname(path) === '' || READABLE.has(extname(path).toLowerCase());
  const folders = unlisted.map(({folder, code}) =>
    problem('folder_unreadable', folder, 0, `cannot be listed (${code}); may the coordinator read it?`),
  );
  const links = brokenLinks
    .filter(matters)
    .map(path => problem('broken_link', path, 0, 'is a link that leads nowhere; restore what it names, or remove the link'));
  return [...folders, ...links];
}

/** Problems of the label folder that belongs to a folder of images: label files whose image is missing, and what cannot be reached. */
async function labelsWithoutImage(folder: string, images: readonly ImageFile[], signal: AbortSignal): Promise<DatasetProblem[]> {
  const labelFolder = dirname(labelPathOf(join(folder, 'x.jpg')));
  if (labelFolder === folder || (await statOrAbsent(labelFolder)) === undefined) return [];
  const found = await filesBelow(labelFolder, signal);
  const known = new Set(images.map(image => image.labelPath));
  const orphans = found.files
    .filter(path => path.endsWith('.txt') && !known.has(path) && basename(path) !== 'classes.txt')
    .map(path =>
      problem('missing_image', path, 0, `there are labels, but no image for them in ${folder}; restore the image or remove the label file`),
    );
  return [...notReached(found), ...orphans];
}

async function imagesListedIn(listPath: string, signal: AbortSignal): Promise<FoundSplit> {
  const images: ImageFile[] = [];
  const problems: DatasetProblem[] = [];
  const lines = ((await readText(listPath)) ?? '').split('\n').map(line => line.trim()); // trim() takes a byte order mark, too
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

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}
