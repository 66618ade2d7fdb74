import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as grpc from '@grpc/grpc-js';
import {createChannel, createClient} from 'nice-grpc';
import {HealthDefinition} from 'nice-grpc-server-health';
import {afterAll, beforeAll, describe, expect, it} from 'vitest';
import {problemOf} from '../../shared/errors.js';
import {type JobServiceClient, JobServiceDefinition} from '../../shared/gen/tenfold/v1/job.js';
import {clientFactory, openChannel} from '../../shared/grpc.js';
import {clientCredentials} from '../../shared/tls.js';
import {makeCertificates} from '../support/certificates.js';
import {startEtcd, type TestEtcd} from '../support/etcd.js';
import {askReflection} from '../support/reflection.js';
import {type RunningCoordinator, startRunningCoordinator} from '../support/runningCoordinator.js';
import {type StrangersClient, strangersClient} from '../support/strangersClient.js';
import {writeTinyDataset} from '../support/tinyDataset.js';
import {waitUntil} from '../support/waitUntil.js';

let etcd: TestEtcd;
let coordinator: RunningCoordinator;
let folder: string;
let dataYaml: string;
let stranger: StrangersClient;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-api-'));
  dataYaml = await writeTinyDataset(join(folder, 'tiny'));
  etcd = await startEtcd();
  coordinator = await startRunningCoordinator({etcd: etcd.endpoint, prefix: 'api'});
  stranger = strangersClient(coordinator.address, 'JobService');
});
afterAll(async () => {
  stranger?.close();
  await coordinator?.remove();
  await etcd?.stop();
  await rm(folder, {recursive: true, force: true});
});

const spec = (more: object = {}): object => ({data: dataYaml, model: {arch: 'yolov8n'}, resources: {gpus: 2}, ...more});

describe('a stranger with the .proto files alone', () => {
  it('submits, finds, watches and cancels a job', async () => {
    const created = await stranger.call('CreateJob', {spec: spec({display_name: 'strange'}), request_id: 'r-strange'});
    expect(created).toMatchObject({name: expect.stringMatching(/^jobs\/strange-/), state: 'JOB_STATE_QUEUED', queue_position: 1});

    const got = await stranger.call('GetJob', {name: created.name});
    expect(got).toMatchObject({name: created.name, spec: {data: dataYaml, priority: 50}});
    expect((await stranger.call('ListJobs', {states: ['JOB_STATE_QUEUED']})).jobs.map((job: {name: string}) => job.name)).toContain(
      created.name,
    );

    const watch = stranger.stream('WatchJob', {name: created.name});
    const states: string[] = [];
    const ended = new Promise<void>((resolve, reject) => watch.on('end', resolve).on('error', reject));
    watch.on('data', ({job}) => states.push(job.state));
    await waitUntil('the watch has begun', () => states.length > 0);
    await stranger.call('CancelJob', {name: created.name});
    await ended;
    expect(states[0]).toBe('JOB_STATE_QUEUED');
    expect(states.at(-1)).toBe('JOB_STATE_CANCELLED');
    expect(await stranger.call('GetJob', {name: created.name})).toMatchObject({end_reason: {code: 'cancelled', fault: 'none'}});
  });

  it('gets the same job again for the same request, however often it asks, and also at once', async () => {
    const ask = (): Promise<{name: string}> => stranger.call('CreateJob', {spec: spec(), request_id: 'r-again'});
    const answers = await Promise.all([ask(), ask(), ask()]);
    answers.push(await ask());
    expect(new Set(answers.map(({name}) => name)).size).toBe(1);
  });

  it('pages through jobs without missing or repeating one', async () => {
    for (const n of [1, 2, 3, 4, 5])
      await stranger.call('CreateJob', {spec: spec({display_name: `paged-${n}`}), request_id: `r-paged-${n}`});
    const seen: string[] = [];
    for (let page_token = ''; ; ) {
      const page = await stranger.call('ListJobs', {page_size: 2, page_token});
      expect(page.jobs.length).toBeLessThanOrEqual(2);
      seen.push(...page.jobs.map((job: {name: string}) => job.name));
      page_token = page.next_page_token;
      if (page_token === '') break;
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.filter(name => name.startsWith('jobs/paged-')).map(name => name.slice(0, 12))).toEqual(
      [5, 4, 3, 2, 1].map(n => `jobs/paged-${n}`),
    );
  });

  it('is told why a job waits, and what was decided about it', async () => {
    const {name} = await stranger.call('CreateJob', {spec: spec({priority: 100}), request_id: 'r-explain'});
    await waitUntil('the data set is ready', async () => {
      const {waiting_for} = await stranger.call('GetJob', {name});
      return waiting_for.every(({code}: {code: string}) => code !== 'dataset_registering');
    });
    const explained = await stranger.call('ExplainJob', {name});
    expect(explained.job.waiting_for).toEqual([{code: 'no_nodes', message: 'no node is connected'}]);
    expect(explained.summary).toContain('number 1 in the queue');
    expect(explained.history[0].text).toContain('submitted with priority 100');
  });
});

