import {randomUUID} from 'node:crypto';
import {CompareResult, CompareTarget, type Etcd3, EtcdLeaseInvalidError} from 'etcd3';
import {z} from 'zod';
import type {Clock} from '../../shared/clock.js';
import {errorChain, type Log} from '../../shared/log.js';
import {Backoff} from '../backoff.js';
import type {Fence, Leadership} from '../ports.js';
import {Topic} from '../wake.js';

export interface EtcdLeadershipParts {
  readonly client: Etcd3;
  readonly key: string;
  /** As other candidates and people see it. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  /** After so long without a word of the leader, etcd lets another lead. At least 2: etcd takes no less. */
  readonly ttlSeconds?: number;
}

/** What the leader key holds. */
const holderSchema = z.object({name: z.string(), id: z.string()});
type Holder = z.infer<typeof holderSchema>;

interface Lease {
  readonly id: string;
  /** Monotonic time at sending of the call that granted it. */
  readonly sentAt: number;
}

/**
 * The one leader key, taken by creating it with a lease (never through etcd3's Election).
 *
 *     following -> leading <-> lapsed -> following
 *
 * Leading lasts until 0.7 TTL after the last good keepalive was *sent*, by the local monotonic clock: then this process stops acting without
 * being told. When etcd answers again and the lease is still alive, nobody else can have led in between, and the same fence comes back;
 * when the lease is gone, the key is to be won anew, with a newer revision. Running attempts do not care: their generation is their plan's.
 */
export class EtcdLeadership implements Leadership {
  private readonly id = randomUUID();
  private readonly topic = new Topic();
  private readonly ttlMs: number;
  private revision: number | undefined;
  private deadline = 0;
  private wasLeading = false;
  private another: string | undefined;

  constructor(private readonly parts: EtcdLeadershipParts) {
    this.ttlMs = (parts.ttlSeconds ?? 3) * 1000;
  }

  fence(): Fence | undefined {
    if (this.revision === undefined || this.parts.clock.monotonic() >= this.deadline) return undefined;
    return {key: this.parts.key, revision: this.revision};
  }

  ledByAnother(): boolean {
    return this.another !== undefined;
  }

  onChange(listener: () => void): () => void {
    return this.topic.subscribe(listener);
  }

