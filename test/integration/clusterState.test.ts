import type {Etcd3} from 'etcd3';
import {afterEach, beforeEach, expect, it} from 'vitest';
import {etcdClient} from '../../coordinator/adapters/etcdClient.js';
import {Keys} from '../../coordinator/adapters/etcdKeys.js';
import {EtcdLeadership} from '../../coordinator/adapters/etcdLeadership.js';
import {EtcdStore} from '../../coordinator/adapters/etcdStore.js';
import {ClusterState} from '../../coordinator/clusterState.js';
import {FencedStore} from '../../coordinator/fencedStore.js';
import {systemClock} from '../../shared/clock.js';
import {DomainError} from '../../shared/errors.js';
import {silentLog} from '../../shared/log.js';
import {startEtcd, type TestEtcd} from '../support/etcd.js';

const keys = new Keys('t');
const patiently = {timeout: 30_000};
let etcd: TestEtcd;
let client: Etcd3;
let store: EtcdStore;
let state: ClusterState;
let leadership: EtcdLeadership;
let fenced: FencedStore;
let abort: AbortController;
let running: Promise<void>[];

beforeEach(async () => {
  etcd = await startEtcd();
  client = etcdClient({endpoints: [etcd.endpoint]});
  store = new EtcdStore(client, systemClock);
  abort = new AbortController();
  state = new ClusterState({store, keys, clock: systemClock, log: silentLog});
  leadership = new EtcdLeadership({client, key: keys.leader, name: 'test', clock: systemClock, log: silentLog, ttlSeconds: 2});
  fenced = new FencedStore(store, leadership, state);
  running = [state.run(abort.signal), leadership.run(abort.signal)];
  await expect.poll(() => leadership.fence() !== undefined, patiently).toBe(true);
});
afterEach(async () => {
  abort.abort();
  await Promise.all(running);
  client.close();
  await etcd.stop();
});

/** As a client that repeats its call until it is answered. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof DomainError) || error.problem.kind !== 'unavailable') throw error;
      await systemClock.sleep(50);
    }
  }
}

const creation = (requestId: string, id: string) => ({
  what: `creating ${id}`,
  requestId,
  id,
  absent: keys.job(id),
  operations: [{kind: 'put', key: keys.job(id), value: JSON.stringify({id})}] as const,
});

it('a creation that is repeated while etcd is killed again and again happens exactly once, and none that was acknowledged is lost', async () => {
  let done = false;
  const chaos = (async () => {
    while (!done) {
      await etcd.kill();
      await etcd.restart();
      await expect.poll(() => leadership.fence() !== undefined, patiently).toBe(true);
    }
  })();
  const acknowledged = new Map<string, string>();
  for (let i = 0; i < 12; i++) {
    // Three callers with the same request, as when answers get lost: each proposes an id of its own.
    const ids = await Promise.all([0, 1, 2].map(caller => insist(() => fenced.createOnce(creation(`request-${i}`, `job-${i}-${caller}`)))));
    expect(new Set(ids).size).toBe(1);
    acknowledged.set(`request-${i}`, ids[0]!);
  }
  done = true;
  await chaos;

  const {entries} = await store.list(keys.prefix);
  const stored = entries.filter(({key}) => key.startsWith(keys.job(''))).map(({key}) => key.slice(keys.job('').length));
  expect(stored.sort()).toEqual([...acknowledged.values()].sort());
});

it('the mirror follows through kills of etcd and in the end equals a listing', async () => {
  let writes = 0;
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 5; i++) {
      const value = JSON.stringify({nodeId: `n${i}`, hostname: `write-${writes++}`, agentVersion: '1', address: 'x', devices: []});
      expect(
        await insist(() => fenced.commit({what: 'testing', comparisons: [], operations: [{kind: 'put', key: keys.node(`n${i}`), value}]})),
      ).toBe(true);
      expect(state.nodes.get(`n${i}`)?.value.hostname).toBe(`write-${writes - 1}`);
    }
    await etcd.kill();
    expect(state.nodes.size).toBe(5);
    await etcd.restart();
  }
  await expect.poll(() => leadership.fence() !== undefined, patiently).toBe(true);
  const {entries} = await store.list(keys.node(''));
  expect([...state.nodes.values()].map(({modRevision}) => modRevision).sort()).toEqual(entries.map(({modRevision}) => modRevision).sort());
});

it('an update that others come in between of is made upon what they left', async () => {
  const key = keys.node('n');
  const value = (hostname: string) => ({nodeId: 'n', hostname, agentVersion: '1', address: 'x', devices: []});
  await fenced.commit({what: 'testing', comparisons: [], operations: [{kind: 'put', key, value: JSON.stringify(value(''))}]});
  const append = (letter: string) =>
    fenced.update(
      'appending',
      key,
      () => state.nodes.get('n'),
      node => ({...node, hostname: node.hostname + letter}),
    );
  await Promise.all([...'abcdefgh'].map(append));
  expect([...state.nodes.get('n')!.value.hostname].sort().join('')).toBe('abcdefgh');
});
