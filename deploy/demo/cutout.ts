import {type Colour, mixColours} from './colour.js';
import {clamp01, type Noise, smooth} from './noise.js';
import {PHOTOGRAPH_SIDE, type Photograph} from './photographs.js';

/** A product cut out of its photograph, enlarged, turned and dyed; the smallest rectangle that holds it. */
export interface Cutout {
  readonly width: number;
  readonly height: number;
  /** width * height * 3, red, green, blue, 0..255. */
  readonly colours: Float32Array;
  /** width * height opacities, 0..1. */
  readonly opacity: Float32Array;
}

/** How a product is shown. */
export interface Pose {
  /** Length of the product's longer side in pixels. */
  readonly lengthPx: number;
  /** Width is multiplied by this. */
  readonly stretch: number;
  readonly mirrored: boolean;
  /** Radians, clockwise. */
  readonly turn: number;
  readonly dye: Colour;
}

/** Brightness, 0..255, from which a pixel begins to belong to the product, and from which it does so wholly. */
const OPAQUE_FROM = 14;
const OPAQUE_AT = 58;

const BLACK: Colour = [0, 0, 0];
const WHITE: Colour = [255, 255, 255];

/** The opacity at which a pixel counts for the bounding box. */
const SEEN_FROM = 0.5;

export function cutOut(photograph: Photograph, pose: Pose, grain: Noise): Cutout {
  const extent = extentOf(photograph.brightness);
  const zoom = pose.lengthPx / Math.max(extent.right - extent.left, extent.bottom - extent.top);
  const cos = Math.cos(pose.turn);
  const sin = Math.sin(pose.turn);
  // The product's half sides, enlarged, and a margin for the soft edge; turned, they give the canvas (trimmed below).
  const halfWidth = ((extent.right - extent.left) / 2 + 1) * zoom * pose.stretch;
  const halfHeight = ((extent.bottom - extent.top) / 2 + 1) * zoom;
  const canvas = blank(
    2 * Math.ceil(Math.abs(cos) * halfWidth + Math.abs(sin) * halfHeight),
    2 * Math.ceil(Math.abs(sin) * halfWidth + Math.abs(cos) * halfHeight),
  );
  const shades = shadesOf(pose.dye);
  const perColumn = (pose.mirrored ? -1 : 1) / (zoom * pose.stretch);
  const [centreX, centreY] = [(extent.left + extent.right - 1) / 2, (extent.top + extent.bottom - 1) / 2];
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      const fromCentreX = x + 0.5 - canvas.width / 2;
      const fromCentreY = y + 0.5 - canvas.height / 2;
      const sourceX = centreX + (cos * fromCentreX + sin * fromCentreY) * perColumn;
      const sourceY = centreY + (cos * fromCentreY - sin * fromCentreX) / zoom;
      const brightness = sampleBicubic(photograph.brightness, sourceX, sourceY);
      if (brightness <= OPAQUE_FROM) continue;
      const pixel = y * canvas.width + x;
      // The threshold is taken after enlarging, so that the outline is crisp although the photograph is coarse.
      canvas.opacity[pixel] = smooth(clamp01((brightness - OPAQUE_FROM) / (OPAQUE_AT - OPAQUE_FROM)));
      const shade = clamp01(brightness / 255 + 0.12 * (grain(x * 3, y * 3) - 0.5));
      const at = Math.round(shade * (SHADES - 1)) * 3;
      canvas.colours[pixel * 3] = shades[at]!;
      canvas.colours[pixel * 3 + 1] = shades[at + 1]!;
      canvas.colours[pixel * 3 + 2] = shades[at + 2]!;
    }
  }
  return trim(canvas);
}

