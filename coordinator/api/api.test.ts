import {describe, expect, it} from 'vitest';
import {z} from 'zod';
import {DomainError} from '../../shared/errors.js';
import {AgentServiceDefinition} from '../../shared/gen/tenfold/v1/agent.js';
import {ClusterServiceDefinition} from '../../shared/gen/tenfold/v1/cluster.js';
import {DatasetServiceDefinition} from '../../shared/gen/tenfold/v1/dataset.js';
import {JobServiceDefinition} from '../../shared/gen/tenfold/v1/job.js';
import {GivenLeadership} from '../../test/support/leadership.js';
import {answeredByLeader} from './answeredByLeader.js';
import {merge} from './merge.js';
import {OpaqueToken, pageOf} from './opaqueToken.js';
import {RateCap} from './rateCap.js';
import {untilLedElsewhere} from './untilLedElsewhere.js';

function problemKind(action: () => unknown): string {
  try {
    action();
    return 'none';
  } catch (error) {
    return error instanceof DomainError ? error.problem.kind : 'another error';
  }
}

describe('a token', () => {
  const token = new OpaqueToken('resume_token', 'WatchJob', z.object({sequence: z.number()}));
  const given = token.encode({sequence: 7}, 'j1');

  it('comes back as what it stands for', () => {
    expect(token.decode(given, 'j1')).toEqual({sequence: 7});
    expect(token.decode('', 'j1')).toBeUndefined();
  });

  const otherCall = new OpaqueToken('resume_token', 'ListJobs', z.object({sequence: z.number()}));
  const forged = Buffer.from(Buffer.from(given, 'base64url').toString().replace('7', '8')).toString('base64url');
  it.each([
    ['of another job', given, 'j2'],
    ['of another call', otherCall.encode({sequence: 7}, 'j1'), 'j1'],
    ['that was changed', forged, 'j1'],
    ['that was cut', given.slice(0, -3), 'j1'],
    ['that is nonsense', '%%%', 'j1'],
    ['that is far too long', 'a'.repeat(100_000), 'j1'],
  ])('%s is refused as INVALID_ARGUMENT', (_, text, subject) => {
    expect(problemKind(() => token.decode(text, subject))).toBe('invalid');
  });
});

describe('pages', () => {
  const paging = {
    purpose: 'List',
    subject: '',
    keyOf: (item: string) => item,
    isAfter: (item: string, key: string) => item > key,
    bytesOf: () => 1,
  };

  it('together are the list, whatever was taken away in between', () => {
    const first = pageOf(['a', 'b', 'c', 'd'], {pageSize: 2, pageToken: ''}, paging);
    expect(first.page).toEqual(['a', 'b']);
    const second = pageOf(['a', 'c', 'd'], {pageSize: 2, pageToken: first.nextPageToken}, paging);
    expect(second).toEqual({page: ['c', 'd'], nextPageToken: ''});
  });

  it('of large items have fewer of them, but at least one', () => {
    const large = {...paging, bytesOf: (item: string) => (item === 'b' ? 3_000_000 : 400_000)};
    const pages: (readonly string[])[] = [];
    for (let pageToken = ''; ; ) {
      const {page, nextPageToken} = pageOf(['a', 'b', 'c', 'd', 'e'], {pageSize: 4, pageToken}, large);
      pages.push(page);
      pageToken = nextPageToken;
      if (pageToken === '') break;
    }
    expect(pages).toEqual([['a'], ['b'], ['c', 'd'], ['e']]);
  });

  it('of a negative size are refused', () => {
    expect(problemKind(() => pageOf([], {pageSize: -1, pageToken: ''}, paging))).toBe('invalid');
  });
});

