import {z} from 'zod';
import {Bell} from '../../shared/bell.js';
import type * as pb from '../../shared/gen/tenfold/v1/job.js';
import type {JobRecord} from '../../shared/job.js';
import {eventToProto} from '../../shared/wire/job.js';
import type {Versioned} from '../core/snapshot.js';
import type {JobViews} from './jobViews.js';
import {merge} from './merge.js';
import {OpaqueToken} from './opaqueToken.js';
import type {ApiParts} from './parts.js';

/** Where a watcher is: the newest revision of the job's record that it saw, and the last event. */
interface WatchPosition {
  readonly revision: number;
  readonly sequence: number;
}

const resumeToken = new OpaqueToken<WatchPosition>(
  'resume_token',
  'WatchJob',
  z.object({revision: z.number().int().min(0), sequence: z.number().int().min(0)}),
);

/** Left out unless asked for: the ledger and the logs would drown everything else. */
const QUIET_TYPES: readonly string[] = ['consumed', 'log'];

/**
 * The job as it is, then each change of it and each event, in order (L7). The final state comes last: after every event that was there
 * when the job ended.
 */
export async function* watchJob(
  parts: ApiParts,
  views: JobViews,
  request: pb.WatchJobRequest,
  callSignal: AbortSignal,
): AsyncGenerator<pb.WatchJobResponse> {
  const {value: job} = views.record(request.name);
  const start = resumeToken.decode(request.resumeToken, job.id) ?? {revision: 0, sequence: 0};
  const wanted = (type: string): boolean => (request.types.length > 0 ? request.types.includes(type) : !QUIET_TYPES.includes(type));
  const ended = new AbortController();
  const signal = AbortSignal.any([callSignal, ended.signal]);
  let position = start;
  /** Set once the job has ended: the final state waits until the events up to here were sent. */
  let lastSequence = request.noFollow ? await parts.journal.lastSequence(job.id) : undefined;
  const answer = (update: pb.WatchJobResponse['update']): pb.WatchJobResponse => ({
    resumeToken: resumeToken.encode(position, job.id),
    update,
  });
  try {
    const events = parts.journal.read(job.id, {afterSequence: start.sequence, follow: true, signal});
    for await (const {from, value} of merge(glances(parts, views, job.id, signal), events)) {
      if (from === 'a') {
        const {record, isNewStanding} = value;
        if (record.value.status.phase === 'ended') lastSequence ??= await parts.journal.lastSequence(job.id);
        else if (record.modRevision > position.revision || isNewStanding) {
          position = {...position, revision: record.modRevision};
          yield answer({$case: 'job', value: await views.view(record)});
        }
      } else {
        position = {...position, sequence: value.sequence};
        if (wanted(value.event.type)) yield answer({$case: 'event', value: eventToProto(value)});
      }
      if (lastSequence !== undefined && position.sequence >= lastSequence) break;
    }
    if (callSignal.aborted) return;
    const record = views.record(request.name);
    if (record.modRevision > position.revision) {
      position = {...position, revision: record.modRevision};
      yield answer({$case: 'job', value: await views.view(record)});
    }
  } finally {
    ended.abort();
  }
}

interface Glance {
  readonly record: Versioned<JobRecord>;
  /** The record is as it was, but the job waits for something else, or at another place. */
  readonly isNewStanding: boolean;
}

/** How often a job is looked at when no record changes: nodes come and go, and delays pass. */
const LOOK_MS = 1000;

/** The job at first, and whenever there is something new about it. */
async function* glances({state}: ApiParts, views: JobViews, jobId: string, signal: AbortSignal): AsyncGenerator<Glance> {
  const bell = new Bell();
  const unsubscribe = state.onChange(bell.ring);
  const timer = setInterval(bell.ring, LOOK_MS);
  let seen = {revision: -1, standing: ''};
  try {
    while (!signal.aborted) {
      const record = views.record(`jobs/${jobId}`);
      const standing = record.value.status.phase === 'ended' ? '' : await standingOf(views, record);
      const isNewRecord = record.modRevision !== seen.revision;
      const isNewStanding = !isNewRecord && standing !== seen.standing;
      seen = {revision: record.modRevision, standing};
      if (isNewRecord || isNewStanding) yield {record, isNewStanding};
      await bell.wait(signal);
    }
  } finally {
    clearInterval(timer);
    unsubscribe();
  }
}

/** By code, since messages count down seconds. */
async function standingOf(views: JobViews, record: Versioned<JobRecord>): Promise<string> {
  const {waitingFor, queuePosition} = await views.view(record);
  return JSON.stringify([queuePosition, waitingFor.map(({code}) => code)]);
}
