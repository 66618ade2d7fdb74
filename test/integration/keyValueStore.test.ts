import {execFile} from 'node:child_process';
import {randomUUID} from 'node:crypto';
import {promisify} from 'node:util';
import type {Etcd3} from 'etcd3';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, it} from 'vitest';
import {etcdClient} from '../../coordinator/adapters/etcdClient.js';
import {EtcdStore} from '../../coordinator/adapters/etcdStore.js';
import {MemoryStore} from '../../coordinator/adapters/memoryStore.js';
import {type Change, type KeyValueStore, WatchLostError, WriteRefusedError} from '../../coordinator/ports.js';
import {systemClock} from '../../shared/clock.js';
import {startEtcd, type TestEtcd} from '../support/etcd.js';

/** The same stories on the real etcd and on its like in memory, so that what is proven on the one holds on the other. */
describe.each([
  ['etcd', etcdCandidate],
  ['memory', memoryCandidate],
])('a key-value store (%s)', (_, makeCandidate) => {
  const candidate = makeCandidate();
  let store: KeyValueStore;
  let root: string;
  let abort: AbortController;

  beforeAll(() => candidate.start());
  afterAll(() => candidate.stop());
  beforeEach(() => {
    store = candidate.store();
    root = `${randomUUID()}/`;
    abort = new AbortController();
  });
  afterEach(() => abort.abort());

  const put = (key: string, value: string) => ({kind: 'put', key: `${root}${key}`, value}) as const;
  const remove = (key: string) => ({kind: 'delete', key: `${root}${key}`}) as const;
  const created = (key: string, revision: number) => ({key: `${root}${key}`, target: 'create', revision}) as const;
  const modified = (key: string, revision: number) => ({key: `${root}${key}`, target: 'mod', revision}) as const;
  const told = (change: Change) =>
    change.kind === 'put' ? `${change.entry.key.slice(root.length)}=${change.entry.value}` : `-${change.key.slice(root.length)}`;

  /** Watches into a list, of which the test awaits a length. */
  function watched(afterRevision: number) {
    const revisions: string[][] = [];
    const byRevision = (changes: readonly Change[]): string[][] => {
      const groups = new Map<number, string[]>();
      for (const change of changes) {
        const revision = change.kind === 'put' ? change.entry.modRevision : change.modRevision;
        groups.set(revision, [...(groups.get(revision) ?? []), told(change)]);
      }
      return [...groups.values()];
    };
    let failure: unknown;
    const done = (async () => {
      for await (const changes of store.watch(root, afterRevision, abort.signal)) revisions.push(...byRevision(changes));
    })().catch(error => {
      failure = error;
    });
    return {
      revisions,
      done,
      failure: () => failure,
      seen: (count: number) => expect.poll(() => revisions.length, {timeout: 20_000}).toBeGreaterThanOrEqual(count),
    };
  }

  it('lists what is there with its revisions, in the order of keys', async () => {
    const first = await store.transact([], [put('b', '1'), put('a', '1')]);
    const second = await store.transact([], [put('b', '2')]);
    const {revision, entries} = await store.list(root);
    expect(revision).toBe(second.revision);
    expect(entries).toEqual([
      {key: `${root}a`, value: '1', createRevision: first.revision, modRevision: first.revision},
      {key: `${root}b`, value: '2', createRevision: first.revision, modRevision: second.revision},
    ]);
  });

  it('lists more than one page holds, as of one revision', async () => {
    const keys = Array.from({length: 1203}, (_, i) => `k${String(i).padStart(5, '0')}`);
    for (let i = 0; i < keys.length; i += 100)
      await store.transact(
        [],
        keys.slice(i, i + 100).map(key => put(key, 'x')),
      );
    const {entries} = await store.list(root);
    expect(entries.map(({key}) => key)).toEqual(keys.map(key => `${root}${key}`));
  });

  it('does all of a transaction or none of it', async () => {
    const {revision} = await store.transact([created('a', 0)], [put('a', '1')]);
    expect(await store.transact([created('a', 0)], [put('a', '2'), put('b', '2')])).toMatchObject({succeeded: false});
    expect(await store.transact([modified('a', revision + 1)], [put('a', '2')])).toMatchObject({succeeded: false});
    expect((await store.list(root)).entries.map(({value}) => value)).toEqual(['1']);
    expect(await store.transact([created('a', revision), modified('a', revision)], [put('a', '2'), put('b', '2')])).toMatchObject({
      succeeded: true,
    });
    expect((await store.list(root)).entries.map(({value}) => value)).toEqual(['2', '2']);
  });

  it('says so when a write is too large ever to be taken, and takes the next one', async () => {
    for (const bytes of [1_700_000, 4_000_000])
      await expect(store.transact([], [put('a', 'x'.repeat(bytes))])).rejects.toThrow(WriteRefusedError);
    expect(await store.transact([], [put('a', 'x'.repeat(1_000_000))])).toMatchObject({succeeded: true});
  });

  it('lets exactly one of many rivals win', async () => {
    const outcomes = await Promise.all(Array.from({length: 20}, (_, i) => store.transact([created('leader', 0)], [put('leader', `${i}`)])));
    expect(outcomes.filter(({succeeded}) => succeeded)).toHaveLength(1);
  });

  it('shows whole revisions in order, from the one asked for on', async () => {
    await store.transact([], [put('before', '0')]);
    const {revision} = await store.list(root);
    await store.transact([], [put('a', '1'), put('b', '1')]);
    const watch = watched(revision);
    await store.transact([], [put('a', '2'), remove('b')]);
    await store.transact([], [remove('nothing')]);
    await store.transact([], [put('c', '1')]);
    await watch.seen(3);
    expect(watch.revisions).toEqual([['a=1', 'b=1'], ['a=2', '-b'], ['c=1']]);
  });

  it('ends a watch when it is told to', async () => {
    const watch = watched((await store.list(root)).revision);
    await store.transact([], [put('a', '1')]);
    await watch.seen(1);
    abort.abort();
    await watch.done;
    expect(watch.failure()).toBeUndefined();
  });

  it('says so when a watch asks for what is forgotten', async () => {
    const {revision} = await store.list(root);
    await store.transact([], [put('a', '1')]);
    const {revision: newest} = await store.transact([], [put('a', '2')]);
    await candidate.compact(newest);
    const watch = watched(revision);
    await watch.done;
    expect(watch.failure()).toBeInstanceOf(WatchLostError);
  });

  it('takes keys away with their lease', async () => {
    const {revision} = await store.list(root);
    const watch = watched(revision);
    const leaseId = await candidate.lease();
    await store.transact([], [{...put('held', '1'), leaseId}, put('kept', '1')]);
    await candidate.endLease(leaseId);
    await watch.seen(2);
    expect(watch.revisions[1]).toEqual(['-held']);
    expect((await store.list(root)).entries.map(({key}) => key)).toEqual([`${root}kept`]);
  });
});

