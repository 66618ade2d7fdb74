import {
  CompareResult,
  CompareTarget,
  type Etcd3,
  GRPCInvalidArgumentError,
  GRPCResourceExhastedError,
  type ICompare,
  type IEvent,
  type IKeyValue,
  type IRequestOp,
  type IWatchResponse,
} from 'etcd3';
import type {Clock} from '../../shared/clock.js';
import {Backoff} from '../backoff.js';
import {type Change, type Comparison, type Entry, type KeyValueStore, type Operation, WatchLostError, WriteRefusedError} from '../ports.js';
import {prefixRange} from './etcdClient.js';

/** Entries of one answer: a job's record may have 10 KiB. */
const PAGE_ENTRIES = 500;

/** etcd as `KeyValueStore`. */
export class EtcdStore implements KeyValueStore {
  constructor(
    private readonly client: Etcd3,
    private readonly clock: Clock,
  ) {}

  async list(prefix: string): Promise<{revision: number; entries: Entry[]}> {
    const {key: first, range_end} = prefixRange(prefix);
    const entries: Entry[] = [];
    let revision = 0;
    for (let key = first, more = true; more; ) {
      // The later pages are read as of the first one's revision, so that together they are one moment.
      const page = await called('listing', this.client.kv.range({key, range_end, limit: PAGE_ENTRIES, revision}));
      if (revision === 0) revision = Number(page.header.revision);
      entries.push(...page.kvs.map(entryOf));
      more = page.more;
      key = Buffer.concat([page.kvs.at(-1)?.key ?? key, Buffer.from([0])]);
    }
    return {revision, entries};
  }

  async transact(comparisons: readonly Comparison[], operations: readonly Operation[]): Promise<{succeeded: boolean; revision: number}> {
    const request = {compare: comparisons.map(compareOf), success: operations.map(requestOf)};
    const {succeeded, header} = await called('committing', this.client.kv.txn(request));
    return {succeeded, revision: Number(header.revision)};
  }

  async *watch(prefix: string, afterRevision: number, signal: AbortSignal): AsyncGenerator<readonly Change[]> {
    let seen = afterRevision;
    const backoff = new Backoff(this.clock);
    while (!signal.aborted) {
      try {
        for await (const response of this.responses(prefix, seen + 1, signal)) {
          backoff.reset();
          if (response.canceled) throw new WatchLostError(reasonOf(response));
          if (response.events.length === 0) continue;
          seen = Math.max(...response.events.map(({kv}) => Number(kv.mod_revision)));
          yield response.events.map(changeOf);
        }
      } catch (error) {
        if (error instanceof WatchLostError) throw error;
        // The stream broke: etcd is away or restarts. From `seen` on nothing is lost.
      }
      await backoff.wait(signal);
    }
  }

  /** One watch on a stream of its own, from a revision on, until the stream breaks or `signal` aborts. */
  private async *responses(prefix: string, startRevision: number, signal: AbortSignal): AsyncGenerator<IWatchResponse> {
    const stream = await this.client.watchClient.watch();
    // An error after the reading has ended would else take down the process.
    stream.on('error', () => undefined);
    const cancel = () => stream.cancel();
    signal.addEventListener('abort', cancel, {once: true});
    try {
      stream.write({create_request: {...prefixRange(prefix), start_revision: startRevision}});
      // etcd3's type does not say that it is a readable stream of Node, of which reading in this way holds back the sender.
      yield* stream as unknown as AsyncIterable<IWatchResponse>;
    } finally {
      signal.removeEventListener('abort', cancel);
      stream.cancel();
    }
  }
}

async function called<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (cause) {
    throw isRefusal(cause) ? new WriteRefusedError(`${what} in etcd`, {cause}) : new Error(`${what} in etcd`, {cause});
  }
}

/** Of the exhausted resources, a full database and too many calls pass; a message over the server's limit does not. */
function isRefusal(cause: unknown): boolean {
  if (cause instanceof GRPCResourceExhastedError) return cause.message.includes('message larger than max');
  return cause instanceof GRPCInvalidArgumentError;
}

function entryOf(kv: IKeyValue): Entry {
  return {
    key: kv.key.toString(),
    value: kv.value.toString(),
    createRevision: Number(kv.create_revision),
    modRevision: Number(kv.mod_revision),
  };
}

function changeOf({type, kv}: IEvent): Change {
  // Over the wire the name is in capitals, whatever etcd3's type says.
  if (type.toUpperCase() === 'DELETE') return {kind: 'delete', key: kv.key.toString(), modRevision: Number(kv.mod_revision)};
  return {kind: 'put', entry: entryOf(kv)};
}

function compareOf({key, target, revision}: Comparison): ICompare {
  const common = {key: Buffer.from(key), result: CompareResult.Equal};
  return target === 'create'
    ? {...common, target: CompareTarget.Create, create_revision: revision}
    : {...common, target: CompareTarget.Mod, mod_revision: revision};
}

function requestOf(operation: Operation): IRequestOp {
  const key = Buffer.from(operation.key);
  if (operation.kind === 'delete') return {request_delete_range: {key}};
  return {request_put: {key, value: Buffer.from(operation.value), lease: operation.leaseId}};
}

function reasonOf({cancel_reason, compact_revision}: IWatchResponse): string {
  return cancel_reason || (Number(compact_revision) > 0 ? `compacted up to revision ${compact_revision}` : 'etcd ended it');
}
