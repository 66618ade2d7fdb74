import {z} from 'zod';
import type {JournaledEvent} from '../shared/event.js';
import {foldProgress, NO_PROGRESS, type Progress} from '../shared/progress.js';
import type {RankEvent} from '../shared/trainerContract.js';
import type {Consumed} from './core/ledger.js';

/**
 * What the lines of a job's journal mean. Pure.
 *
 * A line is an event, or a leader's mark: "from here on I write". A leader puts its mark, and only then reads what is before it. So a line
 * that an older leader still manages to write lands behind the mark, bears the older number, and counts for nobody (L4). Lines that
 * cannot be understood (torn by a crash) and lines whose sequence was there before do not count either.
 */

const markSchema = z.strictObject({leader: z.number().int()});

const eventLineSchema = z.object({
  sequence: z.number().int(),
  leader: z.number().int(),
  node: z.string(),
  outbox: z.string(),
  outboxSequence: z.number().int(),
  attempt: z.number().int(),
  generation: z.number().int(),
  rank: z.number().int(),
  // It was parsed before it was written, and our own files are not a peer: once more for each reader would cost more than the reading.
  event: z.custom<RankEvent>(value => typeof value === 'object' && value !== null && 'type' in value),
});
export type EventLine = z.infer<typeof eventLineSchema>;

type JournalLine = {readonly kind: 'mark'; readonly leader: number} | {readonly kind: 'event'; readonly line: EventLine};

export function leaderMark(leader: number): string {
  return `${JSON.stringify({leader})}\n`;
}

export function eventLineText(line: EventLine): string {
  return `${JSON.stringify(line)}\n`;
}

function parseLine(text: string): JournalLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const event = eventLineSchema.safeParse(value);
  if (event.success) return {kind: 'event', line: event.data};
  const mark = markSchema.safeParse(value);
  return mark.success ? {kind: 'mark', leader: mark.data.leader} : undefined;
}

/** Where a reader stands: what it needs to know of the lines before in order to judge the next. */
export interface Position {
  readonly sequence: number;
  readonly leader: number;
}

export const START: Position = {sequence: 0, leader: 0};

/** Judges the next line. `line` is there when it is an event that counts. */
export function step(position: Position, text: string): {readonly position: Position; readonly line?: EventLine} {
  const parsed = parseLine(text);
  if (parsed === undefined) return {position};
  if (parsed.kind === 'mark') return {position: {...position, leader: Math.max(position.leader, parsed.leader)}};
  const {line} = parsed;
  if (line.leader < position.leader || line.sequence <= position.sequence) return {position};
  return {position: {sequence: line.sequence, leader: position.leader}, line};
}

export function journaledEvent(jobId: string, line: EventLine): JournaledEvent {
  const {sequence, node: nodeId, attempt, generation, rank, event} = line;
  return {sequence, jobId, nodeId, attempt, generation, rank, event};
}

/** A stretch of an epoch that a rank consumed, without the ids. */
export type ConsumedRange = Omit<Consumed, 'ids'>;

/** What the journal knows of a job beyond its lines: folded from them, never stored. */
export interface Figures {
  readonly progress: Progress;
  /** The newest attempt that consumed anything, and what, neighbouring stretches of a rank joined. */
  readonly consumed: {readonly attempt: number; readonly ranges: readonly ConsumedRange[]};
}

export const NO_FIGURES: Figures = {progress: NO_PROGRESS, consumed: {attempt: 0, ranges: []}};

export function foldFigures(figures: Figures, {attempt, rank, event}: EventLine): Figures {
  const progress = foldProgress(figures.progress, {attempt, rank}, event);
  if (event.type !== 'consumed' || attempt < figures.consumed.attempt) return {...figures, progress};
  const {epoch, from, to} = event;
  const before = attempt === figures.consumed.attempt ? figures.consumed.ranges : [];
  return {progress, consumed: {attempt, ranges: withRange(before, {rank, epoch, from, to})}};
}

function withRange(ranges: readonly ConsumedRange[], next: ConsumedRange): ConsumedRange[] {
  const joining = ranges.findIndex(
    ({rank, epoch, from, to}) => rank === next.rank && epoch === next.epoch && from <= next.from && next.from <= to,
  );
  if (joining === -1) return [...ranges, next];
  const joined = {...ranges[joining]!, to: Math.max(ranges[joining]!.to, next.to)};
  return ranges.with(joining, joined);
}
