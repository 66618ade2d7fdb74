import {describe, expect, it} from 'vitest';
import {showAge, showBytes, showCount, showDuration, showEta} from './figures.js';
import {LivePainter} from './livePainter.js';
import {createStyle, pad, printable, styleFor, truncate, visibleWidth, wrap} from './style.js';
import {renderPairs, renderTable} from './table.js';

const plain = createStyle({colour: false, unicode: true});
const coloured = createStyle({colour: true, unicode: true});

describe('figures', () => {
  it('are short and exact enough', () => {
    expect([850, 12_440, 59_960, 185_000, 8_040_000, 273_600_000].map(showDuration)).toEqual([
      '850ms',
      '12.4s',
      '1m 00s',
      '3m 05s',
      '2h 14m',
      '3d 4h',
    ]);
    expect([0, 59_000, 61_000, 7_300_000, 200_000_000].map(showAge)).toEqual(['0s', '59s', '1m', '2h', '2d']);
    expect([0.2, 59, 61].map(showEta)).toEqual(['1s', '59s', '1m 01s']);
    expect([512, 1536, 12_897_484, 1e12].map(showBytes)).toEqual(['512 B', '1.5 KiB', '12.3 MiB', '931.3 GiB']);
    expect(showCount(1_234_567n)).toBe('1,234,567');
  });
});

describe('texts', () => {
  it('are measured, cut and filled up without their colours', () => {
    const text = `${coloured.bad('failed')} ${coloured.dim('again')}`;
    expect(visibleWidth(text)).toBe(12);
    expect(visibleWidth(truncate(text, 8))).toBe(8);
    expect(truncate(text, 8)).toMatch(/…\p{Cc}\[0m$/u);
    expect(truncate('short', 8)).toBe('short');
    expect([pad('ab', 4), pad('ab', -4)]).toEqual(['ab  ', '  ab']);
  });

  it('wrap at blanks', () => {
    expect(wrap('the quick brown fox', 10)).toEqual(['the quick', 'brown fox']);
    expect(wrap('unbreakable', 4)).toEqual(['unbreakable']);
  });

  it('of others lose their control characters', () => {
    expect(printable('a\x1b]0;title\x07b\tc\r\nd')).toBe('a\\x1b]0;title\\x07b c d');
  });
});

describe('colours', () => {
  it.each([
    ['a terminal', {isTTY: true}, {}, true],
    ['a pipe', {isTTY: false}, {}, false],
    ['NO_COLOR', {isTTY: true}, {NO_COLOR: '1'}, false],
    ['an empty NO_COLOR', {isTTY: true}, {NO_COLOR: ''}, true],
    ['a dumb terminal', {isTTY: true}, {TERM: 'dumb'}, false],
    ['FORCE_COLOR in a pipe', {isTTY: false}, {FORCE_COLOR: '1'}, true],
  ])('heed %s', (_, stream, env, expected) => {
    expect(styleFor(stream, env).bold('x') !== 'x').toBe(expected);
  });

  it('and glyphs keep to ASCII where the locale does', () => {
    expect(styleFor({isTTY: true}, {LANG: 'C'}).glyphs.done).toBe('#');
    expect(styleFor({isTTY: true}, {LANG: 'de_DE.UTF-8'}).glyphs.done).toBe('━');
  });
});

describe('tables', () => {
  it('are as wide as their cells need', () => {
    const columns = [{heading: 'JOB'}, {heading: 'GPUS', right: true}, {heading: 'NOTE'}];
    expect(
      renderTable(
        columns,
        [
          ['a-long-name', '2', ''],
          ['b', '16', 'waits'],
        ],
        plain,
      ),
    ).toEqual(['JOB          GPUS  NOTE', 'a-long-name     2', 'b              16  waits']);
  });

  it('of pairs leave out what is not known', () => {
    expect(
      renderPairs(
        [
          ['data', 'x'],
          ['queue', undefined],
          ['images/s', '3'],
        ],
        plain,
      ),
    ).toEqual(['data      x', 'images/s  3']);
  });
});

/** What a terminal shows after some writes: enough of one for cursor-up and erase-below. */
function screenAfter(paint: (painter: LivePainter) => void, columns = 20): string[] {
  let rows: string[] = [''];
  const write = (text: string): void => {
    for (const part of text.split(/(\p{Cc}\[[?0-9;]*[A-Za-z]|\n|\r)/u)) {
      const up = /^\p{Cc}\[(\d+)A$/u.exec(part);
      if (up !== null) rows = [...rows.slice(0, rows.length - Number(up[1])).slice(0, -1), rows[rows.length - 1 - Number(up[1])] ?? ''];
      else if (part === '\n') rows.push('');
      else if (part === '\x1b[J') rows[rows.length - 1] = '';
      else if (!part.startsWith('\x1b') && part !== '\r') {
        const line = rows.pop()! + part;
        rows.push(...(line.match(new RegExp(`.{1,${columns}}`, 'g')) ?? ['']));
      }
    }
  };
  paint(new LivePainter({columns, write}));
  return rows.filter(row => row !== '');
}

describe('live lines', () => {
  it('are redrawn in place, below the lines that stay', () => {
    const shown = screenAfter(painter => {
      painter.paint([], ['epoch 1', '10%']);
      painter.paint(['row 1'], ['epoch 2', '20%']);
      painter.paint([], ['epoch 2', '30%']);
    });
    expect(shown).toEqual(['row 1', 'epoch 2', '30%']);
  });

  it('that had wrapped are taken away whole', () => {
    const shown = screenAfter(painter => {
      painter.paint([], ['a line that is wider than the screen']);
      painter.paint([], ['short']);
    });
    expect(shown).toEqual(['short']);
  });

  it('that did not change are not written again', () => {
    const writes: string[] = [];
    const painter = new LivePainter({columns: 20, write: text => writes.push(text)});
    painter.paint([], ['same']);
    painter.paint([], ['same']);
    expect(writes).toHaveLength(1);
  });
});
