import type {DatasetProblem} from '../../shared/dataset.js';
import {problem} from './problems.js';

/** class, centre x, centre y, width, height; all but the class divided by the image's size. */
export type Box = readonly [number, number, number, number, number];

/** How far beyond the image a coordinate may lie before it counts as wrong: rounding of six decimals, and a little. */
const SLACK = 1e-3;

/**
 * Parses a YOLO label file. A line is `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 …` (a polygon, of which the bounding box is taken).
 * Boxes that reach beyond the image by less than the slack are clipped. Repeated lines are told and taken once.
 */
export function parseLabels(text: string, classes: number, file: string): {readonly boxes: Box[]; readonly problems: DatasetProblem[]} {
  const boxes: Box[] = [];
  const problems: DatasetProblem[] = [];
  const seen = new Set<string>();
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.trim();
    if (line === '') continue;
    if (seen.has(line)) {
      problems.push(problem('duplicate_label', file, i + 1, 'the same box stands here twice; taken once'));
      continue;
    }
    seen.add(line);
    const parsed = parseLine(line, classes);
    if ('box' in parsed) boxes.push(parsed.box);
    else problems.push(problem(parsed.code, file, i + 1, parsed.message));
  }
  return {boxes, problems};
}

type Refusal = {readonly code: 'label_malformed' | 'label_out_of_range' | 'class_out_of_range'; readonly message: string};

function parseLine(line: string, classes: number): {readonly box: Box} | Refusal {
  const numbers = line.split(/\s+/).map(word => (/^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(word) ? Number(word) : Number.NaN));
  const isPolygon = numbers.length >= 7 && numbers.length % 2 === 1;
  if (numbers.length !== 5 && !isPolygon) {
    return {
      code: 'label_malformed',
      message: `has ${numbers.length} numbers; a box is "class cx cy w h", a polygon "class x1 y1 x2 y2 x3 y3 …"`,
    };
  }
  if (numbers.some(Number.isNaN)) return {code: 'label_malformed', message: `holds something that is not a number: ${line.slice(0, 60)}`};
  const [cls, ...rest] = numbers as [number, ...number[]];
  if (!Number.isInteger(cls) || cls < 0) return {code: 'label_malformed', message: `class ${cls} must be a whole number from 0`};
  if (cls >= classes)
    return {code: 'class_out_of_range', message: `class ${cls} is beyond names, which has the classes 0 to ${classes - 1}`};
  return boxWithin(cls, isPolygon ? polygonEdges(rest) : centredEdges(rest));
}

type Edges = readonly [left: number, top: number, right: number, bottom: number];

function centredEdges(values: readonly number[]): Edges {
  const [cx, cy, w, h] = values as [number, number, number, number];
  return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2];
}

function polygonEdges(values: readonly number[]): Edges {
  const xs = values.filter((_, i) => i % 2 === 0);
  const ys = values.filter((_, i) => i % 2 === 1);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

function boxWithin(cls: number, edges: Edges): {readonly box: Box} | Refusal {
  if (edges.some(edge => edge < -SLACK || edge > 1 + SLACK)) {
    return {
      code: 'label_out_of_range',
      message: 'the box reaches beyond the image; all numbers must be divided by its width and height (0 to 1)',
    };
  }
  const [left, top, right, bottom] = edges.map(edge => Math.min(1, Math.max(0, edge))) as [number, number, number, number];
  if (right <= left || bottom <= top) return {code: 'label_out_of_range', message: 'the box has no area; width and height must be above 0'};
  return {box: [cls, (left + right) / 2, (top + bottom) / 2, right - left, bottom - top]};
}
