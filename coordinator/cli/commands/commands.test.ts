import {ClientError, Status} from 'nice-grpc';
import {RetryInfo, RichClientError} from 'nice-grpc-error-details';
import {describe, expect, it} from 'vitest';
import {
  Job,
  type JobServiceClient,
  JobState,
  type ListJobsRequest,
  type ListJobsResponse,
  type WatchJobResponse,
} from '../../../shared/gen/tenfold/v1/job.js';
import {Cli, type Clients} from '../cli.js';
import {runCommand} from '../run.js';

interface Ending {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command upon a coordinator that answers as `jobs` says. */
async function run(args: readonly string[], jobs: Partial<JobServiceClient> = {}, signal = new AbortController().signal): Promise<Ending> {
  const said = {out: '', err: ''};
  const output = (name: 'out' | 'err') => ({write: (text: string) => (said[name] += text)});
  const cli = new Cli({out: output('out'), err: output('err'), env: {TENFOLD_CONFIG: '/dev/null'}, cwd: '/', signal});
  const clients = {jobs} as unknown as Clients;
  if (Object.keys(jobs).length > 0) cli.connect = () => clients;
  return {code: await runCommand(args, cli), ...said};
}

const job = (name: string, state: JobState, more: Partial<Job> = {}): Job => Job.fromPartial({name, state, ...more});
const notFound = (name = ''): ClientError => new ClientError('/x', Status.NOT_FOUND, `there is no ${name}`);

describe('cancel', () => {
  const known: Record<string, Job> = {
    'jobs/a': job('jobs/a', JobState.JOB_STATE_RUNNING, {cancelRequested: true}),
    'jobs/old': job('jobs/old', JobState.JOB_STATE_CANCELLED, {cancelRequested: true}),
  };
  const cancelJob = async ({name = ''}): Promise<Job> => known[name] ?? Promise.reject(notFound(name));

  it('of several jobs tries all, tells of each, and ends with the worst', async () => {
    const {code, out, err} = await run(['cancel', 'gone', 'a', 'old'], {cancelJob});
    expect({code, out}).toEqual({code: 3, out: 'jobs/a\njobs/old\n'});
    expect(err).toContain('there is no jobs/gone');
    expect(err).toContain('jobs/a is being cancelled');
  });

  it('of a job that ended long ago says so', async () => {
    expect(await run(['cancel', 'old'], {cancelJob})).toMatchObject({code: 0, err: 'jobs/old had ended already (CANCELLED)\n'});
  });
});

describe('ps', () => {
  const asked: Partial<ListJobsRequest>[] = [];
  const old = job('jobs/old', JobState.JOB_STATE_SUCCEEDED);
  const listJobs = async (request: Partial<ListJobsRequest>): Promise<ListJobsResponse> => {
    asked.push(request);
    return {jobs: request.endedAfter === undefined ? [old] : [], nextPageToken: ''};
  };

  it('asks for what runs or ended lately alone, and says where the others are', async () => {
    const {out, err} = await run(['ps'], {listJobs});
    expect(out).toBe('');
    expect(err).toContain('`tenfold ps --all` shows older ones');
    expect(Date.now() - asked[0]!.endedAfter!.getTime()).toBeGreaterThan(86_390_000);
    expect((await run(['ps', '--all', '-o', 'name'], {listJobs})).out).toBe('jobs/old\n');
  });
});

describe('a follower who is interrupted', () => {
  it.each([
    [['watch', 'a', '-o', 'json'], 'a goes on without you'],
    [['events', 'a', '-f'], ''],
  ])('%j ends as interrupted, and not as the job did', async (args, told) => {
    const stop = new AbortController();
    async function* watchJob(): AsyncGenerator<WatchJobResponse> {
      yield {resumeToken: '1', update: {$case: 'job', value: job('jobs/a', JobState.JOB_STATE_RUNNING)}};
      stop.abort();
      throw new DOMException('aborted', 'AbortError');
    }
    const {code, err} = await run(args, {watchJob: watchJob as unknown as JobServiceClient['watchJob']}, stop.signal);
    expect(code).toBe(130);
    expect(err).toContain(told);
  });
});

describe('an option that makes no sense is refused before anything is asked for', () => {
  it.each([
    [['wait', 'a', '--timeout', 'bogus'], '--timeout  must be a duration from 1ms to 576h, such as 500ms, 30s, 5m or 12h, not "bogus"'],
    [['wait', 'a', '--timeout', '1000h'], 'must be a duration'],
    [['wait', 'a', '--for', 'good'], '--for must be end or running'],
    [['ps', '--state', 'constructor'], 'constructor is not a state'],
    [['logs', 'a', '--tail', '-1'], '--tail  must be a whole number'],
  ])('%j', async (args, told) => {
    let isAsked = false;
    const ask = (): never => {
      isAsked = true;
      throw notFound('jobs/a');
    };
    const {code, out, err} = await run(args, {watchJob: ask, listJobs: ask, streamLogs: ask});
    expect({code, out, isAsked}).toEqual({code: 2, out: '', isAsked: false});
    expect(err).toContain(told);
  });
});

describe('options that would do nothing are refused', () => {
  it.each([
    ['half of a certificate and its key', ['ps', '--tls-cert', 'c.pem'], '--tls-cert  needs --tls-key'],
    ['the other half', ['ps', '--tls-key', 'c.key'], '--tls-key  needs --tls-cert'],
    ['a format that lines do not have', ['watch', 'a', '-o', 'yaml'], 'Allowed choices are text, json'],
    ['a format that logs do not have', ['logs', 'a', '-o', 'name'], 'Allowed choices are text, json'],
    ['the name of a job that is not made', ['submit', 'data=x', '--dry-run', '-o', 'name'], 'has no name to print'],
  ])('%s', async (_, args, told) => {
    const {code, err} = await run(args);
    expect(code).toBe(2);
    expect(err).toContain(told);
  });

  it('and a dry run has the formats of a job file', async () => {
    const createJob = async (): Promise<Job> => Job.fromPartial({spec: {data: 'datasets/d', model: {arch: 'yolov8n'}}});
    const words = ['submit', 'data=datasets/d', 'model=yolov8n', '--dry-run', '-o'];
    expect(JSON.parse((await run([...words, 'json'], {createJob})).out)).toEqual({data: 'datasets/d', model: {arch: 'yolov8n'}});
    expect((await run([...words, 'yaml'], {createJob})).out).toBe('data: datasets/d\nmodel:\n  arch: yolov8n\n');
  });
});

describe('a coordinator that is', () => {
  const failing = (error: Error): Promise<Ending> => run(['get', 'a'], {getJob: () => Promise.reject(error)});
  const unavailable = (details: string): ClientError => new ClientError('/x', Status.UNAVAILABLE, details);
  const noConnection = (reason: string): ClientError =>
    unavailable(`round_robin: No connection established. Last error: No connection established. Last error: ${reason}. Resolution note: `);

  it('there and cannot do it now has answered', async () => {
    const retry = RetryInfo.fromPartial({retryDelay: {seconds: 2}});
    const {code, err} = await failing(new RichClientError('/x', Status.UNAVAILABLE, 'this coordinator does not lead now', [retry]));
    expect(code).toBe(4);
    expect(err).toBe('error: this coordinator does not lead now\n  try again in 2 s\n');
  });

  it.each([
    ['not there', 'Error: connect ECONNREFUSED 127.0.0.1:1', 4, 'does not answer', 'is it running?'],
    [
      'asking for a certificate',
      '80FC:error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:x.c:1',
      6,
      'lets nobody in',
      '--tls-cert',
    ],
    ['of an authority that is not known here', 'Error: self-signed certificate in certificate chain', 6, 'is not trusted', '--tls-ca'],
    [
      'trusted under another name',
      "Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames: IP: 127.0.0.2 is not in the cert's list: 127.0.0.1",
      6,
      'is for other names',
      'subjectAltName',
    ],
    [
      'speaking plain text',
      'Error: 80FC:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:x.c:1',
      4,
      'does not answer',
      'speaks no TLS',
    ],
    ['closing the connection', 'Failed to connect (2026-11-26T19:26:28.016Z)', 4, 'does not answer', 'does it want TLS'],
  ])('%s is told as that', async (_, reason, expected, what, next) => {
    const {code, err} = await failing(noConnection(reason));
    expect(code).toBe(expected);
    expect(err).toContain(what);
    expect(err).toContain(next);
    expect(err).not.toMatch(/Last error|Error/);
  });

  it('given by a name that nobody knows is not said to be down', async () => {
    const {code, err} = await failing(unavailable('Name resolution failed for target dns:head:7070'));
    expect({code, err}).toEqual({
      code: 4,
      err:
        'error: the name head is not known here: no name server knows it, or none answers\n' +
        '  give an IP address, or a line for the name in /etc/hosts\n',
    });
  });
});

it('an error tells what caused it', async () => {
  const cause = new Error('no address of this host', {cause: new Error('EADDRNOTAVAIL')});
  const {err} = await run(['get', 'a'], {getJob: () => Promise.reject(new Error('listening on 10.0.0.9:7070', {cause}))});
  expect(err).toBe('error: listening on 10.0.0.9:7070\n  no address of this host: EADDRNOTAVAIL\n');
});
