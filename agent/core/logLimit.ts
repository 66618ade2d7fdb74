/** Caps what a rank may say on stdout and stderr, so that a trainer that babbles fills neither spool nor link. */
export interface LogLimit {
  /** Longer lines are cut. */
  readonly lineBytes: number;
  readonly linesPerSecond: number;
  /** Lines that may come at once. */
  readonly burst: number;
}

export const LOG_LIMIT: LogLimit = {lineBytes: 8192, linesPerSecond: 200, burst: 2000};

/** A bucket of tokens, one a line; `at`: when it was last filled (monotonic, ms). `dropped`: lines not passed since the last that was. */
export interface LogBucket {
  readonly tokens: number;
  readonly at: number;
  readonly dropped: number;
}

export function fullBucket(limit: LogLimit, now: number): LogBucket {
  return {tokens: limit.burst, at: now, dropped: 0};
}

/** The lines to pass on for a line that came at `now`: none, itself, or a note on those that were dropped and itself. */
export function passLine(
  bucket: LogBucket,
  line: string,
  now: number,
  limit: LogLimit,
): {readonly lines: readonly string[]; readonly bucket: LogBucket} {
  const tokens = Math.min(limit.burst, bucket.tokens + ((now - bucket.at) / 1000) * limit.linesPerSecond);
  if (tokens < 1) return {lines: [], bucket: {tokens, at: now, dropped: bucket.dropped + 1}};
  return {lines: [...droppedNote(bucket), line], bucket: {tokens: tokens - 1, at: now, dropped: 0}};
}

/** The note on lines that were dropped, if any were. */
export function droppedNote(bucket: LogBucket): string[] {
  return bucket.dropped === 0 ? [] : [`… ${bucket.dropped} lines dropped`];
}
