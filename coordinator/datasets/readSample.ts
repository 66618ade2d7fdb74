import {createHash} from 'node:crypto';
import {lstat, readFile} from 'node:fs/promises';
import sharp from 'sharp';
import type {DatasetProblem} from '../../shared/dataset.js';
import {type Box, parseLabels} from './labels.js';
import {problem} from './problems.js';
import type {ImageFile} from './sourceFiles.js';

/** Refused before decoding: no camera makes it, and a small file can claim it (a decompression bomb). */
const MAX_PIXELS = 200_000_000;

/** An image with its labels, read and checked. */
export interface ReadSample {
  readonly bytes: Buffer;
  readonly sha256: string;
  /** In pixels, of the picture as shown: turned upright by its EXIF orientation, as the trainer turns it. */
  readonly width: number;
  readonly height: number;
  readonly boxes: readonly Box[];
}

/** Reads one image whole, decodes it to prove that it can be, and parses its labels. `sample` is absent when the image cannot be used. */
export async function readSample(
  image: ImageFile,
  classes: number,
): Promise<{readonly sample?: ReadSample; readonly problems: readonly DatasetProblem[]}> {
  let bytes: Buffer;
  try {
    bytes = await readFile(image.path);
  } catch (error) {
    return {problems: [problem('unreadable_image', image.path, 0, `cannot be read: ${(error as Error).message}`)]};
  }
  const size = await decodedSize(bytes);
  if ('wrong' in size) return {problems: [problem('unreadable_image', image.path, 0, size.wrong)]};
  const labels = await labelText(image);
  if ('wrong' in labels) return {problems: [problem('label_unreadable', image.labelPath, 0, labels.wrong)]};
  const {boxes, problems} = parseLabels(labels.text, classes, image.labelPath);
  return {sample: {bytes, sha256: createHash('sha256').update(bytes).digest('hex'), ...size, boxes}, problems};
}

/** A missing or empty label file means background. One that is there and cannot be read does not: its boxes would be trained away. */
async function labelText({labelPath}: ImageFile): Promise<{text: string} | {wrong: string}> {
  try {
    return {text: await readFile(labelPath, 'utf8')};
  } catch (error) {
    const {code, message} = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !(await isLink(labelPath))) return {text: ''};
    return {
      wrong: `${code === 'ENOENT' ? 'is a link that leads nowhere' : `cannot be read: ${message}`}; mend that, or leave bad samples out`,
    };
  }
}

function isLink(path: string): Promise<boolean> {
  return lstat(path).then(
    info => info.isSymbolicLink(),
    () => false,
  );
}

async function decodedSize(bytes: Buffer): Promise<{width: number; height: number} | {wrong: string}> {
  if (bytes.length === 0) return {wrong: 'the file is empty'};
  try {
    const image = sharp(bytes, {failOn: 'truncated', limitInputPixels: MAX_PIXELS, sequentialRead: true});
    const {width, height, format, orientation = 1} = await image.metadata();
    if (format !== 'jpeg' && format !== 'png' && format !== 'webp')
      return {wrong: `is ${format} by its content; convert it to JPEG, PNG or WebP`};
    // The whole file has to be decoded to know that it can be; keeping 8x8 pixels of it is the cheapest way.
    await image.resize(8, 8, {fit: 'fill', kernel: 'nearest'}).raw().toBuffer();
    // From 5 on the picture lies on its side. The trainer turns JPEGs alone.
    return format === 'jpeg' && orientation >= 5 ? {width: height, height: width} : {width, height};
  } catch (error) {
    return {wrong: `cannot be decoded (${(error as Error).message.trim().split('\n')[0]}); replace the file, or leave bad samples out`};
  }
}
