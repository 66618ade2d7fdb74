/**
 * Product photographs from the IDX files of Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017; MIT licence): 28x28 pixels, grey, black background.
 */

/** Side of a photograph in pixels. */
export const PHOTOGRAPH_SIDE = 28;

export interface Photograph {
  /** Index into CLASS_NAMES. */
  readonly classId: number;
  /** PHOTOGRAPH_SIDE^2 brightness values, row by row; 0 is background. */
  readonly brightness: Uint8Array;
}

/** The five of the ten classes that a picture tells apart (a shirt, a coat and a pullover of 28 pixels often cannot be). */
export const CLASS_NAMES = ['trouser', 'dress', 'sandal', 'bag', 'ankle boot'] as const;

/** Fashion-MNIST's label -> index into CLASS_NAMES. */
const CLASS_OF_LABEL = new Map([
  [1, 0],
  [3, 1],
  [5, 2],
  [8, 3],
  [9, 4],
]);

const IMAGES_MAGIC = 0x0803;
const LABELS_MAGIC = 0x0801;

/** Bytes before the data. */
const IMAGES_HEADER = 16;
const LABELS_HEADER = 8;

const PIXELS = PHOTOGRAPH_SIDE ** 2;

/** The photographs of the five classes, from the unpacked bytes of an images file and its labels file. Throws on files that are something else. */
export function parsePhotographs(images: Uint8Array, labels: Uint8Array): Photograph[] {
  const wrong = whatIsWrong(images, labels);
  if (wrong !== null) throw new Error(`reading Fashion-MNIST: ${wrong}`);

  const count = (images.length - IMAGES_HEADER) / PIXELS;
  const photographs: Photograph[] = [];
  for (let i = 0; i < count; i++) {
    const classId = CLASS_OF_LABEL.get(labels[LABELS_HEADER + i]!);
    if (classId === undefined) continue;
    const start = IMAGES_HEADER + i * PIXELS;
    photographs.push({classId, brightness: images.subarray(start, start + PIXELS)});
  }
  return photographs;
}

function whatIsWrong(images: Uint8Array, labels: Uint8Array): string | null {
  if (images.length < IMAGES_HEADER || labels.length < LABELS_HEADER) return 'a file is cut short';
  if (word(images, 0) !== IMAGES_MAGIC) return 'the images file is not IDX';
  if (word(labels, 0) !== LABELS_MAGIC) return 'the labels file is not IDX';
  const [count, rows, columns] = [word(images, 1), word(images, 2), word(images, 3)];
  if (rows !== PHOTOGRAPH_SIDE || columns !== PHOTOGRAPH_SIDE) return `photographs of ${columns}x${rows} pixels`;
  if (count !== word(labels, 1)) return `${count} photographs but ${word(labels, 1)} labels`;
  if (images.length !== IMAGES_HEADER + count * PIXELS || labels.length !== LABELS_HEADER + count) return 'a file is cut short';
  return null;
}

/** The big-endian 32-bit word number `index`. */
function word(bytes: Uint8Array, index: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(index * 4);
}
