import {open, readFile, truncate} from 'node:fs/promises';
import {z} from 'zod';
import type {OutboxEvent} from '../../shared/event.js';

/** Segments of the outbox: files of NDJSON, each named by the sequence of its first event. */

export interface Segment {
  readonly path: string;
  /** Sequence of its first event, whether it is there already or not. */
  readonly first: number;
  /** Sequence of its last event on disk; `first - 1` when it is empty. */
  last: number;
  /** Bytes on disk, synced. */
  bytes: number;
}

const outboxEventSchema = z.object({
  sequence: z.number().int().min(1),
  jobId: z.string(),
  attempt: z.number().int(),
  generation: z.number().int(),
  rank: z.number().int(),
  json: z.string(),
});

export function segmentName(first: number): string {
  return `${String(first).padStart(16, '0')}.ndjson`;
}

/** The sequence that a file's name tells; undefined when it is no segment. */
export function firstOfSegmentName(name: string): number | undefined {
  const match = /^(\d{16})\.ndjson$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** The event on a line; undefined when the line is none. */
export function parseOutboxLine(line: string): OutboxEvent | undefined {
  try {
    return outboxEventSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}

/** A segment does not hold what it must: its disk lost or changed it. */
export class DamagedSegmentError extends Error {
  override readonly name = 'DamagedSegmentError';
}

/**
 * Reads a segment as an earlier agent left it. A last line without its end was being written when that agent died, was never sent, and
 * is cut off. Throws `DamagedSegmentError` when what comes before is not whole.
 */
export async function recoverSegment(path: string, first: number): Promise<Segment> {
  const content = await readFile(path);
  const end = content.lastIndexOf(0x0a) + 1;
  const lines = content.subarray(0, end).toString('utf8').split('\n').slice(0, -1);
  lines.forEach((line, index) => {
    if (parseOutboxLine(line)?.sequence !== first + index)
      throw new DamagedSegmentError(`${path}: line ${index + 1} is not event ${first + index}`);
  });
  if (end < content.length) await truncate(path, end);
  return {path, first, last: first + lines.length - 1, bytes: end};
}

const READ_BYTES = 256 * 1024;

/** Whole lines of a segment from the byte `offset` on: about 256 KiB of them, or a single longer one. */
export async function readLines(
  segment: Segment,
  offset: number,
): Promise<{readonly lines: readonly string[]; readonly nextOffset: number}> {
  const file = await open(segment.path, 'r');
  try {
    for (let size = READ_BYTES; ; size *= 2) {
      const length = Math.min(size, segment.bytes - offset);
      const {buffer, bytesRead} = await file.read(Buffer.alloc(length), 0, length, offset);
      const end = buffer.lastIndexOf(0x0a, bytesRead - 1) + 1;
      if (end > 0) return {lines: buffer.toString('utf8', 0, end - 1).split('\n'), nextOffset: offset + end};
      if (length < size) return {lines: [], nextOffset: offset};
    }
  } finally {
    await file.close();
  }
}
