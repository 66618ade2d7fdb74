import {EventEmitter} from 'node:events';
import type {Etcd3} from 'etcd3';
import {describe, expect, it} from 'vitest';
import type {Clock} from '../../shared/clock.js';
import {instant} from '../../shared/ids.js';
import {silentLog} from '../../shared/log.js';
import {EtcdLeadership} from './etcdLeadership.js';

const TTL_MS = 3000;

/** Time that passes when somebody sleeps, or when the store takes its time. */
class ManualClock implements Clock {
  time = 0;
  now = () => instant(this.time);
  monotonic = () => this.time;
  async sleep(ms: number): Promise<void> {
    this.time += Math.max(0, ms);
    await new Promise(resolve => setImmediate(resolve));
  }
}

/** An etcd whose keepalives take so long each and then do, or do not, answer; it stays silent when they are used up. */
function etcdWith(clock: ManualClock, keepalives: {takesMs: number; answers: boolean}[], whenUsedUp: () => void): Etcd3 {
  const leaseKeepAlive = async () => {
    const stream = Object.assign(new EventEmitter(), {
      write() {
        const next = keepalives.shift();
        if (next === undefined) return whenUsedUp();
        clock.time += next.takesMs;
        setImmediate(() => (next.answers ? stream.emit('data', {TTL: 3}) : stream.emit('error', new Error('deadline exceeded'))));
      },
      end() {},
    });
    return stream;
  };
  return {
    kv: {range: async () => ({kvs: []}), txn: async () => ({succeeded: true, header: {revision: '5'}})},
    leaseClient: {leaseGrant: async () => ({ID: '1'}), leaseRevoke: async () => ({}), leaseKeepAlive},
  } as unknown as Etcd3;
}

describe('leadership', () => {
  it('tells that the fence is back when it lapsed between two keepalives', async () => {
    const clock = new ManualClock();
    const fences: (number | undefined)[] = [];
    const usedUp = new Promise<void>(resolve => {
      const keepalives = [
        {takesMs: 1, answers: true},
        // Fails while the fence still holds, so that no lapse is noted…
        {takesMs: 750, answers: false},
        // …and answers after the fence has lapsed.
        {takesMs: 700, answers: true},
      ];
      const client = etcdWith(clock, keepalives, resolve);
      const leadership = new EtcdLeadership({client, key: 'leader', name: 'a', clock, log: silentLog, ttlSeconds: TTL_MS / 1000});
      leadership.onChange(() => fences.push(leadership.fence()?.revision));
      void leadership.run(new AbortController().signal);
    });
    await usedUp;
    expect(fences).toEqual([5, 5]);
  });
});
