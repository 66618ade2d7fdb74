import {showDuration, showRate} from '../render/figures.js';
import {pad, type Style} from '../render/style.js';
import type {EpochEvent} from './model.js';

/** The table of epochs that scrolls above the live lines. Rows come one at a time, so the columns' widths are fixed. Pure. */

/** Which columns fit. */
export type EpochLayout = 'full' | 'short' | 'tiny';

export function epochLayout(width: number): EpochLayout {
  return width >= 86 ? 'full' : width >= 58 ? 'short' : 'tiny';
}

export function epochHeading(layout: EpochLayout, style: Style): string {
  return style.dim(
    epochCells(layout, {
      epoch: 'epoch',
      time: 'time',
      box: 'box',
      cls: 'cls',
      dfl: 'dfl',
      p: 'P',
      r: 'R',
      map50: 'mAP50',
      map: '50-95',
      rate: 'img/s',
    }),
  );
}

export function epochRow(event: EpochEvent, epochs: number, layout: EpochLayout, style: Style): string {
  const {train, metrics} = event;
  const figure = (value: number | undefined): string => (value === undefined ? '-' : value.toFixed(3));
  const row = epochCells(layout, {
    epoch: `${event.epoch}/${epochs}`,
    time: showDuration(event.images_per_s > 0 ? (event.images / event.images_per_s) * 1000 : 0),
    box: figure(train.box),
    cls: figure(train.cls),
    dfl: figure(train.dfl),
    p: figure(metrics?.precision),
    r: figure(metrics?.recall),
    map50: figure(metrics?.map50),
    map: figure(metrics?.map50_95),
    rate: showRate(event.images_per_s),
  });
  return event.best && metrics ? `${row}  ${style.good('best')}` : row;
}

type EpochCells = Record<'epoch' | 'time' | 'box' | 'cls' | 'dfl' | 'p' | 'r' | 'map50' | 'map' | 'rate', string>;

function epochCells(layout: EpochLayout, cells: EpochCells): string {
  const widths: readonly (readonly [keyof EpochCells, number])[] = {
    full: [
      ['epoch', 9],
      ['time', 8],
      ['box', 7],
      ['cls', 7],
      ['dfl', 7],
      ['p', 7],
      ['r', 7],
      ['map50', 7],
      ['map', 7],
      ['rate', 8],
    ] as const,
    short: [
      ['epoch', 9],
      ['box', 7],
      ['cls', 7],
      ['dfl', 7],
      ['map50', 7],
      ['map', 7],
      ['rate', 8],
    ] as const,
    tiny: [
      ['epoch', 8],
      ['map50', 7],
      ['map', 7],
    ] as const,
  }[layout];
  return widths.map(([name, width]) => pad(cells[name], -width)).join('');
}
