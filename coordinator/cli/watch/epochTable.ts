import {showDuration, showRate} from '../render/figures.js';
import {pad, printable, type Style} from '../render/style.js';
import type {EpochEvent} from './model.js';

/** The table of epochs that scrolls above the live lines. Rows come one at a time, so the columns' widths are fixed. Pure. */

/** Which columns fit. */
export type EpochLayout = 'full' | 'short' | 'tiny';

/** What a row says, by column; the losses have the names of the model's family, and lie between `time` and `P`. */
interface Column {
  readonly name: string;
  readonly width: number;
  readonly layouts: readonly EpochLayout[];
  cell(event: EpochEvent, epochs: number): string;
}

/** Columns besides the losses, and the word that may follow them. */
const FULL_WIDTH = 65;
const SHORT_WIDTH = 37;
const LOSS_WIDTH = 7;

/** For a terminal of `width` columns and a training with so many losses. */
export function epochLayout(width: number, losses: number): EpochLayout {
  const forLosses = losses * LOSS_WIDTH;
  return width >= FULL_WIDTH + forLosses ? 'full' : width >= SHORT_WIDTH + forLosses ? 'short' : 'tiny';
}

export function epochHeading(event: EpochEvent, layout: EpochLayout, style: Style): string {
  return style.dim(
    columnsOf(event, layout)
      .map(({name, width}) => pad(name, -width))
      .join(''),
  );
}

export function epochRow(event: EpochEvent, epochs: number, layout: EpochLayout, style: Style): string {
  const row = columnsOf(event, layout)
    .map(({cell, width}) => pad(cell(event, epochs), -width))
    .join('');
  return event.best && event.metrics ? `${row}  ${style.good('best')}` : row;
}

function columnsOf(event: EpochEvent, layout: EpochLayout): Column[] {
  const losses = event.train.map(({name}, index): Column => {
    const width = Math.max(LOSS_WIDTH, name.length + 1);
    return {name: printable(name), width, layouts: ['full', 'short'], cell: ({train}) => figure(train[index]?.value)};
  });
  const all = [{...EPOCH, width: layout === 'tiny' ? 8 : 9}, TIME, ...losses, ...METRICS, RATE];
  return all.filter(({layouts}) => layouts.includes(layout));
}

function figure(value: number | undefined): string {
  return value === undefined ? '-' : value.toFixed(3);
}

const EVERYWHERE: readonly EpochLayout[] = ['full', 'short', 'tiny'];
const EPOCH: Column = {name: 'epoch', width: 9, layouts: EVERYWHERE, cell: ({epoch}, epochs) => `${epoch}/${epochs}`};
const TIME: Column = {
  name: 'time',
  width: 8,
  layouts: ['full'],
  cell: ({images, images_per_s}) => showDuration(images_per_s > 0 ? (images / images_per_s) * 1000 : 0),
};
const METRICS: readonly Column[] = [
  {name: 'P', width: 7, layouts: ['full'], cell: ({metrics}) => figure(metrics?.precision)},
  {name: 'R', width: 7, layouts: ['full'], cell: ({metrics}) => figure(metrics?.recall)},
  {name: 'mAP50', width: 7, layouts: EVERYWHERE, cell: ({metrics}) => figure(metrics?.map50)},
  {name: '50-95', width: 7, layouts: EVERYWHERE, cell: ({metrics}) => figure(metrics?.map50_95)},
];
const RATE: Column = {name: 'img/s', width: 8, layouts: ['full', 'short'], cell: ({images_per_s}) => showRate(images_per_s)};
