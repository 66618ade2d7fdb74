/** Colours and glyphs, used sparingly; `plain` for pipes, NO_COLOR and terminals that cannot. */

export interface Style {
  readonly bold: Paint;
  readonly dim: Paint;
  readonly good: Paint;
  readonly busy: Paint;
  readonly wait: Paint;
  readonly bad: Paint;
  readonly glyphs: Glyphs;
}
type Paint = (text: string) => string;

export interface Glyphs {
  readonly done: string;
  readonly head: string;
  readonly left: string;
  readonly dot: string;
  readonly bullet: string;
  readonly tick: string;
  readonly cross: string;
  readonly ellipsis: string;
}

const UNICODE: Glyphs = {done: '━', head: '╸', left: '━', dot: '·', bullet: '●', tick: '✓', cross: '✗', ellipsis: '…'};
const ASCII: Glyphs = {done: '#', head: '>', left: '-', dot: '-', bullet: '*', tick: 'ok', cross: 'x', ellipsis: '~'};

const sgr =
  (open: number, close: number): Paint =>
  text =>
    text === '' ? '' : `\x1b[${open}m${text}\x1b[${close}m`;
const same: Paint = text => text;

export function createStyle(options: {readonly colour: boolean; readonly unicode: boolean}): Style {
  const glyphs = options.unicode ? UNICODE : ASCII;
  if (!options.colour) return {bold: same, dim: same, good: same, busy: same, wait: same, bad: same, glyphs};
  return {bold: sgr(1, 22), dim: sgr(2, 22), good: sgr(32, 39), busy: sgr(36, 39), wait: sgr(33, 39), bad: sgr(31, 39), glyphs};
}

/** What a stream and its surroundings allow. https://no-color.org: any value but the empty one switches colours off. */
export function styleFor(stream: {readonly isTTY?: boolean}, env: NodeJS.ProcessEnv): Style {
  const forced = env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '' && env.FORCE_COLOR !== '0';
  const refused = (env.NO_COLOR ?? '') !== '' || env.TERM === 'dumb';
  return createStyle({colour: !refused && (forced || stream.isTTY === true), unicode: speaksUnicode(env)});
}

function speaksUnicode(env: NodeJS.ProcessEnv): boolean {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG;
  // Without any locale (containers, CI) terminals nearly always take UTF-8 all the same.
  return locale === undefined || locale === '' ? env.TERM !== 'linux' : /utf-?8/i.test(locale);
}

/** Sequences that set colours; `\p{Cc}` stands for the escape character. */
const ESCAPES = /\p{Cc}\[[0-9;]*m/gu;

/** Columns that a text takes on a terminal, colours not counted. */
export function visibleWidth(text: string): number {
  return [...text.replace(ESCAPES, '')].length;
}

/** Fills up with blanks to `width` columns; a negative width fills up on the left. */
export function pad(text: string, width: number): string {
  const blanks = ' '.repeat(Math.max(0, Math.abs(width) - visibleWidth(text)));
  return width < 0 ? blanks + text : text + blanks;
}

/** The first `width` columns of a coloured text, with an ellipsis where something was cut. Colours are closed. */
export function truncate(text: string, width: number, ellipsis = '…'): string {
  if (visibleWidth(text) <= width) return text;
  if (width <= 0) return '';
  let kept = '';
  let columns = 0;
  let coloured = false;
  for (const part of text.split(/(\p{Cc}\[[0-9;]*m)/u)) {
    if (part.startsWith('\x1b[')) {
      kept += part;
      coloured = true;
      continue;
    }
    for (const character of part) {
      if (columns === width - 1) return `${kept}${ellipsis}${coloured ? '\x1b[0m' : ''}`;
      kept += character;
      columns++;
    }
  }
  return kept;
}

/** Breaks a plain text into lines of at most `width` columns, at blanks where it can. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && visibleWidth(line) + 1 + visibleWidth(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return line === '' && lines.length > 0 ? lines : [...lines, line];
}

/** A foreign text (a name, a log line, a trainer's message) as one line without control characters: they must not reach a terminal. */
export function printable(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/\p{Cc}/gu, character => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
