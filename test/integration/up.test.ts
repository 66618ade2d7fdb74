import {existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync} from 'node:fs';
import * as path from 'node:path';
import {afterAll, beforeAll, describe, expect, it} from 'vitest';
import {NodeState} from '../../shared/gen/tenfold/v1/cluster.js';
import {type Cluster, killAndWait, processesWith, startCluster} from '../support/cluster.js';
import {waitUntil} from '../support/waitUntil.js';

/** `tenfold up` and the command line, as a process each. No training runs here: that is what test/faults is for. */

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster({agents: 2});
});
afterAll(() => cluster?.stop());

async function readyNodes(): Promise<number> {
  const {nodes} = await cluster.nodes.listNodes({}).catch(() => ({nodes: []}));
  return nodes.filter(({state}) => state === NodeState.NODE_STATE_READY).length;
}

describe('tenfold up', () => {
  it('is found by other commands without being told where it is', async () => {
    const record = JSON.parse(readFileSync(path.join(cluster.folder, 'runtime/tenfold/up.json'), 'utf8'));
    expect(record).toMatchObject({address: cluster.address, pid: cluster.status().pid});
  });

  it.each(['coordinator', 'etcd', 'agent'] as const)('starts a killed %s again', async part => {
    const pidOf = (): number => (part === 'agent' ? cluster.status().agents[0]! : cluster.status()[part]).pid;
    const killed = pidOf();
    await killAndWait(killed);
    await waitUntil(`the ${part} was started again`, () => pidOf() !== killed);
    await waitUntil('all nodes are ready again', async () => (await readyNodes()) === 2);
    expect((await cluster.cli('ps')).code).toBe(0);
  });

  it('goes on while it cannot write down what runs', async () => {
    const file = path.join(cluster.folder, 'data/up.json');
    const {pid} = cluster.status().agents[0]!;
    rmSync(file);
    mkdirSync(file);
    await killAndWait(pid);
    await waitUntil('it could not be written', () => cluster.logs().includes('up.json cannot be written'));
    rmdirSync(file);
    await waitUntil('it is written', () => existsSync(file) && cluster.status().agents[0]!.pid !== pid);
    await waitUntil('all nodes are ready again', async () => (await readyNodes()) === 2);
  });

  it('does not start twice on one folder', async () => {
    const second = await cluster.cli('up', '--data-dir', path.join(cluster.folder, 'data'));
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(`tenfold is up already in ${path.join(cluster.folder, 'data')} (pid ${cluster.status().pid}`);
  });

  it('that is killed leaves no process behind, and the next one starts on the same folder', async () => {
    const own = await startCluster({agents: 1});
    try {
      await killAndWait(own.status().pid);
      await waitUntil('no process of it is left', async () => (await processesWith(own.folder)).length === 0);
      const lines: string[] = [];
      const again = own.cli(
        'up',
        '--agents',
        '1',
        '--cpu-slots',
        '1',
        '--data-dir',
        path.join(own.folder, 'data'),
        '--port',
        own.address.split(':')[1]!,
      );
      again.then(({stderr}) => lines.push(stderr));
      await waitUntil('it is up again', async () => {
        const {nodes} = await own.nodes.listNodes({}).catch(() => ({nodes: []}));
        return nodes.some(({state}) => state === NodeState.NODE_STATE_READY);
      });
      process.kill(own.status().pid, 'SIGTERM');
      expect((await again).code).toBe(143);
      expect(await processesWith(own.folder)).toEqual([]);
      expect(existsSync(path.join(own.folder, 'data/up.json'))).toBe(false);
    } finally {
      await own.stop();
    }
  });
});

describe('the command line', () => {
  it('lists nodes in every format', async () => {
    expect((await cluster.cli('node', 'ls')).stdout).toMatch(
      /^NODE +STATE +DEVICES +FREE +SEEN +JOBS\nlocal-1 +READY +1 CPU slot +1\/1 +now\nlocal-2/,
    );
    expect((await cluster.cli('node', 'ls', '-o', 'name')).stdout).toBe('nodes/local-1\nnodes/local-2\n');
    expect(JSON.parse((await cluster.cli('node', 'ls', '-o', 'json')).stdout).nodes).toHaveLength(2);
    expect((await cluster.cli('node', 'ls', '-o', 'yaml')).stdout).toMatch(/^nodes:\n {2}- name: nodes\/local-1/);
    expect((await cluster.cli('node', 'get', 'local-1')).stdout).toContain('cpu-0');
  });

  it.each([
    ['a wrong command', ['frobnicate'], 2, "unknown command 'frobnicate'"],
    ['a wrong option', ['ps', '--frob'], 2, '`tenfold ps --help` shows how it is used'],
    ['a missing argument', ['get'], 2, "missing required argument 'job'"],
    ['a name that cannot be', ['get', '../x'], 2, 'is not a name'],
    ['a job that is not there', ['get', 'none'], 3, 'there is no jobs/none'],
    ['a node that is not there', ['node', 'get', 'none'], 3, '`tenfold node ls` lists the nodes'],
    ['a data set that is not there', ['dataset', 'get', 'none'], 3, 'there is no datasets/none'],
    ['nothing to submit', ['submit'], 2, 'nothing to submit'],
    ['a spec with wrong and unknown keys', ['submit', 'data=datasets/x', 'model=yolov8n', 'epochs=0', 'modle=x'], 2, 'did you mean model?'],
    ['a state that is none', ['ps', '--state', 'sleeping'], 2, 'sleeping is not a state'],
    ['a setting that is wrong', ['coordinator', '--listen', 'here', '--leader-ttl', '1'], 2, '2 settings are wrong'],
    ['an open address without TLS', ['coordinator', '--listen', '0.0.0.0:7070'], 2, 'can be reached from other machines'],
  ])('answers %s with its exit code and says what to do', async (_, args, code, message) => {
    const result = await cluster.cli(...args);
    expect({code: result.code, stdout: result.stdout}).toEqual({code, stdout: ''});
    expect(result.stderr).toContain(message);
  });

  it('says where it looked when nobody answers', async () => {
    const result = await cluster.cli('ps', '--address', '127.0.0.1:1');
    expect(result.code).toBe(4);
    expect(result.stderr).toContain('the coordinator at 127.0.0.1:1 does not answer (connect ECONNREFUSED 127.0.0.1:1)');
  });

  it('reads settings from a file, which flags override', async () => {
    const file = path.join(cluster.folder, 'config.yaml');
    writeFileSync(file, 'client: {address: 127.0.0.1:1}\n');
    expect((await cluster.cli('ps', '--config', file)).code).toBe(0);
    writeFileSync(file, 'client: {adress: 127.0.0.1:1}\n');
    const wrong = await cluster.cli('ps', '--config', file);
    expect({code: wrong.code, told: wrong.stderr.includes('did you mean address?')}).toEqual({code: 2, told: true});
  });

  it.each(['bash', 'zsh', 'fish'])('prints a completion script for %s', async shell => {
    const {code, stdout} = await cluster.cli('completion', shell);
    expect(code).toBe(0);
    expect(stdout).toContain('submit');
  });
});