describe('a call', () => {
  async function answer(leadership: GivenLeadership, path: string): Promise<string> {
    const call = {
      method: {path},
      request: 'question',
      next: async function* () {
        yield 'answer';
      },
    };
    const answering = answeredByLeader(leadership)(call as never, {} as never);
    return (await answering.next()).value as string;
  }

  const services = [JobServiceDefinition, ClusterServiceDefinition, DatasetServiceDefinition, AgentServiceDefinition];
  const paths = services.flatMap(({fullName, methods}) => Object.values(methods).map(({name}) => `/${fullName}/${name}`));

  it('is answered by the leader, and by anybody while nobody leads', async () => {
    for (const path of paths) {
      expect(await answer(new GivenLeadership(7), path)).toBe('answer');
      expect(await answer(new GivenLeadership(undefined), path)).toBe('answer');
    }
  });

  it('is refused beside another leader where it needs sessions or journals, and only there', async () => {
    const leadership = new GivenLeadership(undefined);
    leadership.give(undefined, true);
    const refused: string[] = [];
    for (const path of paths)
      await answer(leadership, path).catch(error => {
        expect(error).toMatchObject({problem: {kind: 'unavailable', message: expect.stringContaining('a DNS name that stands for all')}});
        refused.push(path.split('/')[2]!);
      });
    expect(refused).toEqual(['GetJob', 'ListJobs', 'ExplainJob', 'WatchJob', 'StreamLogs', 'ListNodes', 'GetNode']);
  });
});

describe('the rate cap', () => {
  it('lets a burst through, then as many as it says, each peer by itself', () => {
    const cap = new RateCap({perSecond: 10, burst: 3});
    expect([0, 0, 0, 0].map(now => cap.take('a', now))).toEqual([0, 0, 0, 100]);
    expect(cap.take('b', 0)).toBe(0);
    expect([50, 100, 150].map(now => cap.take('a', now))).toEqual([50, 0, 50]);
  });
});

describe('merging two sources', () => {
  async function* numbers(...values: number[]): AsyncGenerator<number> {
    for (const value of values) yield value;
  }

  it('gives every item of both once, each in its order', async () => {
    const seen: string[] = [];
    for await (const {from, value} of merge(numbers(1, 2, 3), numbers(10, 20))) seen.push(`${from}${value}`);
    expect(seen.filter(item => item.startsWith('a'))).toEqual(['a1', 'a2', 'a3']);
    expect(seen.filter(item => item.startsWith('b'))).toEqual(['b10', 'b20']);
  });

  it('that are left early lets both go', async () => {
    const leaving = new AbortController();
    const released: string[] = [];
    async function* holding(name: string, items: number): AsyncGenerator<number> {
      try {
        for (let i = 0; i < items; i++) yield i;
        await new Promise(resolve => leaving.signal.addEventListener('abort', resolve));
      } finally {
        released.push(name);
      }
    }
    for await (const {from, value} of merge(holding('many', 1000), holding('few', 1))) if (from === 'a' && value === 2) break;
    leaving.abort();
    await expect.poll(() => released.sort()).toEqual(['few', 'many']);
  });

  it('fails as soon as one of them does', async () => {
    async function* broken(): AsyncGenerator<number> {
      yield 1;
      throw new Error('the disk is gone');
    }
    const drain = async (): Promise<void> => {
      for await (const _ of merge(broken(), numbers()));
    };
    await expect(drain()).rejects.toThrow('the disk is gone');
  });
});

describe('a stream of what the leader writes', () => {
  async function* forever(signal: AbortSignal): AsyncGenerator<number> {
    yield 1;
    await new Promise(resolve => signal.addEventListener('abort', resolve));
  }

  it('ends with UNAVAILABLE when another is known to lead, and not while nobody is', async () => {
    const leadership = new GivenLeadership(100);
    const stream = untilLedElsewhere(leadership, new AbortController().signal, forever);
    expect(await stream.next()).toEqual({done: false, value: 1});
    const next = stream.next();
    leadership.give(undefined);
    leadership.give(undefined, true);
    await expect(next).rejects.toMatchObject({problem: {kind: 'unavailable', message: 'another coordinator leads now'}});
  });

  it('does not begin where another leads, and ends without a word when the caller goes', async () => {
    const elsewhere = new GivenLeadership(undefined);
    elsewhere.give(undefined, true);
    await expect(untilLedElsewhere(elsewhere, new AbortController().signal, forever).next()).rejects.toThrow('another coordinator');
    const call = new AbortController();
    const stream = untilLedElsewhere(new GivenLeadership(100), call.signal, forever);
    await stream.next();
    const next = stream.next();
    call.abort();
    expect(await next).toEqual({done: true, value: undefined});
  });
});
