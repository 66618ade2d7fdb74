import type {Readable} from 'node:stream';

/** What the coordinator needs from outside. Adapters fulfil these; tests and the simulator bring their own. */

export interface Entry {
  readonly key: string;
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
}

/** A transaction's condition. Revision 0: the key does not exist. */
export type Comparison =
  | {readonly key: string; readonly target: 'create'; readonly revision: number}
  | {readonly key: string; readonly target: 'mod'; readonly revision: number};

export type Operation =
  | {readonly kind: 'put'; readonly key: string; readonly value: string; readonly leaseId?: string}
  | {readonly kind: 'delete'; readonly key: string};

export type Change =
  | {readonly kind: 'put'; readonly entry: Entry}
  | {readonly kind: 'delete'; readonly key: string; readonly modRevision: number};

/** A linearisable key-value store with revisions: etcd, or its like in memory. Every call has a deadline; failures throw with `cause`. */
export interface KeyValueStore {
  list(prefix: string): Promise<{readonly revision: number; readonly entries: readonly Entry[]}>;
  /** All operations or, when a comparison fails, none. Throws `WriteRefusedError` when it is of no use to ask again. */
  transact(
    comparisons: readonly Comparison[],
    operations: readonly Operation[],
  ): Promise<{readonly succeeded: boolean; readonly revision: number}>;
  /**
   * Changes after `afterRevision`, whole revisions at a time, in order. Survives a restart of the store. Ends when `signal` aborts; throws
   * `WatchLostError` when it cannot go on without a gap, upon which the caller lists anew.
   */
  watch(prefix: string, afterRevision: number, signal: AbortSignal): AsyncIterable<readonly Change[]>;
}

/** The watch fell behind what the store remembers. List anew and go on from there. */
export class WatchLostError extends Error {}

/** The store will never take this write, however often it is asked: it is too large or malformed. */
export class WriteRefusedError extends Error {}

/** The leader key, and the revision that it was created with: what every write of a leader compares. */
export interface Fence {
  readonly key: string;
  readonly revision: number;
}

/** Holding the one leader key. */
export interface Leadership {
  /**
   * The fence while this process may act, by its own clock and without being told; otherwise undefined. It may lapse (the store does not
   * answer) and come back with the same revision, or with a newer one when another process may have led in between.
   */
  fence(): Fence | undefined;
  /** Whether another process is known to lead. While the store does not answer, nobody is known to. */
  ledByAnother(): boolean;
  /** Calls back when leadership was won, lapsed, came back, or went to another. Returns how to stop that. */
  onChange(listener: () => void): () => void;
}

/** Bulk storage: a directory, or S3. Keys are `/`-separated safe paths. */
export interface ObjectStore {
  /** Bytes of a complete object from `offset` on. Throws `ObjectNotFoundError`. */
  read(key: string, offset?: number): Readable;
  /** Undefined when there is no such object. */
  size(key: string): Promise<number | undefined>;
  /** Writes a small object whole: afterwards it is there with all its bytes on disk, or as before. */
  put(key: string, bytes: Uint8Array): Promise<void>;
  /** Appends to an object that is still being received, and tells how long it is then. It cannot be read until `complete`. */
  receive(key: string, offset: number, chunks: AsyncIterable<Uint8Array>): Promise<number>;
  /** How much of an unfinished object is there. */
  received(key: string): Promise<number>;
  /** Verifies size and SHA-256 of a received object and makes it readable; on a mismatch drops it and returns false. */
  complete(key: string, bytes: number, sha256: string): Promise<boolean>;
  /** Whether a readable object has this size and SHA-256, by reading it again. */
  verify(key: string, bytes: number, sha256: string): Promise<boolean>;
  /** Complete or unfinished; that there is none is well too. */
  delete(key: string): Promise<void>;
  /** Keys of readable objects. */
  list(prefix: string): Promise<string[]>;
  /** Keys of objects that are still being received, or whose sender went away. */
  listUnfinished(prefix: string): Promise<string[]>;
}

export class ObjectNotFoundError extends Error {}

/** Append-only files of lines, one a job. */
export interface JournalFiles {
  open(jobId: string): Promise<JournalFile>;
}

export interface JournalFile {
  /** Up to `length` bytes from `offset` on; fewer only at the end of the file. */
  read(offset: number, length: number): Promise<Uint8Array>;
  size(): Promise<number>;
  /** Appends, and resolves once the bytes survive a crash. After a failure, the file may hold any part of them. */
  append(bytes: Uint8Array): Promise<void>;
  /** Resolves once what lies in the file survives a crash, whoever appended it. */
  sync(): Promise<void>;
  close(): Promise<void>;
}
