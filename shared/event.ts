import {type RankEvent, rankEventSchema} from './trainerContract.js';

/** The rank number of events that are the agent's own rather than a trainer's. */
export const AGENT_RANK = -1;

/** Who says something: one rank of one attempt, or its agent (`AGENT_RANK`). */
export interface EventOrigin {
  readonly jobId: string;
  readonly attempt: number;
  readonly generation: number;
  readonly rank: number;
}

/** An event as it lies in an agent's outbox until the coordinator has acknowledged it. */
export interface OutboxEvent extends EventOrigin {
  /** Numbered by the outbox, from 1, without gaps. */
  readonly sequence: number;
  /** One line as in test/fixtures/trainer-contract: a JSON object. */
  readonly json: string;
}

/** An event as it lies in a job's journal and as watchers see it. */
export interface JournaledEvent extends EventOrigin {
  /** From 1, without gaps within a job. */
  readonly sequence: number;
  readonly nodeId: string;
  readonly event: RankEvent;
}

/**
 * Parses the JSON line of an event. A line that cannot be understood becomes a `bad_event`: it keeps its number, so that nothing is
 * missing from the count, and people can see what was said.
 */
export function parseRankEvent(json: string, receivedAt: number): RankEvent {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    return badEvent(json, `not JSON: ${(error as Error).message}`, receivedAt);
  }
  const parsed = rankEventSchema.safeParse(value);
  return parsed.success ? parsed.data : badEvent(json, 'not an event of this version', receivedAt);
}

function badEvent(line: string, message: string, t: number): RankEvent {
  return {type: 'bad_event', t, line: line.slice(0, 1000), message};
}
