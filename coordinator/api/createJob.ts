import {randomBytes} from 'node:crypto';
import {isDeepStrictEqual} from 'node:util';
import {alreadyExists, DomainError, invalid} from '../../shared/errors.js';
import type * as pb from '../../shared/gen/tenfold/v1/job.js';
import type {JobRecord} from '../../shared/job.js';
import {type JobSpec, parseJobSpec} from '../../shared/jobSpec.js';
import {jobSpecCandidate} from '../../shared/wire/job.js';
import {referredDataset, validateJob} from '../core/validate.js';
import type {ApiParts} from './parts.js';

const MAX_REQUEST_ID = 128;

/**
 * Carries out CreateJob: validates, registers the data set on the way, and stores the job once, however often it is asked for (L1).
 * Throws, and stores no job, once `signal` tells that the caller has gone: he would ask again and have two.
 */
export async function createJob(parts: ApiParts, request: pb.CreateJobRequest, signal: AbortSignal): Promise<string> {
  const requestId = requestIdOf(request.requestId);
  const known = parts.state.createdBy(requestId);
  if (known !== undefined) return ofSameSpec(parts, known, parsedSpec(request.spec), request.requestId);
  const spec = checkedSpec(parts, request.spec);
  const datasetId = await datasetOf(parts, spec, requestId, signal);
  signal.throwIfAborted();
  for (;;) {
    const job = newRecord(spec, requestId, datasetId, parts.clock.now());
    const key = parts.state.keys.job(job.id);
    const created = await parts.store.createOnce({
      what: `creating jobs/${job.id}`,
      requestId,
      id: job.id,
      absent: key,
      operations: [{kind: 'put', key, value: JSON.stringify(job)}],
    });
    if (created !== undefined) return ofSameSpec(parts, created, spec, request.requestId);
  }
}

/** The whole spec with its defaults. Throws INVALID_ARGUMENT with every problem at once. */
export function checkedSpec(parts: Pick<ApiParts, 'state'>, message: pb.JobSpec | undefined): JobSpec {
  const spec = parsedSpec(message);
  const problems = validateJob(spec, parts.state.datasets);
  if (problems.length > 0) throw invalid(...problems);
  return spec;
}

function parsedSpec(message: pb.JobSpec | undefined): JobSpec {
  if (message === undefined) throw invalid({path: 'spec', message: 'is required'});
  const parsed = parseJobSpec(jobSpecCandidate(message));
  if (!parsed.ok) throw invalid(...parsed.problems);
  return parsed.spec;
}

/** The id of the job that a request made before. Throws ALREADY_EXISTS when that was another job than is asked for now. */
function ofSameSpec({state}: ApiParts, id: string, spec: JobSpec, requestId: string): string {
  const made = state.jobs.get(id)?.value.spec;
  // As it was stored: without what is undefined.
  if (made === undefined || isDeepStrictEqual(JSON.parse(JSON.stringify(spec)), JSON.parse(JSON.stringify(made)))) return id;
  throw alreadyExists('job', `jobs/${id}`, `request id ${requestId} made jobs/${id} with another spec; a new job needs a new request id`);
}

/** Requests of different collections may bear the same id: each collection has its own. */
function requestIdOf(given: string): string {
  if (given.length > MAX_REQUEST_ID) throw invalid({path: 'request_id', message: `must not be longer than ${MAX_REQUEST_ID} characters`});
  return `jobs.${given === '' ? randomBytes(16).toString('hex') : given}`;
}

async function datasetOf(parts: ApiParts, spec: JobSpec, requestId: string, signal: AbortSignal): Promise<string> {
  const referred = referredDataset(spec.data);
  if (referred !== undefined) return referred;
  try {
    return (await parts.datasets.create({source: spec.data, requestId: `${requestId}.data`}, signal)).id;
  } catch (error) {
    throw asProblemOfTheJob(error);
  }
}

/** What is wrong with the data set's source is wrong with the job's `data`. */
function asProblemOfTheJob(error: unknown): unknown {
  if (!(error instanceof DomainError) || error.problem.kind !== 'invalid') return error;
  return invalid(...error.problem.fields.map(({message}) => ({path: 'data', message})));
}

function newRecord(spec: JobSpec, requestId: string, datasetId: string, now: number): JobRecord {
  const stem = (spec.name ?? stemOf(spec)).slice(0, 56).replace(/[.-]+$/, '');
  return {
    id: `${stem}-${randomBytes(3).toString('hex').slice(0, 5)}`,
    spec,
    requestId,
    datasetId,
    createdAt: now,
    cancelRequestedAt: null,
    status: {phase: 'queued'},
    attempts: [],
  };
}

/** A job without a name is called after its model. */
function stemOf({model}: JobSpec): string {
  return model.arch.includes('\n') ? 'train' : model.arch;
}
