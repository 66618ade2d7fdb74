import {plural} from '../render/figures.js';
import {pad, printable, type Style, truncate} from '../render/style.js';
import type {EvaluationEvent} from './model.js';

/** More classes would push the rest of a run off the screen. */
const MOST_CLASSES = 20;
const NAME_WIDTH = 20;
const FIGURE_WIDTH = 8;

/** What the weights that come out find, class by class. Rows of at most `width` columns: figures on the right go first. Pure. */
export function evaluationLines({epoch, images, labels, metrics, classes}: EvaluationEvent, width: number, style: Style): string[] {
  const row = (name: string, figures: readonly string[]): string => {
    const room = Math.max(0, Math.floor((width - NAME_WIDTH - 2) / FIGURE_WIDTH));
    const cells = figures.slice(0, room).map(figure => pad(figure, -FIGURE_WIDTH));
    return truncate(`  ${pad(truncate(printable(name), NAME_WIDTH), NAME_WIDTH)}${cells.join('')}`, width);
  };
  const rowOf = (name: string, of: EvaluationEvent['metrics'], count: number): string =>
    row(name, [...[of.map50, of.map50_95, of.precision, of.recall].map(figure => figure.toFixed(3)), String(count)]);
  const left = classes.length - MOST_CLASSES;
  return [
    '',
    style.dim(truncate(`  weights of epoch ${epoch} on ${plural(images, 'image')}`, width)),
    style.dim(row('class', ['mAP50', '50-95', 'P', 'R', 'objects'])),
    rowOf('all', metrics, labels),
    ...classes.slice(0, MOST_CLASSES).map(of => rowOf(of.name, of, of.labels)),
    ...(left > 0 ? [style.dim(truncate(`  and ${plural(left, 'class', 'classes')} more, in metrics.json`, width))] : []),
  ];
}
