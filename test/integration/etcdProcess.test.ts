import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, it} from 'vitest';
import {etcdClient} from '../../coordinator/adapters/etcdClient.js';
import {EtcdProcess, SupervisedEtcd} from '../../coordinator/adapters/etcdProcess.js';
import {EtcdStore} from '../../coordinator/adapters/etcdStore.js';
import {systemClock} from '../../shared/clock.js';
import {RecordingLog} from '../support/recordingLog.js';

let folder: string;
let log: RecordingLog;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-etcd-process-'));
  log = new RecordingLog();
});
afterEach(() => rm(folder, {recursive: true, force: true}));

const options = () => ({dataDir: join(folder, 'data'), logFile: join(folder, 'logs', 'etcd.log'), log});

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

it('a private etcd that is killed is back on the same ports with its data, and gone once it is stopped', async () => {
  const etcd = await SupervisedEtcd.start(options());
  const client = etcdClient({endpoints: [etcd.endpoint]});
  try {
    const store = new EtcdStore(client, systemClock);
    await store.transact([], [{kind: 'put', key: 't/a', value: 'kept'}]);
    const [first, endpoint] = [etcd.pid, etcd.endpoint];
    process.kill(first, 'SIGKILL');
    const values = () =>
      store.list('t/').then(
        ({entries}) => entries.map(({value}) => value),
        () => 'away',
      );
    await expect.poll(() => etcd.pid, {timeout: 30_000}).not.toBe(first);
    await expect.poll(values, {timeout: 30_000}).toEqual(['kept']);
    expect(etcd.endpoint).toBe(endpoint);
  } finally {
    client.close();
    await etcd.stop();
  }
  expect(isAlive(etcd.pid)).toBe(false);
  expect(log.at('info')).toEqual(['etcd is up', 'etcd is up again']);
  expect(log.lines.find(({message}) => message === 'etcd is up')?.fields.version).toMatch(/^3\./);
  expect(await readFile(options().logFile, 'utf8')).toMatch(/serving client/);
});

it('says what to do when there is no etcd', async () => {
  await expect(EtcdProcess.start({...options(), binary: join(folder, 'no-etcd')})).rejects.toThrow(/install etcd .* or set TENFOLD_ETCD/);
});

it('tells the end of its log when it does not come up', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  const {port} = server.address() as {port: number};
  try {
    const starting = EtcdProcess.start({...options(), ports: {client: port, peer: port}});
    await expect(starting).rejects.toThrow('address already in use');
  } finally {
    server.close();
  }
});
