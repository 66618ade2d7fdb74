import {ClientError, Status} from 'nice-grpc';
import {afterEach, beforeEach, expect, it, vi} from 'vitest';
import {Cli} from './cli.js';
import {registering} from './registration.js';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

function commandLine(signal = new AbortController().signal): {cli: Cli; said: string[]} {
  const said: string[] = [];
  const output = {write: (text: string) => said.push(text)};
  return {cli: new Cli({out: output, err: output, env: {}, cwd: '/', signal}), said};
}

it('a registration that takes long is told, one that does not is not', async () => {
  const {cli, said} = commandLine();
  const answeredAfter = async (ms: number): Promise<string> => {
    const call = (): Promise<string> => new Promise(resolve => setTimeout(() => resolve('made'), ms));
    const answer = registering(cli, {source: '/nfs/d/data.yaml', call, ifUnknown: ''});
    await vi.advanceTimersByTimeAsync(ms);
    return answer;
  };
  expect(await answeredAfter(500)).toBe('made');
  expect(said).toEqual([]);
  expect(await answeredAfter(60_000)).toBe('made');
  expect(said).toEqual([expect.stringContaining('looks at every file of /nfs/d/data.yaml')]);
});

it('whoever waited in vain, or did not wait, is told that it may have come about', async () => {
  const ifUnknown = '`tenfold ps` shows it';
  const late = (): Promise<never> => Promise.reject(new ClientError('/x', Status.DEADLINE_EXCEEDED, 'Deadline exceeded'));
  await expect(registering(commandLine().cli, {source: undefined, call: late, ifUnknown})).rejects.toMatchObject({
    exitCode: 4,
    next: ifUnknown,
  });
  const interrupted = commandLine(AbortSignal.abort()).cli;
  const aborted = (): Promise<never> => Promise.reject(new DOMException('aborted', 'AbortError'));
  await expect(registering(interrupted, {source: undefined, call: aborted, ifUnknown})).rejects.toMatchObject({
    exitCode: 130,
    next: ifUnknown,
  });
});