  /** Strives for leadership until `signal` aborts, and then gives it up at once. */
  async run(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.parts.clock);
    while (!signal.aborted) {
      try {
        const held = await this.campaign(signal, backoff);
        if (held !== undefined) await this.hold(held, signal);
      } catch (error) {
        if (backoff.isFirst) this.parts.log.warn('etcd does not answer; trying on to lead', {error: errorChain(error)});
        await backoff.wait(signal);
      }
    }
  }

  /** Waits until the key is free and takes it. Undefined when `signal` aborts first. */
  private async campaign(signal: AbortSignal, backoff: Backoff): Promise<Lease | undefined> {
    while (!signal.aborted) {
      const holder = await this.holder();
      if (!backoff.isFirst) this.parts.log.info('etcd answers again');
      backoff.reset();
      this.noteAnother(holder?.id === this.id ? undefined : holder?.name);
      if (holder === undefined) {
        const lease = await this.take();
        if (lease !== undefined) return lease;
      } else await this.parts.clock.sleep(this.ttlMs / 10, signal);
    }
    return undefined;
  }

  /** Who has the key; undefined: nobody. Our own key whose making was never answered counts as had by us: its lease ends by itself. */
  private async holder(): Promise<Holder | undefined> {
    const {kvs} = await this.parts.client.kv.range({key: Buffer.from(this.parts.key)});
    return kvs[0] && parseHolder(kvs[0].value.toString());
  }

  private async take(): Promise<Lease | undefined> {
    const {client, key, name, clock, log} = this.parts;
    const sentAt = clock.monotonic();
    const {ID: id} = await client.leaseClient.leaseGrant({TTL: this.ttlMs / 1000});
    const holder: Holder = {name, id: this.id};
    const value = Buffer.from(JSON.stringify(holder));
    const {succeeded, header} = await client.kv.txn({
      compare: [{key: Buffer.from(key), target: CompareTarget.Create, result: CompareResult.Equal, create_revision: 0}],
      success: [{request_put: {key: Buffer.from(key), value, lease: id}}],
    });
    if (!succeeded) {
      await client.leaseClient.leaseRevoke({ID: id});
      return undefined;
    }
    this.revision = Number(header.revision);
    log.info('leading', {name, revision: this.revision});
    this.extend(sentAt);
    return {id, sentAt};
  }

  /** Keeps the lease alive until it is lost or `signal` aborts. */
  private async hold(lease: Lease, signal: AbortSignal): Promise<void> {
    const {clock, log} = this.parts;
    const everyMs = this.ttlMs / 4;
    while (!signal.aborted) {
      const sentAt = clock.monotonic();
      const outcome = await this.keepAlive(lease.id, everyMs);
      if (outcome === 'gone') {
        log.warn('leadership was lost: the lease has ended');
        return this.drop();
      }
      if (outcome !== 'kept') this.noteLapse(outcome);
      else if (this.extend(sentAt)) log.info('etcd answers again; leading on', {revision: this.revision});
      await clock.sleep(outcome === 'kept' ? everyMs - (clock.monotonic() - sentAt) : everyMs / 4, signal);
    }
    this.drop();
    await this.resign(lease);
  }

  /** One keepalive on a stream of its own, so that a broken one is noticed by its own deadline. */
  private async keepAlive(leaseId: string, deadlineMs: number): Promise<'kept' | 'gone' | Error> {
    try {
      const stream = await this.parts.client.leaseClient.leaseKeepAlive({deadline: Date.now() + deadlineMs});
      const ttl = await new Promise<number>((resolve, reject) => {
        stream.on('data', ({TTL}) => resolve(Number(TTL)));
        stream.on('end', () => reject(new Error('etcd ended the keepalive')));
        stream.on('error', reject);
        stream.write({ID: leaseId});
      });
      stream.end();
      return ttl > 0 ? 'kept' : 'gone';
    } catch (error) {
      return error instanceof EtcdLeaseInvalidError ? 'gone' : (error as Error);
    }
  }

  private async resign({id}: Lease): Promise<void> {
    try {
      await this.parts.client.leaseClient.leaseRevoke({ID: id}, {deadline: Date.now() + 1000});
    } catch (error) {
      this.parts.log.info('leadership could not be given up; it ends by itself', {error: errorChain(error)});
    }
  }

  /** Returns whether leadership (re)begins with it. */
  private extend(sentAt: number): boolean {
    // A lapse between two keepalives went unnoted: those who saw no fence meanwhile wait to be told that it is back.
    const hadLapsed = this.fence() === undefined;
    this.deadline = sentAt + 0.7 * this.ttlMs;
    if (this.fence() === undefined || (this.wasLeading && !hadLapsed)) return false;
    this.wasLeading = true;
    this.topic.publish();
    return true;
  }

  private noteLapse(error: Error): void {
    if (!this.wasLeading || this.fence() !== undefined) return;
    this.wasLeading = false;
    this.parts.log.warn('leadership lapsed: etcd does not answer', {error: errorChain(error)});
    this.topic.publish();
  }

  private drop(): void {
    this.revision = undefined;
    this.wasLeading = false;
    this.topic.publish();
  }

  private noteAnother(name: string | undefined): void {
    if (name === this.another) return;
    this.another = name;
    if (name !== undefined) this.parts.log.info('another coordinator leads', {name});
    this.topic.publish();
  }
}

function parseHolder(text: string): Holder {
  try {
    return holderSchema.parse(JSON.parse(text));
  } catch {
    return {name: 'an unknown process', id: ''};
  }
}
