import {ClientError, Status} from 'nice-grpc';
import {describe, expect, it} from 'vitest';
import type {JobServiceClient, WatchJobResponse} from '../../../shared/gen/tenfold/v1/job.js';
import {followJob} from './follow.js';

const away = new ClientError('/tenfold.v1.JobService/WatchJob', Status.UNAVAILABLE, 'connection refused');

/** A coordinator whose streams, one after the other, give these tokens and then end, or fail. */
function serving(streams: {tokens: string[]; failure?: Error}[], asked: string[]): JobServiceClient {
  async function* watchJob({resumeToken = ''}: {resumeToken?: string}): AsyncGenerator<WatchJobResponse> {
    asked.push(resumeToken);
    const {tokens, failure} = streams.shift()!;
    for (const token of tokens) yield {resumeToken: token, update: undefined};
    if (failure !== undefined) throw failure;
  }
  return {watchJob} as unknown as JobServiceClient;
}

async function follow(streams: {tokens: string[]; failure?: Error}[]) {
  const asked: string[] = [];
  const told: string[] = [];
  const received: string[] = [];
  const options = {
    signal: new AbortController().signal,
    onAway: (since: number | undefined) => told.push(since === undefined ? 'back' : 'away'),
  };
  for await (const {resumeToken} of followJob(serving(streams, asked), 'jobs/j', options)) received.push(resumeToken);
  return {asked, told, received};
}

describe('following a job', () => {
  it('goes on after the last update when the coordinator comes back, and says both', async () => {
    const {asked, told, received} = await follow([{tokens: ['1', '2'], failure: away}, {tokens: [], failure: away}, {tokens: ['3']}]);
    expect(received).toEqual(['1', '2', '3']);
    expect(asked).toEqual(['', '2', '2']);
    expect(told).toEqual(['away', 'away', 'back']);
  });

  it('does not wait for a coordinator that never answered', async () => {
    await expect(follow([{tokens: [], failure: away}])).rejects.toThrow('connection refused');
  });

  it('does not try again what cannot get better', async () => {
    const gone = new ClientError('/tenfold.v1.JobService/WatchJob', Status.NOT_FOUND, 'there is no jobs/j');
    await expect(follow([{tokens: ['1'], failure: gone}])).rejects.toThrow('there is no jobs/j');
  });
});
