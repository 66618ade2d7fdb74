import {connect} from 'node:http2';
import {credentials, Server, ServerCredentials} from '@grpc/grpc-js';
import {createServer, ServerError, Status} from 'nice-grpc';
import {afterEach, expect, it} from 'vitest';
import {JobServiceDefinition, type JobServiceImplementation} from './gen/tenfold/v1/job.js';
import {clientFactory, enlargeReceiveWindows, openChannel, serverOptions} from './grpc.js';

let server: Server | undefined;
afterEach(() => server?.forceShutdown());

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
  const others = {get: (target: object, name: string) => Reflect.get(target, name) ?? listJobs};
  const busy = createServer(serverOptions);
  busy.add(JobServiceDefinition, new Proxy({listJobs}, others) as unknown as JobServiceImplementation);
  const port = await busy.listen('127.0.0.1:0');
  const channel = openChannel(`127.0.0.1:${port}`, credentials.createInsecure());
  try {
    const jobs = clientFactory.create(JobServiceDefinition, channel);
    expect(await jobs.listJobs({}, {patienceMs: 300})).toMatchObject({nextPageToken: 'answered'});
  } finally {
    channel.close();
    busy.forceShutdown();
  }
});
