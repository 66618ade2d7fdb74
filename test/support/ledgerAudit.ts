import type {JobEvent} from '../../shared/gen/tenfold/v1/job.js';

interface Position {
  readonly epoch: number;
  readonly offset: number;
}

interface Consumed {
  readonly attempt: number;
  readonly epoch: number;
  readonly from: number;
  readonly to: number;
  readonly ids: readonly number[];
}

/**
 * What the committed history consumed, told independently of the coordinator's own audit: an attempt's samples count up to the place
 * where a later one started, and no further. Returns, of each epoch, the ids in ascending order with repetitions.
 */
export function committedIdsByEpoch(events: readonly JobEvent[]): Map<number, number[]> {
  const consumed = events.filter(event => event.type === 'consumed').map(asConsumed);
  const starts = startsOfAttempts(events);
  const byEpoch = new Map<number, number[]>();
  for (const part of consumed) {
    const laterStarts = [...starts].filter(([attempt]) => attempt > part.attempt).map(([, start]) => start);
    if (laterStarts.some(start => !endsBefore(part, start))) {
      if (laterStarts.some(start => straddles(part, start)))
        throw new Error(`a ledger entry straddles a start: ${JSON.stringify({part, laterStarts})}`);
      continue;
    }
    byEpoch.set(part.epoch, [...(byEpoch.get(part.epoch) ?? []), ...part.ids]);
  }
  for (const ids of byEpoch.values()) ids.sort((a, b) => a - b);
  return byEpoch;
}

/** Where each attempt started, by what its rank 0 said. */
function startsOfAttempts(events: readonly JobEvent[]): Map<number, Position> {
  const starts = new Map<number, Position>();
  for (const event of events) if (event.type === 'hello' && event.rank === 0) starts.set(event.attempt, {epoch: 1, offset: 0});
  for (const event of events) {
    if (event.type === 'resumed' && event.rank === 0) starts.set(event.attempt, event.data?.cursor as Position);
  }
  return starts;
}

function asConsumed(event: JobEvent): Consumed {
  return {attempt: event.attempt, ...(event.data as unknown as Omit<Consumed, 'attempt'>)};
}

function endsBefore({epoch, to}: Consumed, start: Position): boolean {
  return epoch < start.epoch || (epoch === start.epoch && to <= start.offset);
}

function straddles({epoch, from, to}: Consumed, start: Position): boolean {
  return epoch === start.epoch && from < start.offset && to > start.offset;
}
