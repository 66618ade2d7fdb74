import {visibleWidth} from './style.js';

/** What a painter writes on. */
export interface Screen {
  readonly columns?: number;
  write(text: string): unknown;
}

const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';
// Terminals that know synchronized output paint such a write at once; others ignore these.
const BEGIN = '\x1b[?2026h';
const END = '\x1b[?2026l';

/**
 * A few lines at the bottom that are redrawn in place, below lines that stay. Nothing flickers: each change is one write. A line must not
 * be wider than the screen at the time of painting; after the screen was made narrower the old lines have wrapped, which is reckoned with.
 */
export class LivePainter {
  private painted: readonly string[] = [];

  constructor(private readonly screen: Screen) {}

  get columns(): number {
    return this.screen.columns ?? 80;
  }

  /** Adds `permanent` lines above, and draws `live` in place of the live lines before. */
  paint(permanent: readonly string[], live: readonly string[]): void {
    if (permanent.length === 0 && live.join('\n') === this.painted.join('\n')) return;
    const lines = [...permanent, ...live].map(line => `${line}\n`).join('');
    this.screen.write(`${BEGIN}${HIDE_CURSOR}${this.eraseSequence()}${lines}${END}`);
    this.painted = live;
  }

  /** Leaves what is there as it is, and gives the cursor back. */
  close(): void {
    this.screen.write(SHOW_CURSOR);
    this.painted = [];
  }

  private eraseSequence(): string {
    const rows = this.painted.reduce((sum, line) => sum + Math.max(1, Math.ceil(visibleWidth(line) / this.columns)), 0);
    return rows === 0 ? '' : `\x1b[${rows}A\r\x1b[J`;
  }
}
