import {existsSync, readFileSync} from 'node:fs';
import * as path from 'node:path';
import {packageRoot} from '../../../shared/packageRoot.js';
import {mean} from '../statistics.js';
import type {BenchArguments} from './arguments.js';
import {type Curve, type CurvePoint, curveName, findCurve, LAST, lastMean} from './curve.js';
import {publishedMap, type TrainingRun, train} from './trainer.js';

const DEFAULT_CURVES = path.join(packageRoot, '../shared/reference/curves.csv');

/** Trains once a seed, prints mAP by epoch beside the reference, and sums up. */
export async function benchLearning(args: BenchArguments, folder: string): Promise<void> {
  const dataset = path.basename(path.dirname(path.resolve(args.data)));
  const run = curveName(args.model, dataset);
  const reference = referenceCurve(args.curves, run);
  console.log(`${args.model} on ${args.data}: ${args.epochs} epochs, imgsz ${args.imgsz}, batch ${args.batch}, ${args.ranks} rank(s)`);
  console.log(reference === undefined ? `no reference curve "${run}"` : `reference: "${run}"`);
  const learned: Learned[] = [];
  for (const seed of args.seeds) learned.push(await trainOnce(args, seed, path.join(folder, `seed-${seed}`), reference));
  sumUp(learned, reference);
}

function referenceCurve(file: string | undefined, run: string): Curve | undefined {
  if (file === undefined && !existsSync(DEFAULT_CURVES)) return undefined;
  return findCurve(readFileSync(file ?? DEFAULT_CURVES, 'utf8'), run);
}

/** One training's mAP, by two rules of average precision. */
interface Learned {
  /** Every epoch, as pycocotools takes it. */
  readonly coco: Curve;
  /** The last epochs, as the published YOLO trainers take it: to be compared with their curves. */
  readonly published: Curve;
}

async function trainOnce(args: BenchArguments, seed: number, folder: string, reference: Curve | undefined): Promise<Learned> {
  console.log(`\nseed ${seed}\nepoch   mAP50  mAP50-95${reference === undefined ? '' : '   reference'}   images/s`);
  const coco: CurvePoint[] = [];
  const {data, model: arch, epochs, imgsz, batch, ranks, threads} = args;
  const settings = {epochs, imgsz, batch, nbs: batch, seed, optimizer: 'SGD', lr0: 0.01, close_mosaic: 0, patience: 0, save_period: 1};
  const run: TrainingRun = {folder, data, arch, train: settings, ranks, threads};
  for await (const {epoch, metrics, images_per_s} of train(run)) {
    if (metrics == null) throw new Error(`epoch ${epoch} was not validated`);
    coco.push({epoch, map50: metrics.map50, map50_95: metrics.map50_95});
    const beside = reference?.find(point => point.epoch === epoch);
    const theirs =
      reference === undefined ? '' : `   ${beside === undefined ? '    -    -' : `${figure(beside.map50)} ${figure(beside.map50_95)}`}`;
    console.log(
      `${String(epoch).padStart(5)}   ${figure(metrics.map50)}     ${figure(metrics.map50_95)}${theirs}   ${images_per_s.toFixed(1)}`,
    );
  }
  const published: CurvePoint[] = [];
  for (const {epoch} of coco.slice(-LAST)) published.push(await publishedMap(run, epoch));
  return {coco, published};
}

function sumUp(learned: readonly Learned[], reference: Curve | undefined): void {
  console.log('\nmean of the last five epochs');
  const published = learned.map(one => one.published);
  const coco = learned.map(one => one.coco);
  sumUpRule('published rule', published, reference);
  sumUpRule('pycocotools', coco, undefined);
}

function sumUpRule(rule: string, curves: readonly Curve[], reference: Curve | undefined): void {
  for (const [name, of] of [
    ['mAP50', 'map50'],
    ['mAP50-95', 'map50_95'],
  ] as const) {
    const own = curves.map(curve => lastMean(curve, of));
    const seeds = own.map(figure).join(', ');
    const theirs = reference === undefined ? '' : `; reference ${figure(lastMean(reference, of))}`;
    const lead = reference === undefined ? '' : `, difference ${(mean(own) - lastMean(reference, of)).toFixed(3)}`;
    console.log(`  ${rule.padEnd(16)}${name.padEnd(9)} ${figure(mean(own))} (by seed ${seeds})${theirs}${lead}`);
  }
}

function figure(value: number): string {
  return value.toFixed(3);
}