describe('errors', () => {
  let jobs: JobServiceClient;
  beforeAll(() => {
    jobs = clientFactory.create(JobServiceDefinition, openChannel(coordinator.address, grpc.credentials.createInsecure()));
  });

  it('of a wrong spec name every field at once', async () => {
    const request = {
      spec: {data: dataYaml, model: {arch: 'yolov9'}, train: {epochs: 0, epoks: 1}, resources: {gpus: -1}},
      requestId: 'r-wrong',
    };
    const problem = problemOf(await jobs.createJob(request).catch((error: unknown) => error));
    expect(problem).toMatchObject({
      kind: 'invalid',
      fields: [{path: 'model.arch'}, {path: 'resources.gpus'}, {path: 'train.epochs'}, {path: 'train.epoks'}],
    });
  });

  it('of a data set that is not there, or not well, are about `data`', async () => {
    const submit = async (data: string) =>
      problemOf(await jobs.createJob({spec: {data, model: {arch: 'yolov8n'}}}).catch((error: unknown) => error));
    expect(await submit('datasets/none')).toMatchObject({kind: 'invalid', fields: [{path: 'data'}]});
    expect(await submit(join(folder, 'none.yaml'))).toMatchObject({kind: 'invalid', fields: [{path: 'data'}]});
  });

  it('of names that nothing bears carry the resource', async () => {
    for (const name of ['jobs/none', 'jobs/../leader', 'jobs/']) {
      const problem = problemOf(await jobs.getJob({name}).catch((error: unknown) => error));
      expect(problem).toMatchObject({kind: 'notFound', resource: 'job'});
    }
  });

  it('of tokens that were tampered with are INVALID_ARGUMENT', async () => {
    const {name} = await jobs.createJob({spec: {data: dataYaml, model: {arch: 'yolov8n'}}, requestId: 'r-token'});
    let token = '';
    for await (const {resumeToken} of jobs.watchJob({name, noFollow: true})) token = resumeToken;
    const problemWith = async (resumeToken: string) => {
      try {
        for await (const _ of jobs.watchJob({name, resumeToken, noFollow: true}));
        return 'none';
      } catch (error) {
        return problemOf(error).kind;
      }
    };
    expect(await problemWith(token)).toBe('none');
    expect(await problemWith(`${token.slice(0, -2)}xx`)).toBe('invalid');
    expect(problemOf(await jobs.listJobs({pageToken: token}).catch((error: unknown) => error)).kind).toBe('invalid');
  });

  it('a dry run tells the whole spec and stores nothing', async () => {
    const before = (await jobs.listJobs({})).jobs.length;
    const answered = await jobs.createJob({spec: {data: dataYaml, model: {arch: 'yolov8n'}}, validateOnly: true});
    expect(answered).toMatchObject({name: '', spec: {priority: 50, train: {epochs: 100}}});
    expect((await jobs.listJobs({})).jobs).toHaveLength(before);
  });
});

describe('what tools expect of a gRPC server', () => {
  const services = ['tenfold.v1.AgentService', 'tenfold.v1.ClusterService', 'tenfold.v1.DatasetService', 'tenfold.v1.JobService'];

  it.each(['v1', 'v1alpha'] as const)('reflection %s describes every service', async version => {
    const channel = new grpc.Client(coordinator.address, grpc.credentials.createInsecure());
    expect((await askReflection(channel, version, {listServices: true})).services).toEqual(services);
    const {files} = await askReflection(channel, version, {symbol: 'tenfold.v1.JobService'});
    expect(files).toContain('tenfold/v1/job.proto');
    channel.close();
  });

  it('health is told for the server and for each service', async () => {
    const channel = createChannel(coordinator.address);
    const health = createClient(HealthDefinition, channel);
    for (const service of ['', ...services]) expect((await health.check({service})).status).toBe(1);
    await expect(health.check({service: 'tenfold.v1.Nothing'})).rejects.toThrow(/NOT_FOUND/);
    channel.close();
  });

  it('a peer that calls too often is told when to come again', async () => {
    const strict = await startRunningCoordinator({etcd: etcd.endpoint, prefix: 'strict', flags: {rateLimit: '1'}});
    const channel = openChannel(strict.address, grpc.credentials.createInsecure());
    const jobs = clientFactory.create(JobServiceDefinition, channel);
    const outcomes = await Promise.all(Array.from({length: 10}, () => jobs.listJobs({}).then(() => undefined, problemOf)));
    const refused = outcomes.filter(problem => problem?.kind === 'exhausted');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]).toMatchObject({retryAfterMs: expect.any(Number)});
    channel.close();
    await strict.remove();
  });

  it('messages beyond the cap are refused', async () => {
    const channel = openChannel(coordinator.address, grpc.credentials.createInsecure());
    const jobs = clientFactory.create(JobServiceDefinition, channel);
    const huge = 'x'.repeat(5 * 1024 * 1024);
    const problem = problemOf(await jobs.createJob({spec: {data: huge, model: {arch: 'yolov8n'}}}).catch((error: unknown) => error));
    expect(problem.kind).toBe('exhausted');
    channel.close();
  });
});

