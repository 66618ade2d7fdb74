import {createHash} from 'node:crypto';
import {Readable} from 'node:stream';
import {ChannelCredentials} from '@grpc/grpc-js';
import {type Channel, createServer, type Server} from 'nice-grpc';
import {errorDetailsServerMiddleware} from 'nice-grpc-error-details';
import {afterEach, beforeEach, describe, expect, it} from 'vitest';
import {agentService} from '../../coordinator/api/agentService.js';
import {errorStatuses} from '../../coordinator/api/errors.js';
import {objectKeys} from '../../coordinator/objectKeys.js';
import {problemOf} from '../../shared/errors.js';
import {AgentServiceDefinition, type SessionRequest, type SessionResponse} from '../../shared/gen/tenfold/v1/agent.js';
import {CHUNK_BYTES, clientFactory, enlargeReceiveWindows, openChannel, serverOptions} from '../../shared/grpc.js';
import {silentLog} from '../../shared/log.js';
import {agentMessageToProto, uploadStartToProto} from '../../shared/wire/agent.js';
import {CoordinatorRig} from '../support/coordinatorRig.js';
import {IDLE} from '../support/scriptedAgent.js';

const patiently = {timeout: 20_000};
let rig: CoordinatorRig;
let server: Server;
let address: string;
let sessionCalls: number;
const channels: Channel[] = [];

beforeEach(async () => {
  rig = await CoordinatorRig.start();
  const {sessions, uploads, checkpoints, objects} = rig;
  enlargeReceiveWindows();
  server = createServer(serverOptions).use(errorDetailsServerMiddleware).use(errorStatuses(silentLog));
  const service = agentService({sessions, uploads, checkpoints, objects});
  sessionCalls = 0;
  server.add(AgentServiceDefinition, {
    ...service,
    session: (requests, context) => {
      sessionCalls++;
      return service.session(requests, context);
    },
  });
  address = `127.0.0.1:${await server.listen('127.0.0.1:0')}`;
});
afterEach(async () => {
  for (const channel of channels.splice(0)) channel.close();
  // Resolves only when every handler has ended: a leaked one fails the test by its time limit.
  await server.shutdown();
  await rig.stop();
});

function connect() {
  const channel = openChannel(address, ChannelCredentials.createInsecure());
  channels.push(channel);
  return {channel, client: clientFactory.create(AgentServiceDefinition, channel)};
}

const identity = {nodeId: 'node-a', hostname: 'a', agentVersion: '1', address: '127.0.0.1', devices: []};
const hello = agentMessageToProto({kind: 'hello', hello: {identity, outboxId: 'box', report: IDLE}});

/** Says `messages` and then nothing more, with the request stream left open. */
async function* thenSilent(...messages: SessionRequest[]): AsyncGenerator<SessionRequest> {
  yield* messages;
  await new Promise(() => undefined);
}

const isConnected = () => rig.sessions.nodeViews().get('node-a')?.connected;

describe('AgentService', () => {
  it('serves a session until the client aborts', async () => {
    const {client} = connect();
    const abort = new AbortController();
    const heard: SessionResponse[] = [];
    const session = (async () => {
      for await (const message of client.session(thenSilent(hello), {signal: abort.signal})) heard.push(message);
    })();
    await expect.poll(() => heard.map(({message}) => message?.$case), patiently).toEqual(['welcome', 'desired']);
    expect(isConnected()).toBe(true);
    abort.abort();
    await expect(session).rejects.toThrow('aborted');
    await expect.poll(isConnected, patiently).toBe(false);
  });

  it('notices a broken connection', async () => {
    const {channel, client} = connect();
    const session = (async () => {
      for await (const _ of client.session(thenSilent(hello)));
    })().catch(problemOf);
    await expect.poll(isConnected, patiently).toBe(true);
    channel.close();
    await session;
    await expect.poll(isConnected, patiently).toBe(false);
  });

  it('lets go of a client that opens a session, says nothing, and leaves', async () => {
    const {client} = connect();
    const abort = new AbortController();
    const session = (async () => {
      for await (const _ of client.session(thenSilent(), {signal: abort.signal}));
    })();
    await expect.poll(() => sessionCalls, patiently).toBe(1);
    abort.abort();
    await expect(session).rejects.toThrow('aborted');
  });

  it('says what is wrong with a malformed hello', async () => {
    const {client} = connect();
    const malformed: SessionRequest = structuredClone(hello);
    if (malformed.message?.$case === 'hello') malformed.message.value.nodeId = '../leader';
    const failing = (async () => {
      for await (const _ of client.session(thenSilent(malformed)));
    })();
    const problem = await failing.catch(problemOf);
    expect(problem).toMatchObject({kind: 'invalid', fields: [{path: 'hello.node_id'}]});
  });

  it('gives a shard from an offset on, in chunks, and says when there is none', async () => {
    const {client} = connect();
    const bytes = Buffer.alloc(3 * CHUNK_BYTES + 7, 'shard bytes ');
    const digest = createHash('sha256').update(bytes).digest('hex');
    await rig.objects.put(objectKeys.blob(digest), bytes);
    const chunks: Buffer[] = [];
    for await (const {chunk} of client.fetchShard({digest, offset: 1000n})) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(bytes.subarray(1000))).toBe(true);
    const missing = (async () => {
      for await (const _ of client.fetchShard({digest: '0'.repeat(64)}));
    })();
    expect(await missing.catch(problemOf)).toMatchObject({kind: 'notFound'});
  });

  it('says that there is no such checkpoint only where it leads, and knows of all that there are', async () => {
    const {client} = connect();
    const fetched = async () => {
      for await (const _ of client.fetchCheckpoint({jobId: 'j1', step: 5n, fileName: 'model.safetensors'}, {patienceMs: 0}));
    };
    const kindNow = async () => (await fetched().catch(problemOf))?.kind;
    expect(await kindNow()).toBe('notFound');
    rig.leadership.give(undefined, true);
    expect(await kindNow()).toBe('unavailable');
    // A leadership that the mirror has not seen yet: checkpoints of the leader before may be missing as well.
    rig.leadership.give(1_000_000);
    expect(await kindNow()).toBe('unavailable');
    await rig.lead();
    expect(await kindNow()).toBe('notFound');
  });

  it('tells an upload of a job that does not exist so, although chunks are on their way', async () => {
    const {client} = connect();
    const bytes = Buffer.alloc(8 * 1024 * 1024);
    const file = {name: 'results.csv', bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex')};
    const start = uploadStartToProto({jobId: 'nobody', attempt: 1, generation: 1, file, offset: 0, target: {kind: 'artifact'}});
    async function* requests() {
      yield {part: {$case: 'header', value: start}} as const;
      for await (const chunk of Readable.from(bytes, {highWaterMark: CHUNK_BYTES}))
        yield {part: {$case: 'chunk', value: chunk as Buffer}} as const;
    }
    expect(await client.uploadCheckpoint(requests()).catch(problemOf)).toMatchObject({kind: 'notFound'});
  });
});
