import {invalid} from '../../shared/errors.js';
import type {JournaledEvent} from '../../shared/event.js';
import type * as pb from '../../shared/gen/tenfold/v1/job.js';
import type {JobViews} from './jobViews.js';
import type {ApiParts} from './parts.js';

const MAX_TAIL = 100_000;

/** What the ranks wrote, oldest first; with `follow`, on until the job has ended. */
export async function* streamLogs(
  parts: ApiParts,
  views: JobViews,
  request: pb.StreamLogsRequest,
  callSignal: AbortSignal,
): AsyncGenerator<pb.StreamLogsResponse> {
  const {value: job} = views.record(request.name);
  if (request.tail < 0 || request.tail > MAX_TAIL) throw invalid({path: 'tail', message: `must be from 0 (all) to ${MAX_TAIL}`});
  const wanted = (event: JournaledEvent): boolean =>
    event.event.type === 'log' && (request.rank === undefined || event.rank === request.rank);
  const {journal} = parts;
  const until = await journal.lastSequence(job.id);
  let afterSequence = 0;
  if (request.tail > 0) {
    const last: JournaledEvent[] = [];
    for await (const event of journal.read(job.id, {afterSequence: 0, follow: false, signal: callSignal})) {
      if (event.sequence > until) break;
      if (wanted(event) && last.push(event) > request.tail) last.shift();
    }
    for (const event of last) yield* logLine(event);
    afterSequence = until;
  }
  if (!request.follow && request.tail > 0) return;
  const over = new AbortController();
  const unsubscribe = request.follow ? abortAtEnd(parts, job.id, over) : undefined;
  try {
    const signal = AbortSignal.any([callSignal, over.signal]);
    for await (const event of journal.read(job.id, {afterSequence, follow: request.follow, signal})) {
      afterSequence = event.sequence;
      if (wanted(event)) yield* logLine(event);
    }
    // The end of the job may have cut the reading short: what was said until then is still owed.
    if (request.follow && !callSignal.aborted)
      for await (const event of journal.read(job.id, {afterSequence, follow: false, signal: callSignal}))
        if (wanted(event)) yield* logLine(event);
  } finally {
    unsubscribe?.();
    over.abort();
  }
}

function abortAtEnd({state}: ApiParts, jobId: string, over: AbortController): () => void {
  const look = (): void => {
    if (state.jobs.get(jobId)?.value.status.phase === 'ended') over.abort();
  };
  look();
  return state.onChange(look);
}

function* logLine({event, attempt, rank}: JournaledEvent): Generator<pb.StreamLogsResponse> {
  if (event.type === 'log') yield {time: new Date(event.t), attempt, rank, stream: event.stream, line: event.line};
}
