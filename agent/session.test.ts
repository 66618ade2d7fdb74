import {expect, it} from 'vitest';
import {systemClock} from '../shared/clock.js';
import {RecordingLog} from '../test/support/recordingLog.js';
import type {Outbox} from './outbox.js';
import {Session} from './session.js';

it('says why it stays offline: whenever that changes, and once a minute', async () => {
  let now = 0;
  let tries = 0;
  const whyAt = (at: number): string => (at < 30_000 ? 'connect ECONNREFUSED 10.0.0.1:7070' : 'certificate has expired');
  const leaving = new AbortController();
  const log = new RecordingLog();
  const session = new Session({
    client: {
      session() {
        tries++;
        throw new Error(whyAt(now));
      },
    },
    identity: {nodeId: 'a', hostname: 'a', agentVersion: '1', address: '10.0.0.2', devices: []},
    outbox: {id: 'box', acknowledged: 0, durable: 0, onDurable: () => {}} as unknown as Outbox,
    clock: {
      ...systemClock,
      monotonic: () => now,
      sleep: async ms => {
        now += ms;
        if (now > 240_000) leaving.abort();
      },
    },
    log,
    heartbeatMs: 1000,
    report: () => ({attempts: [], rendezvousPorts: []}),
    onDesired: () => {},
  });
  await session.run(leaving.signal);
  const said = log.lines.filter(({level}) => level === 'warn').map(({fields}) => (fields.error as Error).message);
  expect(said.filter(why => why.includes('ECONNREFUSED'))).toHaveLength(1);
  expect(said.filter(why => why.includes('expired'))).toHaveLength(4);
  expect(tries).toBeGreaterThan(100);
});
