import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {type AddressInfo, createServer} from 'node:net';
import {createInterface} from 'node:readline';
import {fileURLToPath} from 'node:url';
import type {Etcd3} from 'etcd3';
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, it} from 'vitest';
import {etcdClient} from '../../coordinator/adapters/etcdClient.js';
import {EtcdLeadership} from '../../coordinator/adapters/etcdLeadership.js';
import {EtcdStore} from '../../coordinator/adapters/etcdStore.js';
import {systemClock} from '../../shared/clock.js';
import {silentLog} from '../../shared/log.js';
import {buildOnce, DIST} from '../support/build.js';
import {startEtcd, type TestEtcd} from '../support/etcd.js';

const TTL_SECONDS = 2;
const patiently = {timeout: 30_000};

let etcd: TestEtcd;
let client: Etcd3;
let prefix: string;
let stories = 0;
const candidates: Candidate[] = [];
const aborts: AbortController[] = [];

beforeAll(async () => {
  await buildOnce();
  etcd = await startEtcd();
  client = etcdClient({endpoints: [etcd.endpoint]});
});
afterAll(async () => {
  client.close();
  await etcd.stop();
});
beforeEach(() => {
  prefix = `story-${++stories}/`;
});
afterEach(async () => {
  for (const abort of aborts.splice(0)) abort.abort();
  await Promise.all(candidates.splice(0).map(candidate => candidate.kill()));
});

/** A process of its own, so that it can be frozen as a whole. */
class Candidate {
  readonly said: string[] = [];
  private constructor(private readonly child: ChildProcess) {
    createInterface({input: child.stdout!}).on('line', line => this.said.push(line));
  }

  static start(name: string): Candidate {
    const script = fileURLToPath(new URL('../support/candidate.mjs', import.meta.url));
    const args = [script, DIST, etcd.endpoint, prefix, name, `${TTL_SECONDS}`];
    const candidate = new Candidate(spawn(process.execPath, args, {stdio: ['pipe', 'pipe', 'inherit']}));
    candidates.push(candidate);
    return candidate;
  }

  says(what: string | RegExp): Promise<void> {
    return expect.poll(() => this.said.at(-1), patiently).toMatch(what);
  }

  ask(what: string): void {
    this.child.stdin!.write(`${what}\n`);
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.child.pid!, name);
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }
}

/** A candidate within this process. */
function strive(name: string, of = client) {
  const leadership = new EtcdLeadership({
    client: of,
    key: `${prefix}leader`,
    name,
    clock: systemClock,
    log: silentLog,
    ttlSeconds: TTL_SECONDS,
  });
  const abort = new AbortController();
  aborts.push(abort);
  const done = leadership.run(abort.signal);
  const stop = async () => {
    abort.abort();
    await done;
  };
  return {leadership, stop, leads: () => expect.poll(() => leadership.fence() !== undefined, patiently).toBe(true)};
}

async function written(): Promise<string | undefined> {
  const {entries} = await new EtcdStore(client, systemClock).list(prefix);
  return entries.find(({key}) => key === `${prefix}written`)?.value;
}

describe('leadership', () => {
  it('a frozen leader, awake again after its successor took over, neither acts nor can write', async () => {
    const first = Candidate.start('first');
    await first.says(/^leading/);
    const second = Candidate.start('second');
    first.ask('write');
    await first.says('wrote');

    first.signal('SIGSTOP');
    await second.says(/^leading/);
    second.ask('write');
    await second.says('wrote');

    first.signal('SIGCONT');
    first.ask('write as if nothing had happened');
    await expect.poll(() => first.said, patiently).toContain('refused');
    first.ask('write');
    await first.says('may not write');
    expect(await written()).toBe('second');
  });

  it('goes over at once when the leader leaves tidily', async () => {
    const first = strive('first');
    await first.leads();
    const second = strive('second');
    await expect.poll(() => second.leadership.ledByAnother(), patiently).toBe(true);
    expect(second.leadership.fence()).toBeUndefined();
    const before = first.leadership.fence()!.revision;
    await first.stop();
    expect(first.leadership.fence()).toBeUndefined();
    await second.leads();
    expect(second.leadership.ledByAnother()).toBe(false);
    expect(second.leadership.fence()!.revision).toBeGreaterThan(before);
  });

  it('lapses by the local clock while etcd is away, and comes back', async () => {
    const {leadership, leads} = strive('alone');
    await leads();
    const before = leadership.fence()!.revision;
    let changes = 0;
    leadership.onChange(() => changes++);
    await etcd.kill();
    await expect.poll(() => leadership.fence(), patiently).toBeUndefined();
    expect(leadership.ledByAnother()).toBe(false);
    await expect.poll(() => changes, patiently).toBe(1);
    await etcd.restart();
    await leads();
    expect(leadership.fence()!.revision).toBeGreaterThanOrEqual(before);
    const store = new EtcdStore(client, systemClock);
    const fenced = {key: `${prefix}leader`, target: 'create', revision: leadership.fence()!.revision} as const;
    expect(await store.transact([fenced], [{kind: 'put', key: `${prefix}written`, value: 'x'}])).toMatchObject({succeeded: true});
  });

  it('is held, and every call answered, while one of the endpoints takes connections and says nothing', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const {port} = silent.address() as AddressInfo;
    const several = etcdClient({endpoints: [`127.0.0.1:${port}`, etcd.endpoint]});
    try {
      const {leadership, leads, stop} = strive('first', several);
      await leads();
      let changes = 0;
      leadership.onChange(() => changes++);
      for (let i = 0; i < 20; i++) await several.get(`${prefix}leader`);
      expect({changes, leads: leadership.fence() !== undefined}).toEqual({changes: 0, leads: true});
      await stop();
    } finally {
      several.close();
      silent.close();
    }
  });
});
