import type {GenerationPlan} from '../shared/attemptPlan.js';
import type {ArtifactRecord, CheckpointRecord} from '../shared/checkpoint.js';
import type {Clock} from '../shared/clock.js';
import type {DatasetRecord} from '../shared/dataset.js';
import type {JobRecord} from '../shared/job.js';
import {errorChain, type Log} from '../shared/log.js';
import type {NodeRecord} from '../shared/observation.js';
import type {Keys} from './adapters/etcdKeys.js';
import {Backoff} from './backoff.js';
import type {Versioned} from './core/snapshot.js';
import {type Change, type KeyValueStore, WatchLostError} from './ports.js';
import {Records} from './records.js';
import {Topic, wakeUps} from './wake.js';

export interface ClusterStateParts {
  readonly store: KeyValueStore;
  readonly keys: Keys;
  readonly clock: Clock;
  readonly log: Log;
  /** A safety net below the watch: how often everything is listed anew. */
  readonly relistEveryMs?: number;
}

/** How long `reached` trusts the watch before it asks for a listing. */
const WATCH_PATIENCE_MS = 1000;

/**
 * The cluster's records as they lie in the store: listed at a revision, then followed from the next one on; listed again when the watch
 * was lost, and now and then. Reading is synchronous and the maps are live.
 */
export class ClusterState {
  readonly keys: Keys;
  private readonly records: Records;
  private readonly topic = new Topic();
  private revision = -1;
  private stopped = false;
  private relist = new AbortController();

  constructor(private readonly parts: ClusterStateParts) {
    this.keys = parts.keys;
    this.records = new Records(parts.keys, parts.log);
  }

  get jobs(): ReadonlyMap<string, Versioned<JobRecord>> {
    return this.records.jobs;
  }
  get nodes(): ReadonlyMap<string, Versioned<NodeRecord>> {
    return this.records.nodes;
  }
  get datasets(): ReadonlyMap<string, Versioned<DatasetRecord>> {
    return this.records.datasets;
  }
  /** Of each job, the plan of its newest attempt. */
  get newestPlans(): ReadonlyMap<string, GenerationPlan> {
    return this.records.newestPlans;
  }
  /** The jobs that have not ended. */
  get openJobs(): ReadonlyMap<string, Versioned<JobRecord>> {
    return this.records.openJobs;
  }
  /** Of each of them, the plan of its newest attempt. */
  get openPlans(): ReadonlyMap<string, GenerationPlan> {
    return this.records.openPlans;
  }
  /** Of each job, its committed checkpoints by step. */
  get checkpoints(): ReadonlyMap<string, readonly CheckpointRecord[]> {
    return this.records.checkpoints;
  }
  /** Of each job, by path. */
  get artifacts(): ReadonlyMap<string, readonly ArtifactRecord[]> {
    return this.records.artifacts;
  }
  plan(jobId: string, attempt: number): GenerationPlan | undefined {
    return this.records.plans.get(jobId)?.find(plan => plan.attempt === attempt);
  }
  /** The id of what a request created. */
  createdBy(requestId: string): string | undefined {
    return this.records.requests.get(requestId);
  }
  /** Whether there is a record at `key`, understood or not. */
  has(key: string): boolean {
    return this.records.has(key);
  }

  /** Whether every change up to `revision` is seen here. */
  shows(revision: number): boolean {
    return this.revision >= revision;
  }

  /** Resolves once everything was listed for the first time, or when `signal` aborts. */
  ready(signal: AbortSignal): Promise<void> {
    return this.until(() => this.shows(0), signal);
  }

  /** Resolves once this shows every change up to `revision`, when `signal` aborts, or when it stops following the store. */
  async reached(revision: number, signal?: AbortSignal): Promise<void> {
    const shown = () => this.shows(revision) || this.stopped;
    while (!shown() && !signal?.aborted) {
      const patience = AbortSignal.timeout(WATCH_PATIENCE_MS);
      await this.until(shown, signal === undefined ? patience : AbortSignal.any([patience, signal]));
      // The revision may be that of a change outside of our prefix, which the watch never shows: a listing does.
      if (!shown()) this.relist.abort();
    }
  }

  /** Calls back after each change. Returns how to stop that. */
  onChange(listener: () => void): () => void {
    return this.topic.subscribe(listener);
  }

  /** Yields at once and again after changes, coalesced, until `signal` aborts. */
  changes(signal: AbortSignal): AsyncIterable<void> {
    return wakeUps(this.topic, signal);
  }

  /** Keeps itself up to date until `signal` aborts. Outages of the store are waited out, and told once each. */
  async run(signal: AbortSignal): Promise<void> {
    await this.follow(signal);
    this.stopped = true;
    this.topic.publish();
  }

  private async follow(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.parts.clock);
    while (!signal.aborted) {
      try {
        await this.listAndFollow(signal, backoff);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof WatchLostError) {
          this.parts.log.info('the watch of the store was lost; listing anew', {reason: error.message});
          continue;
        }
        if (backoff.isFirst) this.parts.log.warn('the store does not answer; trying on', {error: errorChain(error)});
        await backoff.wait(signal);
      }
    }
  }

  private async listAndFollow(signal: AbortSignal, backoff: Backoff): Promise<void> {
    const {store, keys, log, relistEveryMs = 300_000} = this.parts;
    const {revision, entries} = await store.list(keys.prefix);
    if (!backoff.isFirst) log.info('the store answers again', {outageMs: Math.round(backoff.elapsedMs)});
    backoff.reset();
    this.records.replaceAll(entries);
    this.advance(revision);
    this.relist = new AbortController();
    const due = AbortSignal.any([signal, this.relist.signal, AbortSignal.timeout(relistEveryMs)]);
    for await (const changes of store.watch(keys.prefix, revision, due)) this.apply(changes);
  }

  private apply(changes: readonly Change[]): void {
    let revision = this.revision;
    for (const change of changes) {
      if (change.kind === 'put') this.records.put(change.entry);
      else this.records.delete(change.key);
      revision = Math.max(revision, change.kind === 'put' ? change.entry.modRevision : change.modRevision);
    }
    this.advance(revision);
  }

  private advance(revision: number): void {
    this.revision = revision;
    this.topic.publish();
  }

  private async until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    if (condition()) return;
    await new Promise<void>(resolve => {
      const look = () => {
        if (!condition() && !signal.aborted) return;
        unsubscribe();
        signal.removeEventListener('abort', look);
        resolve();
      };
      const unsubscribe = this.topic.subscribe(look);
      signal.addEventListener('abort', look);
      look();
    });
  }
}