describe('stopping and starting again', () => {
  it('keeps what was acknowledged, and a watch goes on by its token', async () => {
    const prefix = 'restart';
    const dataDir = await mkdtemp(join(folder, 'restart-'));
    const first = await startRunningCoordinator({etcd: etcd.endpoint, prefix, dataDir});
    const before = strangersClient(first.address, 'JobService');
    const {name} = await before.call('CreateJob', {spec: spec(), request_id: 'r-kept'});
    const token = await new Promise<string>((resolve, reject) => {
      before
        .stream('WatchJob', {name, no_follow: true})
        .on('data', ({resume_token}) => resolve(resume_token))
        .on('error', reject);
    });
    before.close();
    await first.stop();

    const second = await startRunningCoordinator({etcd: etcd.endpoint, prefix, dataDir});
    const after = strangersClient(second.address, 'JobService');
    const states: string[] = [];
    const watch = after.stream('WatchJob', {name, resume_token: token}).on('data', ({job}) => states.push(job.state));
    const ended = new Promise<void>((resolve, reject) => watch.on('end', resolve).on('error', reject));
    await waitUntil('the new leader takes writes', async () => {
      const answer = await after.call('CancelJob', {name}).catch(() => undefined);
      return answer?.cancel_requested === true;
    });
    await ended;
    expect(states.at(-1)).toBe('JOB_STATE_CANCELLED');
    expect((await after.call('CreateJob', {spec: spec(), request_id: 'r-kept'})).name).toBe(name);
    after.close();
    await second.remove();
  });
});

describe('TLS', () => {
  const tlsFlags = (): Record<string, string> => ({
    tlsCert: join(folder, 'server.pem'),
    tlsKey: join(folder, 'server.key'),
    tlsClientCa: join(folder, 'ca.pem'),
  });
  const caller = (address: string, identity?: 'client' | 'stranger') => {
    const named = identity && {cert: join(folder, `${identity}.pem`), key: join(folder, `${identity}.key`)};
    const channel = openChannel(address, clientCredentials({ca: join(folder, 'ca.pem'), identity: named}));
    const jobs = clientFactory.create(JobServiceDefinition, channel);
    return {
      list: () =>
        jobs.listJobs({}, {patienceMs: 0}).then(
          () => 'served',
          (error: unknown) => problemOf(error).kind,
        ),
      close: () => channel.close(),
    };
  };

  beforeAll(() => makeCertificates(folder));

  it('with certificates on both sides serves those who show one of the right authority, and nobody else', async () => {
    const secured = await startRunningCoordinator({etcd: etcd.endpoint, prefix: 'tls', flags: tlsFlags()});
    const outcomes: Record<string, string> = {};
    for (const identity of ['client', 'stranger', undefined] as const) {
      const {list, close} = caller(secured.address, identity);
      outcomes[identity ?? 'nobody'] = await list();
      close();
    }
    expect(outcomes).toEqual({client: 'served', stranger: 'unavailable', nobody: 'unavailable'});
    await secured.remove();
  });

  it('is not needed on this machine, but is for any other address', () => {
    const start = startRunningCoordinator({etcd: etcd.endpoint, prefix: 'open', flags: {listen: '0.0.0.0:0'}});
    return expect(start).rejects.toThrow(/can be reached from other machines.*--tls-cert/);
  });

  it('files that do not do are told by name before anything is served', async () => {
    const start = (flags: Record<string, string>) =>
      startRunningCoordinator({etcd: etcd.endpoint, prefix: 'bad', flags: {...tlsFlags(), ...flags}});
    await expect(start({tlsKey: join(folder, 'client.key')})).rejects.toThrow(/server\.pem: does not belong to the private key/);
    await expect(start({tlsCert: join(folder, 'none.pem')})).rejects.toThrow(/none\.pem: cannot be read \(ENOENT\)/);
    await expect(start({tlsCert: dataYaml})).rejects.toThrow(/data\.yaml: is not a PEM certificate/);
  });
});