describe('etcd', () => {
  it('may be killed and started again: a watch goes on where it was, calls fail and then work again', async () => {
    const etcd = await startEtcd();
    const client = etcdClient({endpoints: [etcd.endpoint]});
    const store = new EtcdStore(client, systemClock);
    const abort = new AbortController();
    try {
      const {revision} = await store.list('t/');
      const seen: string[] = [];
      const watching = (async () => {
        for await (const changes of store.watch('t/', revision, abort.signal))
          for (const change of changes) if (change.kind === 'put') seen.push(change.entry.value);
      })();
      const write = (value: number) => store.transact([], [{kind: 'put', key: 't/a', value: `${value}`}]);
      for (let round = 0; round < 3; round++) {
        for (let i = 0; i < 10; i++) await write(10 * round + i);
        await etcd.kill();
        await expect(write(-1)).rejects.toThrow('committing in etcd');
        await etcd.restart();
        await expect
          .poll(
            () =>
              store.list('t/').then(
                () => true,
                () => false,
              ),
            {timeout: 20_000},
          )
          .toBe(true);
      }
      await write(30);
      await expect.poll(() => seen.length, {timeout: 20_000}).toBe(31);
      expect(seen).toEqual(Array.from({length: 31}, (_, i) => `${i}`));
      abort.abort();
      await watching;
    } finally {
      abort.abort();
      client.close();
      await etcd.stop();
    }
  });
});

interface Candidate {
  start(): Promise<void>;
  stop(): Promise<void>;
  store(): KeyValueStore;
  compact(revision: number): Promise<void>;
  lease(): Promise<string>;
  endLease(leaseId: string): Promise<void>;
}

function etcdCandidate(): Candidate {
  let etcd: TestEtcd;
  let client: Etcd3;
  return {
    start: async () => {
      etcd = await startEtcd();
      client = etcdClient({endpoints: [etcd.endpoint]});
    },
    stop: async () => {
      client.close();
      await etcd.stop();
    },
    store: () => new EtcdStore(client, systemClock),
    compact: async revision => {
      await promisify(execFile)('etcdctl', ['--endpoints', etcd.endpoint, 'compact', `${revision}`], {
        env: {...process.env, ETCDCTL_API: '3'},
      });
    },
    lease: async () => (await client.leaseClient.leaseGrant({TTL: 60})).ID,
    endLease: async leaseId => void (await client.leaseClient.leaseRevoke({ID: leaseId})),
  };
}

function memoryCandidate(): Candidate {
  const store = new MemoryStore();
  return {
    start: async () => undefined,
    stop: async () => undefined,
    store: () => store,
    compact: async revision => store.compact(revision),
    lease: async () => randomUUID(),
    endLease: async leaseId => store.endLease(leaseId),
  };
}
