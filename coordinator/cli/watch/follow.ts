import {systemClock} from '../../../shared/clock.js';
import {problemOf} from '../../../shared/errors.js';
import type {JobServiceClient, WatchJobResponse} from '../../../shared/gen/tenfold/v1/job.js';

export interface FollowOptions {
  readonly types?: readonly string[];
  readonly signal: AbortSignal;
  /** The coordinator went away, or (undefined) is back. Unix milliseconds. */
  onAway?(since: number | undefined): void;
}

const LONGEST_WAIT_MS = 2000;

/**
 * The updates of WatchJob across restarts of the coordinator: goes on after the last update that came, by its resume token. Only a
 * coordinator that never answered is an error; one that goes away is waited for. Ends with the job, or when `signal` aborts.
 */
export async function* followJob(jobs: JobServiceClient, name: string, options: FollowOptions): AsyncGenerator<WatchJobResponse> {
  const {types = [], signal, onAway} = options;
  let resumeToken = '';
  let awaySince: number | undefined;
  let hasAnswered = false;
  let waitMs = 100;
  while (!signal.aborted) {
    try {
      for await (const response of jobs.watchJob({name, resumeToken, types: [...types], noFollow: false}, {signal})) {
        if (awaySince !== undefined) onAway?.(undefined);
        awaySince = undefined;
        hasAnswered = true;
        waitMs = 100;
        resumeToken = response.resumeToken;
        yield response;
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (!hasAnswered || !isPassing(error)) throw error;
      awaySince ??= Date.now();
      onAway?.(awaySince);
    }
    await systemClock.sleep(waitMs, signal);
    waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS);
  }
}

/** Whether it may be over when we try again: a broken link, a restart, a new leader. */
function isPassing(error: unknown): boolean {
  const {kind, message} = problemOf(error);
  return (
    kind === 'unavailable' || kind === 'timeout' || kind === 'cancelled' || (kind === 'internal' && /RST_STREAM|GOAWAY|ECONN/.test(message))
  );
}
