import {beforeEach, describe, expect, it} from 'vitest';
import {systemClock} from '../shared/clock.js';
import type {SessionResponse} from '../shared/gen/tenfold/v1/agent.js';
import {RecordingLog} from '../test/support/recordingLog.js';
import type {Outbox} from './outbox.js';
import {Session} from './session.js';

const LONG_MS = 240_000;

let now = 0;
let tries = 0;
let log: RecordingLog;

beforeEach(() => {
  now = 0;
  tries = 0;
  log = new RecordingLog();
});

/** Runs a session with a coordinator that converses so, for four minutes of its clock or so many conversations. */
async function talk(converse: () => AsyncIterable<SessionResponse>, triesAtMost = Number.POSITIVE_INFINITY): Promise<void> {
  const leaving = new AbortController();
  const session = new Session({
    client: {
      session() {
        tries++;
        return converse();
      },
    },
    identity: {nodeId: 'a', hostname: 'a', agentVersion: '1', address: '10.0.0.2', devices: []},
    outbox: {id: 'box', acknowledged: 0, durable: 0, onDurable: () => {}, acknowledge: () => {}} as unknown as Outbox,
    clock: {
      ...systemClock,
      monotonic: () => now,
      sleep: async ms => {
        now += ms;
        if (now > LONG_MS || tries >= triesAtMost) leaving.abort();
      },
    },
    log,
    heartbeatMs: 1000,
    report: () => ({attempts: [], rendezvousPorts: []}),
    onDesired: () => {},
  });
  await session.run(leaving.signal);
}

const welcome: SessionResponse = {
  message: {$case: 'welcome', value: {leaderGeneration: 1n, coordinatorVersion: '1', acknowledgedSequence: 0n}},
};
const acknowledged: SessionResponse = {message: {$case: 'acknowledged', value: {sequence: 1n}}};

it('says why it stays offline: whenever that changes, and once a minute', async () => {
  await talk(() => {
    throw new Error(now < 30_000 ? 'connect ECONNREFUSED 10.0.0.1:7070' : 'certificate has expired');
  });
  const said = log.lines.filter(({level}) => level === 'warn').map(({fields}) => (fields.error as Error).message);
  expect(said.filter(why => why.includes('ECONNREFUSED'))).toHaveLength(1);
  expect(said.filter(why => why.includes('expired'))).toHaveLength(4);
  expect(tries).toBeGreaterThan(100);
});

it('says that it is connected again after refusals that were all alike, and that a link broke by what refused it before', async () => {
  const REFUSALS = 5;
  await talk(async function* () {
    if (tries > REFUSALS) yield welcome;
    throw new Error('this coordinator does not lead now');
  }, REFUSALS + 1);
  const said = log.lines.filter(({level}) => level !== 'debug').map(({message}) => message);
  expect(said).toEqual([
    'there is no link to the coordinator',
    'connected to the coordinator',
    'the link to the coordinator broke; what runs goes on',
  ]);
});

describe('a coordinator that welcomes it and then fails', () => {
  it('is asked less and less often, and told of once a minute, when it never gets further', async () => {
    await talk(async function* () {
      yield welcome;
      throw new Error('ENOSPC: no space left on device');
    });
    expect(tries).toBeLessThan(LONG_MS / 1000 + 10);
    expect(log.at('warn')).toEqual(Array(4).fill('the link to the coordinator broke; what runs goes on'));
    expect(log.at('info')).toEqual(Array(5).fill('connected to the coordinator'));
  });

  it.each<[string, () => AsyncGenerator<SessionResponse>]>([
    [
      'acknowledged something',
      async function* () {
        yield acknowledged;
      },
    ],
    [
      'had lasted',
      async function* () {
        now += 6000;
        yield* [];
      },
    ],
  ])('is asked again at once when the conversation %s', async (_, after) => {
    await talk(async function* () {
      yield welcome;
      yield* after();
      throw new Error('the connection broke');
    }, 10);
    expect(log.lines.filter(({level}) => level === 'warn').map(({fields}) => fields.failures)).toEqual(Array(10).fill(1));
  });
});
