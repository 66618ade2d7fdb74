import {createHash} from 'node:crypto';
import {type CallContext, createServer, type Server, ServerError, Status} from 'nice-grpc';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {OutboxEvent} from '../../shared/event.js';
import {
  type AgentServiceClient,
  AgentServiceDefinition,
  type AgentServiceImplementation,
  type FetchCheckpointRequest,
  type FetchShardRequest,
  type SessionRequest,
  type SessionResponse,
  type UploadCheckpointRequest,
} from '../../shared/gen/tenfold/v1/agent.js';
import {clientFactory, openChannel, serverOptions} from '../../shared/grpc.js';
import type {NodeReport} from '../../shared/observation.js';
import {clientCredentials} from '../../shared/tls.js';
import {
  type AgentHello,
  desiredToProto,
  helloFromProto,
  outboxEventFromProto,
  reportFromProto,
  type UploadStart,
  uploadStartFromProto,
} from '../../shared/wire/agent.js';

/** What can go wrong with the next calls, in their order; undefined: nothing. */
export interface Fault {
  /** Of the fetches of this blob alone; undefined: of the next call. */
  readonly digest?: string;
  /** The link breaks after so many bytes of a fetch or an upload. */
  readonly breakAfterBytes?: number;
  /** The call is refused. */
  readonly refuse?: Status;
  /** Until this has come about, a fetch is not answered. */
  readonly answerAfter?: Promise<void>;
  /** A fetch is not answered at all. */
  readonly hangs?: boolean;
}

const CHUNK = 1000;

/** The coordinator's side of AgentService over real gRPC, for tests of an agent: it holds what it was told, and can be killed and misbehave. */
export class AgentServiceDouble {
  readonly hellos: AgentHello[] = [];
  readonly reports: NodeReport[] = [];
  /** Once each, in the order of their coming. */
  readonly events: OutboxEvent[] = [];
  /** The last sequence of each outbox. */
  private readonly known = new Map<string, number>();
  readonly blobs = new Map<string, Buffer>();
  readonly checkpointFiles = new Map<string, Buffer>();
  readonly fetches: string[] = [];
  readonly uploads: UploadStart[] = [];
  /** By `keyOf`. */
  readonly received = new Map<string, Buffer>();
  /** Names of uploads whose last file was verified. */
  readonly committed: string[] = [];
  readonly faults: (Fault | undefined)[] = [];
  /** Fetches that are not answered, and that their agent has not given up. */
  hanging = 0;
  leaderGeneration = 10;
  acknowledges = true;
  /** Commits only after so many more questions. */
  commitDelay = 0;

  private plans: readonly GenerationPlan[] = [];
  private readonly verified = new Set<string>();
  private server: Server | undefined;
  private port = 0;
  private tell: (() => void)[] = [];

  async start(): Promise<void> {
    this.server = createServer(serverOptions);
    this.server.add(AgentServiceDefinition, this.service());
    this.port = await this.server.listen(`127.0.0.1:${this.port}`);
  }

  /** As if it were killed: every stream breaks, nothing is said. */
  async kill(): Promise<void> {
    this.server?.forceShutdown();
    this.server = undefined;
  }

  get address(): {host: string; port: number} {
    return {host: '127.0.0.1', port: this.port};
  }

  client(): {client: AgentServiceClient; close(): void} {
    const channel = openChannel(`127.0.0.1:${this.port}`, clientCredentials(undefined));
    return {client: clientFactory.create(AgentServiceDefinition, channel), close: () => channel.close()};
  }

  want(...plans: GenerationPlan[]): void {
    this.plans = plans;
    this.tellAll();
  }

  addBlob(content: Buffer): string {
    const digest = createHash('sha256').update(content).digest('hex');
    this.blobs.set(digest, content);
    return digest;
  }

  get report(): NodeReport {
    return this.reports.at(-1) ?? {attempts: [], rendezvousPorts: []};
  }

  private tellAll(): void {
    for (const tell of this.tell) tell();
  }

  private service(): AgentServiceImplementation {
    return {
      session: (requests, context) => this.session(requests, context),
      uploadCheckpoint: requests => this.upload(requests),
      fetchShard: (request, context) => this.fetchShard(request, context),
      fetchCheckpoint: (request, context) => this.fetchCheckpoint(request, context),
    };
  }

  private async *session(requests: AsyncIterable<SessionRequest>, {signal}: CallContext): AsyncGenerator<SessionResponse> {
    let closed = false;
    let wake = (): void => {};
    const outgoing: SessionResponse[] = [];
    const push = (response: SessionResponse): void => {
      outgoing.push(response);
      wake();
    };
    const tell = (): void => push({message: {$case: 'desired', value: desiredToProto(this.leaderGeneration, this.plans)}});
    const listen = async (): Promise<void> => {
      const peer = {outboxId: ''};
      for await (const request of requests) for (const response of this.hear(request, peer)) push(response);
    };
    void listen()
      .catch(() => {})
      .finally(() => {
        closed = true;
        wake();
      });
    signal.addEventListener('abort', () => {
      closed = true;
      wake();
    });
    this.tell.push(tell);
    try {
      while (!closed || outgoing.length > 0) {
        const next = outgoing.shift();
        if (next !== undefined) {
          yield next;
          if (next.message?.$case === 'welcome') tell();
        } else
          await new Promise<void>(resolve => {
            wake = resolve;
          });
      }
    } finally {
      this.tell = this.tell.filter(other => other !== tell);
    }
  }