/** Rows and columns of the photograph that the product covers; right and bottom are exclusive. */
function extentOf(brightness: Uint8Array): {left: number; top: number; right: number; bottom: number} {
  const extent = {left: PHOTOGRAPH_SIDE, top: PHOTOGRAPH_SIDE, right: 0, bottom: 0};
  for (let i = 0; i < brightness.length; i++) {
    if (brightness[i]! < OPAQUE_AT) continue;
    const x = i % PHOTOGRAPH_SIDE;
    const y = (i - x) / PHOTOGRAPH_SIDE;
    extent.left = Math.min(extent.left, x);
    extent.right = Math.max(extent.right, x + 1);
    extent.top = Math.min(extent.top, y);
    extent.bottom = Math.max(extent.bottom, y + 1);
  }
  // A photograph in which nothing is bright: all of it is the product.
  return extent.right > extent.left ? extent : {left: 0, top: 0, right: PHOTOGRAPH_SIDE, bottom: PHOTOGRAPH_SIDE};
}

/** Catmull-Rom interpolation (Keys, 1981, a = -0.5); outside is background. */
function sampleBicubic(brightness: Uint8Array, x: number, y: number): number {
  const column = Math.floor(x);
  const row = Math.floor(y);
  if (column < -2 || row < -2 || column > PHOTOGRAPH_SIDE || row > PHOTOGRAPH_SIDE) return 0; // the reach of the kernel
  const u = x - column;
  const first = cubic(1 + u);
  const second = cubic(u);
  const third = cubic(1 - u);
  const fourth = cubic(2 - u);
  let sum = 0;
  for (let sourceRow = Math.max(0, row - 1); sourceRow <= Math.min(PHOTOGRAPH_SIDE - 1, row + 2); sourceRow++) {
    const at = sourceRow * PHOTOGRAPH_SIDE + column;
    let line = 0;
    if (column >= 1) line += brightness[at - 1]! * first;
    if (column >= 0 && column < PHOTOGRAPH_SIDE) line += brightness[at]! * second;
    if (column >= -1 && column + 1 < PHOTOGRAPH_SIDE) line += brightness[at + 1]! * third;
    if (column >= -2 && column + 2 < PHOTOGRAPH_SIDE) line += brightness[at + 2]! * fourth;
    sum += line * cubic(Math.abs(y - sourceRow));
  }
  return sum;
}

/** Keys' kernel at a distance of 0..2. */
function cubic(distance: number): number {
  if (distance < 1) return 1 + distance * distance * (1.5 * distance - 2.5);
  if (distance < 2) return 2 + distance * (-4 + distance * (2.5 - 0.5 * distance));
  return 0;
}

const SHADES = 256;

/** What a dye looks like from shadow to highlight: SHADES colours. */
function shadesOf(dye: Colour): Float32Array {
  const shadow = mixColours(dye, BLACK, 0.72);
  const highlight = mixColours(dye, WHITE, 0.38);
  const shades = new Float32Array(SHADES * 3);
  for (let i = 0; i < SHADES; i++) {
    const t = i / (SHADES - 1);
    shades.set(t < 0.7 ? mixColours(shadow, dye, t / 0.7) : mixColours(dye, highlight, (t - 0.7) / 0.3), i * 3);
  }
  return shades;
}

function blank(width: number, height: number): Cutout {
  return {width, height, colours: new Float32Array(width * height * 3), opacity: new Float32Array(width * height)};
}

/** Cuts away the margin in which nothing can be seen. */
function trim(canvas: Cutout): Cutout {
  let [left, top, right, bottom] = [canvas.width, canvas.height, 0, 0];
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      if (canvas.opacity[y * canvas.width + x]! < SEEN_FROM) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = y + 1;
    }
  }
  if (right <= left) return blank(0, 0);
  const trimmed = blank(right - left, bottom - top);
  for (let y = 0; y < trimmed.height; y++) {
    const from = (top + y) * canvas.width + left;
    trimmed.opacity.set(canvas.opacity.subarray(from, from + trimmed.width), y * trimmed.width);
    trimmed.colours.set(canvas.colours.subarray(from * 3, (from + trimmed.width) * 3), y * trimmed.width * 3);
  }
  return trimmed;
}
