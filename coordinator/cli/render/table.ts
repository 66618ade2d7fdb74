import {pad, type Style, visibleWidth} from './style.js';

/** One column: its heading, and whether its cells stand at the right (numbers). */
export interface Column {
  readonly heading: string;
  readonly right?: boolean;
}

/** Lines of a table: a dim heading, then a row each; as wide as the cells need. The last column is not filled up. */
export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[], style: Style): string[] {
  const widths = columns.map((column, index) => Math.max(visibleWidth(column.heading), ...rows.map(row => visibleWidth(row[index] ?? ''))));
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, index) => {
        const cell = cells[index] ?? '';
        if (column.right) return pad(cell, -widths[index]!);
        return index === columns.length - 1 ? cell : pad(cell, widths[index]!);
      })
      .join('  ')
      .trimEnd();
  return [style.dim(line(columns.map(column => column.heading))), ...rows.map(line)];
}

/** Lines `label   value`, the values below each other. Pairs without a value are left out. */
export function renderPairs(pairs: readonly (readonly [label: string, value: string | undefined])[], style: Style): string[] {
  const shown = pairs.filter((pair): pair is readonly [string, string] => pair[1] !== undefined && pair[1] !== '');
  const width = Math.max(0, ...shown.map(([label]) => label.length));
  return shown.map(([label, value]) => `${style.dim(pad(label, width))}  ${value}`);
}
