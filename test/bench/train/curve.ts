import {mean} from '../statistics.js';

/** mAP by epoch. */
export interface CurvePoint {
  readonly epoch: number;
  readonly map50: number;
  readonly map50_95: number;
}
export type Curve = readonly CurvePoint[];

/** How many epochs at the end count: single ones are noisy. */
export const LAST = 5;

/** The run of that name in a csv with the columns run, epoch, map50, map50_95; undefined when there is none. */
export function findCurve(csv: string, run: string): Curve | undefined {
  const rows = csv.trim().split('\n').slice(1);
  const points = rows
    .map(row => row.split(','))
    .filter(([name]) => name === run)
    .map(([, epoch, map50, map50_95]) => ({epoch: Number(epoch), map50: Number(map50), map50_95: Number(map50_95)}));
  return points.length === 0 ? undefined : points;
}

/** "v8n on bccd": how a model on a data set is called in the csv. */
export function curveName(model: string, dataset: string): string {
  return `${model.replace(/^yolo/, '')} on ${dataset}`;
}

/** Mean of the last five epochs, or of all when there are fewer. */
export function lastMean(curve: Curve, of: 'map50' | 'map50_95'): number {
  return mean(curve.slice(-LAST).map(point => point[of]));
}
