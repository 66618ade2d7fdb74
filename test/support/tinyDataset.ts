import {mkdir, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import sharp from 'sharp';

export interface TinyDatasetOptions {
  readonly train?: number;
  readonly val?: number;
  /** Side of the square pictures, in pixels. */
  readonly size?: number;
}

/** Writes a small real data set (red and blue rectangles on grey noise) and returns its data.yaml's path. Equal options give equal files. */
export async function writeTinyDataset(folder: string, {train = 48, val = 8, size = 64}: TinyDatasetOptions = {}): Promise<string> {
  for (const [split, count] of [['train', train] as const, ['val', val] as const]) {
    await mkdir(join(folder, 'images', split), {recursive: true});
    await mkdir(join(folder, 'labels', split), {recursive: true});
    for (let i = 0; i < count; i++) await writeScene(folder, split, i, size);
  }
  const yaml = join(folder, 'data.yaml');
  await writeFile(yaml, 'path: .\ntrain: images/train\nval: images/val\nnames: [red, blue]\n');
  return yaml;
}

async function writeScene(folder: string, split: string, i: number, size: number): Promise<void> {
  const side = Math.round(size * (0.3 + 0.05 * (i % 5)));
  const left = (i * 7) % (size - side);
  const top = (i * 11) % (size - side);
  const cls = i % 2;
  const pixels = Buffer.alloc(size * size * 3);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const inside = x >= left && x < left + side && y >= top && y < top + side;
      const noise = (x * 13 + y * 29 + i * 37 + (split === 'val' ? 101 : 0)) % 64;
      pixels.set(inside ? (cls === 0 ? [220, noise, 30] : [30, noise, 220]) : [96 + noise, 96 + noise, 96 + noise], (y * size + x) * 3);
    }
  }
  const name = String(i).padStart(4, '0');
  await sharp(pixels, {raw: {width: size, height: size, channels: 3}})
    .jpeg({quality: 92})
    .toFile(join(folder, 'images', split, `${name}.jpg`));
  const box = [left + side / 2, top + side / 2, side, side].map(value => (value / size).toFixed(6)).join(' ');
  await writeFile(join(folder, 'labels', split, `${name}.txt`), `${cls} ${box}\n`);
}
