import {type Change, type Comparison, type Entry, type KeyValueStore, type Operation, WatchLostError, WriteRefusedError} from '../ports.js';
import {Topic, wakeUps} from '../wake.js';

/** As in etcd, unless it was told otherwise. */
const LARGEST_TRANSACTION_BYTES = 1.5 * 1024 * 1024;

interface Committed {
  readonly revision: number;
  readonly changes: readonly Change[];
}

/** A `KeyValueStore` in memory, with etcd's revisions, for tests and the simulator. Nothing in it takes time. */
export class MemoryStore implements KeyValueStore {
  private revision = 1;
  private compacted = 0;
  private readonly entries = new Map<string, Entry>();
  private history: Committed[] = [];
  private readonly leases = new Map<string, Set<string>>();
  private readonly topic = new Topic();

  async list(prefix: string): Promise<{revision: number; entries: Entry[]}> {
    const entries = [...this.entries.values()].filter(({key}) => key.startsWith(prefix));
    return {revision: this.revision, entries: entries.sort((a, b) => (a.key < b.key ? -1 : 1))};
  }

  async transact(comparisons: readonly Comparison[], operations: readonly Operation[]): Promise<{succeeded: boolean; revision: number}> {
    const bytes = operations.reduce((sum, operation) => sum + (operation.kind === 'put' ? operation.value.length : 0), 0);
    if (bytes > LARGEST_TRANSACTION_BYTES) throw new WriteRefusedError(`a transaction of ${bytes} bytes`);
    if (!comparisons.every(comparison => this.holds(comparison))) return {succeeded: false, revision: this.revision};
    this.commit(operations);
    return {succeeded: true, revision: this.revision};
  }

  async *watch(prefix: string, afterRevision: number, signal: AbortSignal): AsyncGenerator<readonly Change[]> {
    let seen = afterRevision;
    for await (const _ of wakeUps(this.topic, signal)) {
      if (seen < this.compacted) throw new WatchLostError(`compacted up to revision ${this.compacted}`);
      const news = this.history.filter(({revision}) => revision > seen);
      seen = Math.max(seen, this.revision);
      for (const {changes} of news) {
        const visible = changes.filter(change => keyOf(change).startsWith(prefix));
        if (visible.length > 0) yield visible;
        if (signal.aborted) return;
      }
    }
  }

  /** Forgets the history up to a revision: watches that did not see it yet are lost. */
  compact(revision: number): void {
    this.compacted = revision;
    this.history = this.history.filter(committed => committed.revision > revision);
    this.topic.publish();
  }

  /** Ends a lease: all keys that were put with it go, in one revision. */
  endLease(leaseId: string): void {
    this.commit([...(this.leases.get(leaseId) ?? [])].map(key => ({kind: 'delete', key})));
  }

  private holds({key, target, revision}: Comparison): boolean {
    const entry = this.entries.get(key);
    return ((target === 'create' ? entry?.createRevision : entry?.modRevision) ?? 0) === revision;
  }

  /** As in etcd, a transaction that changes nothing makes no revision. */
  private commit(operations: readonly Operation[]): void {
    const effective = operations.filter(operation => operation.kind === 'put' || this.entries.has(operation.key));
    if (effective.length === 0) return;
    this.revision++;
    this.history.push({revision: this.revision, changes: effective.map(operation => this.change(operation))});
    this.topic.publish();
  }

  private change(operation: Operation): Change {
    const {key} = operation;
    for (const keys of this.leases.values()) keys.delete(key);
    if (operation.kind === 'delete') {
      this.entries.delete(key);
      return {kind: 'delete', key, modRevision: this.revision};
    }
    const {value, leaseId} = operation;
    const createRevision = this.entries.get(key)?.createRevision ?? this.revision;
    const entry: Entry = {key, value, createRevision, modRevision: this.revision};
    this.entries.set(key, entry);
    if (leaseId !== undefined) this.leases.set(leaseId, (this.leases.get(leaseId) ?? new Set()).add(key));
    return {kind: 'put', entry};
  }
}

function keyOf(change: Change): string {
  return change.kind === 'put' ? change.entry.key : change.key;
}