  private hear({message}: SessionRequest, peer: {outboxId: string}): SessionResponse[] {
    switch (message?.$case) {
      case 'hello': {
        const hello = helloFromProto(message.value);
        this.hellos.push(hello);
        this.reports.push(hello.report);
        peer.outboxId = hello.outboxId;
        const acknowledgedSequence = BigInt(this.known.get(hello.outboxId) ?? 0);
        const leaderGeneration = BigInt(this.leaderGeneration);
        return [{message: {$case: 'welcome', value: {leaderGeneration, coordinatorVersion: 'test', acknowledgedSequence}}}];
      }
      case 'report':
        this.reports.push(reportFromProto(message.value));
        return [];
      case 'events': {
        if (!this.acknowledges) return [];
        const known = this.known.get(peer.outboxId) ?? 0;
        const fresh = message.value.events.map(outboxEventFromProto).filter(({sequence}) => sequence > known);
        this.events.push(...fresh);
        const sequence = fresh.at(-1)?.sequence ?? known;
        this.known.set(peer.outboxId, sequence);
        return [{message: {$case: 'acknowledged', value: {sequence: BigInt(sequence)}}}];
      }
      default:
        throw new Error('an agent said nothing');
    }
  }

  private async *fetchShard({digest, offset}: FetchShardRequest, {signal}: CallContext): AsyncGenerator<{chunk: Buffer}> {
    this.fetches.push(`${digest.slice(0, 8)}@${offset}`);
    yield* this.send(this.blobs.get(digest), Number(offset), this.takeFault(digest), signal);
  }

  private async *fetchCheckpoint({fileName, offset}: FetchCheckpointRequest, {signal}: CallContext): AsyncGenerator<{chunk: Buffer}> {
    this.fetches.push(`${fileName}@${offset}`);
    yield* this.send(this.checkpointFiles.get(fileName), Number(offset), this.takeFault(), signal);
  }

  private takeFault(digest?: string): Fault | undefined {
    const index = this.faults.findIndex(fault => fault?.digest === undefined || fault.digest === digest);
    return index < 0 ? undefined : this.faults.splice(index, 1)[0];
  }

  private async *send(
    content: Buffer | undefined,
    offset: number,
    fault: Fault | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<{chunk: Buffer}> {
    await fault?.answerAfter;
    if (fault?.hangs === true) {
      this.hanging++;
      await new Promise(resolve => signal.addEventListener('abort', resolve));
      this.hanging--;
      return;
    }
    if (fault?.refuse !== undefined) throw new ServerError(fault.refuse, 'refused by the test');
    if (content === undefined) throw new ServerError(Status.NOT_FOUND, 'there is no such file');
    for (let at = offset; at < content.length; at += CHUNK) {
      if (at - offset >= (fault?.breakAfterBytes ?? Number.POSITIVE_INFINITY)) throw new ServerError(Status.UNAVAILABLE, 'the link broke');
      yield {chunk: content.subarray(at, at + CHUNK)};
    }
  }

  private async upload(
    requests: AsyncIterable<UploadCheckpointRequest>,
  ): Promise<{receivedBytes: bigint; fileVerified: boolean; committed: boolean}> {
    const fault = this.faults.shift();
    if (fault?.refuse !== undefined) throw new ServerError(fault.refuse, 'refused by the test');
    let start: UploadStart | undefined;
    let sent = 0;
    for await (const {part} of requests) {
      if (part?.$case === 'header') {
        start = uploadStartFromProto(part.value);
        this.uploads.push(start);
        continue;
      }
      const {offset} = start!;
      const here = this.received.get(keyOf(start!)) ?? Buffer.alloc(0);
      if (sent === 0 && offset !== here.length) throw new ServerError(Status.UNAVAILABLE, `${here.length} bytes are here`);
      this.received.set(keyOf(start!), Buffer.concat([here, part!.value as Uint8Array]));
      sent += (part!.value as Uint8Array).length;
      if (sent >= (fault?.breakAfterBytes ?? Number.POSITIVE_INFINITY)) throw new ServerError(Status.UNAVAILABLE, 'the link broke');
    }
    return this.settle(start!);
  }

  private settle(start: UploadStart): {receivedBytes: bigint; fileVerified: boolean; committed: boolean} {
    const {file, target} = start;
    const here = this.received.get(keyOf(start)) ?? Buffer.alloc(0);
    if (here.length < file.bytes) return {receivedBytes: BigInt(here.length), fileVerified: false, committed: false};
    if (createHash('sha256').update(here).digest('hex') !== file.sha256) {
      this.received.delete(keyOf(start));
      return {receivedBytes: 0n, fileVerified: false, committed: false};
    }
    this.verified.add(file.sha256);
    const files = target.kind === 'artifact' ? [file] : target.manifest.files;
    const isWhole = files.every(({sha256}) => this.verified.has(sha256));
    const committed = isWhole && this.commitDelay-- <= 0;
    const name = target.kind === 'artifact' ? file.name : `step ${target.manifest.step}`;
    if (committed && !this.committed.includes(name)) this.committed.push(name);
    return {receivedBytes: BigInt(here.length), fileVerified: true, committed};
  }
}

/** Files of other checkpoints, and newer versions of an artifact, are other files. */
function keyOf({file, target}: UploadStart): string {
  return target.kind === 'artifact' ? `${file.name}@${file.sha256}` : `${file.name}@${target.manifest.step}`;
}
