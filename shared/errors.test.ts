import {ClientError, Status} from 'nice-grpc';
import {RichClientError, RichServerError} from 'nice-grpc-error-details';
import {describe, expect, it} from 'vitest';
import {invalid, type Problem, problemOf, toStatusError} from './errors.js';

/** As a client sees what a server threw. */
function acrossTheWire(problem: Problem): Problem {
  const error = toStatusError(problem);
  const details = error instanceof RichServerError ? error.extra : [];
  return problemOf(new RichClientError('/tenfold.v1.JobService/GetJob', error.code, error.details, details));
}

describe('a problem', () => {
  const problems: Problem[] = [
    {kind: 'invalid', message: 'train.epochs: must be at least 1', fields: [{path: 'train.epochs', message: 'must be at least 1'}]},
    {kind: 'notFound', message: 'there is no jobs/x', resource: 'job', name: 'jobs/x'},
    {kind: 'alreadyExists', message: 'datasets/d exists already', resource: 'dataset', name: 'datasets/d'},
    {kind: 'precondition', message: 'the job has ended', type: 'JOB_ENDED', subject: 'jobs/x'},
    {kind: 'stale', message: 'generation 4 is older than 7'},
    {kind: 'denied', message: 'no'},
    {kind: 'exhausted', message: 'too many calls', retryAfterMs: 1250},
    {kind: 'unavailable', message: 'not the leader', retryAfterMs: 500},
    {kind: 'timeout', message: 'too late'},
    {kind: 'cancelled', message: 'cancelled'},
    {kind: 'internal', message: 'a bug'},
  ];
  it.each(problems.map(problem => [problem.kind, problem] as const))('%s crosses the wire unchanged', (_, problem) => {
    expect(acrossTheWire(problem)).toEqual(problem);
  });

  it('of a server without details is still understood', () => {
    expect(problemOf(new ClientError('/x/Y', Status.UNAVAILABLE, 'connection refused'))).toEqual({
      kind: 'unavailable',
      message: 'connection refused',
      retryAfterMs: 1000,
    });
  });

  it('with several fields tells all of them in one sentence', () => {
    expect(invalid({path: 'a', message: 'is required'}, {path: '', message: 'too large'}).message).toBe('a: is required; too large');
  });
});
