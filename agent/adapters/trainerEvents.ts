import {parseTrainerEvent} from '../../shared/trainerContract.js';
import type {RankSink} from '../ports.js';
import {linesOf} from './lines.js';

/** The ids of a batch of 65,536 fit. */
const MAX_EVENT_BYTES = 1024 * 1024;
/** Of a line that is not an event, for people to see. */
const SHOWN_BYTES = 1000;

/** Reads a trainer's events to the end of the stream. What is not an event is told as such, and reading goes on. */
export async function readTrainerEvents(stream: AsyncIterable<Uint8Array>, sink: Pick<RankSink, 'event' | 'badEvent'>): Promise<void> {
  for await (const {text, cut} of linesOf(stream, MAX_EVENT_BYTES)) {
    if (text === '') continue;
    const parsed = cut ? {ok: false as const, message: `longer than ${MAX_EVENT_BYTES} bytes`} : parseTrainerEvent(text);
    if (parsed.ok) await sink.event(parsed.event, text);
    else await sink.badEvent(text.slice(0, SHOWN_BYTES), parsed.message);
  }
}
