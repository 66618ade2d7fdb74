import {promises as dns} from 'node:dns';
import {connect} from 'node:http2';
import {credentials, Server, ServerCredentials} from '@grpc/grpc-js';
import {createServer, type Server as NiceServer, ServerError, Status} from 'nice-grpc';
import {errorDetailsServerMiddleware} from 'nice-grpc-error-details';
import {afterEach, describe, expect, it, vi} from 'vitest';
import {toStatusError, unavailable} from './errors.js';
import {JobServiceDefinition, type JobServiceImplementation} from './gen/tenfold/v1/job.js';
import {clientFactory, enlargeReceiveWindows, openChannel, serverOptions} from './grpc.js';

let server: Server | undefined;
afterEach(() => server?.forceShutdown());

/** On a free port unless an address is given, with these calls of JobService alone. */
function serve(jobs: NiceServer, calls: Partial<JobServiceImplementation>, address = '127.0.0.1:0'): Promise<number> {
  const unimplemented = (): never => {
    throw new ServerError(Status.UNIMPLEMENTED, 'not a part of this test');
  };
  const get = (target: object, name: string): unknown => Reflect.get(target, name) ?? unimplemented;
  jobs.add(JobServiceDefinition, new Proxy(calls, {get}) as JobServiceImplementation);
  return jobs.listen(address);
}

it('a server lets a peer send 8 MiB ahead, on each stream and on the connection, and open 100 streams', async () => {
  enlargeReceiveWindows();
  const listening = new Server(serverOptions);
  server = listening;
  const port = await new Promise<number>((resolve, reject) => {
    listening.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const session = connect(`http://127.0.0.1:${port}`);
  const told = await new Promise(resolve => {
    // The connection's window is told after the settings; the answer to a ping comes after both.
    session.once('remoteSettings', settings => {
      session.ping(() =>
        resolve({streams: settings.maxConcurrentStreams, stream: settings.initialWindowSize, connection: session.state.remoteWindowSize}),
      );
    });
  });
  session.destroy();
  expect(told).toEqual({streams: 100, stream: 8 * 1024 * 1024, connection: 8 * 1024 * 1024});
});

it('patience with a coordinator that goes away during a long call begins when it goes away', async () => {
  let calls = 0;
  const listJobs: JobServiceImplementation['listJobs'] = async () => {
    if (++calls > 1) return {jobs: [], nextPageToken: 'answered'};
    await new Promise(resolve => setTimeout(resolve, 400));
    throw new ServerError(Status.UNAVAILABLE, 'going away');
  };
  const busy = createServer(serverOptions);
  const port = await serve(busy, {listJobs});
  const channel = openChannel(`127.0.0.1:${port}`, credentials.createInsecure());
  try {
    const jobs = clientFactory.create(JobServiceDefinition, channel);
    expect(await jobs.listJobs({}, {patienceMs: 300})).toMatchObject({nextPageToken: 'answered'});
  } finally {
    channel.close();
    busy.forceShutdown();
  }
});

it('a name is looked up for its addresses alone, at which calls take turns: a TXT query that nobody answers would outlive the process', async () => {
  const servers = [createServer(serverOptions), createServer(serverOptions)] as const;
  const port = await serve(servers[0], {listJobs: async () => ({jobs: [], nextPageToken: 'first'})});
  await serve(servers[1], {listJobs: async () => ({jobs: [], nextPageToken: 'second'})}, `127.0.0.2:${port}`);
  const addresses = ['127.0.0.1', '127.0.0.2'].map(address => ({address, family: 4}));
  const lookup = vi.spyOn(dns, 'lookup').mockResolvedValue(addresses as never);
  const asked = vi.spyOn(dns, 'resolveTxt').mockRejectedValue(new Error('no name server'));
  const channel = openChannel(`head:${port}`, credentials.createInsecure());
  try {
    const jobs = clientFactory.create(JobServiceDefinition, channel);
    const answers = new Set<string>();
    while (answers.size < 2) answers.add((await jobs.listJobs({})).nextPageToken);
    expect(lookup).toHaveBeenCalled();
    expect(asked).not.toHaveBeenCalled();
  } finally {
    vi.restoreAllMocks();
    channel.close();
    for (const each of servers) each.forceShutdown();
  }
});

describe('where a name stands for several coordinators, of which one does not lead and another one is down', () => {
  const servers: NiceServer[] = [];
  afterEach(() => servers.splice(0).forEach(each => void each.forceShutdown()));

  const coordinator = (calls: Partial<JobServiceImplementation>): Promise<number> => {
    const each = createServer(serverOptions).use(errorDetailsServerMiddleware);
    servers.push(each);
    return serve(each, calls);
  };
  const refuse = (): never => {
    refusals++;
    throw toStatusError(unavailable('another coordinator leads now').problem);
  };
  let refusals = 0;

  it('every call comes to the one that leads, be it unary or a stream, and a stream that has begun is never repeated', async () => {
    refusals = 0;
    const follower = await coordinator({
      listJobs: async () => refuse(),
      async *watchJob() {
        yield refuse();
      },
    });
    let watches = 0;
    const leader = await coordinator({
      listJobs: async () => ({jobs: [], nextPageToken: 'answered'}),
      async *watchJob() {
        watches++;
        yield {resumeToken: 'begun', update: undefined};
        refuse();
      },
    });
    const channel = openChannel(`ipv4:127.0.0.1:1,127.0.0.1:${follower},127.0.0.1:${leader}`, credentials.createInsecure());
    try {
      const jobs = clientFactory.create(JobServiceDefinition, channel);
      for (let i = 0; i < 4; i++) expect(await jobs.listJobs({})).toMatchObject({nextPageToken: 'answered'});
      for (let i = 0; i < 4; i++) {
        const watch = jobs.watchJob({})[Symbol.asyncIterator]();
        expect(await watch.next()).toMatchObject({value: {resumeToken: 'begun'}});
        await expect(watch.next()).rejects.toThrow('another coordinator leads now');
      }
      expect(watches).toBe(4);
      expect(refusals).toBeGreaterThan(0);
    } finally {
      channel.close();
    }
  });
});
