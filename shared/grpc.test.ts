import {connect} from 'node:http2';
import {Server, ServerCredentials} from '@grpc/grpc-js';
import {afterEach, expect, it} from 'vitest';
import {enlargeReceiveWindows, serverOptions} from './grpc.js';

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
