import {Dataset, type DatasetProblem, DatasetState, Severity} from '../../../shared/gen/tenfold/v1/dataset.js';
import {datasetStateName} from '../../../shared/wire/dataset.js';
import type {Listing} from '../output.js';
import {plural, showAge, showBytes, showCount, showDate} from './figures.js';
import {printable, type Style} from './style.js';
import {renderPairs, renderTable} from './table.js';

/** Data sets as tables and as single pages. Pure. */

export function datasetListing(now: number, style: Style): Listing<Dataset> {
  return {
    key: 'datasets',
    nameOf: ({name}) => name,
    toJson: Dataset.toJSON,
    columns: [
      {heading: 'DATA SET'},
      {heading: 'STATE'},
      {heading: 'TRAIN', right: true},
      {heading: 'VAL', right: true},
      {heading: 'CLASSES', right: true},
      {heading: 'SIZE', right: true},
      {heading: 'PROBLEMS', right: true},
      {heading: 'AGE', right: true},
    ],
    cells: dataset => [
      dataset.name.replace('datasets/', ''),
      stateText(dataset, style),
      samplesOf(dataset, 'train'),
      samplesOf(dataset, 'val'),
      dataset.classNames.length > 0 ? String(dataset.classNames.length) : '-',
      dataset.splits.length > 0 ? showBytes(dataset.splits.reduce((sum, {bytes}) => sum + Number(bytes), 0)) : '-',
      showCount(problemCount(dataset)),
      dataset.createTime ? showAge(now - dataset.createTime.getTime()) : '',
    ],
    wideColumns: [{heading: 'SOURCE'}],
    wideCells: ({source}) => [source],
  };
}

function stateText({state, imagesScanned, imagesTotal}: Dataset, style: Style): string {
  const name = datasetStateName(state);
  switch (state) {
    case DatasetState.DATASET_STATE_READY:
      return style.good(name);
    case DatasetState.DATASET_STATE_FAILED:
      return style.bad(name);
    default:
      return style.wait(imagesTotal > 0n ? `${name} ${(100n * imagesScanned) / imagesTotal}%` : name);
  }
}

function samplesOf({splits}: Dataset, name: string): string {
  const split = splits.find(candidate => candidate.name === name);
  return split === undefined ? '-' : showCount(split.samples);
}

function problemCount({problemCounts}: Dataset): bigint {
  return Object.values(problemCounts).reduce((sum, count) => sum + count, 0n);
}

export function datasetLines(dataset: Dataset, {now, wide, style}: {now: number; wide: boolean; style: Style}): string[] {
  const {classNames, splits, createTime, indexDigest} = dataset;
  const classes =
    wide || classNames.length <= 12 ? classNames.join(', ') : `${classNames.slice(0, 10).join(', ')}, … (${classNames.length})`;
  const pairs = renderPairs(
    [
      ['source', dataset.source],
      ['classes', printable(classes)],
      ['created', createTime && `${showDate(createTime)} (${showAge(now - createTime.getTime())} ago)`],
      ['index', wide ? indexDigest : undefined],
    ],
    style,
  );
  const columns = [
    {heading: 'SPLIT'},
    {heading: 'IMAGES', right: true},
    {heading: 'BOXES', right: true},
    {heading: 'BACKGROUNDS', right: true},
    {heading: 'SIZE', right: true},
    {heading: 'SHARDS', right: true},
  ];
  const rows = splits.map(split => [
    split.name,
    showCount(split.samples),
    showCount(split.boxes),
    showCount(split.backgrounds),
    showBytes(Number(split.bytes)),
    String(split.shards),
  ]);
  const table = rows.length === 0 ? [] : ['', ...renderTable(columns, rows, style)];
  return [
    `${style.bold(dataset.name.replace('datasets/', ''))}  ${stateText(dataset, style)}`,
    ...[...pairs, ...table, ...problemLines(dataset, wide, style)].map(line => (line === '' ? '' : `  ${line}`)),
  ];
}

/** How many problems are shown unless all were asked for. */
const PROBLEMS_SHOWN = 10;

function problemLines(dataset: Dataset, wide: boolean, style: Style): string[] {
  const total = problemCount(dataset);
  if (total === 0n) return [];
  const counts = Object.entries(dataset.problemCounts).map(([code, count]) => `${showCount(count)} ${code}`);
  // What keeps it from being trained on comes first.
  const sorted = [...dataset.problems].sort((a, b) => b.severity - a.severity);
  const shown = wide ? sorted : sorted.slice(0, PROBLEMS_SHOWN);
  const rest = total - BigInt(shown.length);
  return [
    '',
    `${style.bold(plural(Number(total), 'problem'))} ${style.dim(`(${counts.join(', ')})`)}`,
    ...shown.map(problem => `  ${problemLine(problem, style)}`),
    ...(rest > 0n ? [style.dim(`  … and ${showCount(rest)} more${wide ? '' : '; -o wide shows the first hundred'}`)] : []),
  ];
}

function problemLine({severity, code, file, line, message}: DatasetProblem, style: Style): string {
  const kind = severity === Severity.SEVERITY_ERROR ? style.bad('error') : style.wait('warning');
  return `${kind} ${printable(file)}${line > 0 ? `:${line}` : ''}: ${printable(message)} ${style.dim(`(${code})`)}`;
}
