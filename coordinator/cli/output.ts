import {Option} from 'commander';
import {stringify} from 'yaml';
import type {Style} from './render/style.js';
import {type Column, renderTable} from './render/table.js';

/** `-o`: how a command prints things. */
export const FORMATS = ['table', 'wide', 'json', 'yaml', 'name'] as const;
export type Format = (typeof FORMATS)[number];

export const outputOption = (): Option => new Option('-o, --output <format>', 'how to print').choices(FORMATS).default('table');

/** Of commands that print line after line while things happen: for people, or each as a JSON object. */
export type LineFormat = 'text' | 'json';

export const lineOutputOption = (): Option =>
  new Option('-o, --output <format>', 'how to print: for people, or one JSON object a line').choices(['text', 'json']).default('text');

/** How things of one kind are printed in lists. */
export interface Listing<T> {
  /** In JSON and YAML a list is `{key: [...]}`, as the API answers. */
  readonly key: string;
  readonly nameOf: (item: T) => string;
  readonly toJson: (item: T) => unknown;
  readonly columns: readonly Column[];
  readonly cells: (item: T) => readonly string[];
  /** What `-o wide` adds. */
  readonly wideColumns?: readonly Column[];
  readonly wideCells?: (item: T) => readonly string[];
}

/** The lines of a list. */
export function listLines<T>(format: Format, items: readonly T[], listing: Listing<T>, style: Style): string[] {
  const {key, nameOf, toJson, columns, cells, wideColumns = [], wideCells = () => []} = listing;
  switch (format) {
    case 'name':
      return items.map(nameOf);
    case 'json':
      return [JSON.stringify({[key]: items.map(toJson)}, undefined, 2)];
    case 'yaml':
      return [stringify({[key]: items.map(toJson)}).trimEnd()];
    case 'table':
      return items.length === 0 ? [] : renderTable(columns, items.map(cells), style);
    case 'wide':
      return items.length === 0
        ? []
        : renderTable(
            [...columns, ...wideColumns],
            items.map(item => [...cells(item), ...wideCells(item)]),
            style,
          );
  }
}

/** The lines of one thing; `lines` is its form for people. */
export function itemLines<T>(
  format: Format,
  item: T,
  how: {readonly nameOf: (item: T) => string; readonly toJson: (item: T) => unknown; readonly lines: (item: T, wide: boolean) => string[]},
): string[] {
  switch (format) {
    case 'name':
      return [how.nameOf(item)];
    case 'json':
      return [JSON.stringify(how.toJson(item), undefined, 2)];
    case 'yaml':
      return [stringify(how.toJson(item)).trimEnd()];
    case 'table':
    case 'wide':
      return how.lines(item, format === 'wide');
  }
}
