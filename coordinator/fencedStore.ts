import {DomainError, unavailable} from '../shared/errors.js';
import type {ClusterState} from './clusterState.js';
import {type Comparison, type Fence, type KeyValueStore, type Leadership, type Operation, WriteRefusedError} from './ports.js';

/** What a leader wants to change, all of it or none. */
export interface Commit {
  /** What it is for, as errors name it: `placing j7/2`. */
  readonly what: string;
  readonly comparisons: readonly Comparison[];
  readonly operations: readonly Operation[];
}

/** How often `update` and `createOnce` look again when somebody else wrote in between. */
const ATTEMPTS_AT_CONFLICT = 20;

/** The only way to write records: each write compares the leader key, so that a stale leader's is refused (L4). */
export class FencedStore {
  constructor(
    private readonly store: KeyValueStore,
    private readonly leadership: Leadership,
    private readonly state: ClusterState,
  ) {}

  /** The fence, or an `unavailable` DomainError when this process may not act now. */
  fence(): Fence {
    const fence = this.leadership.fence();
    if (fence === undefined) throw unavailable('this coordinator does not lead now');
    return fence;
  }

  /**
   * Commits when this process leads and every comparison holds, then waits until `ClusterState` shows it. False when a comparison failed:
   * the caller's view is old, and is up to date when this resolves. Throws `unavailable` when it is not known whether it was committed,
   * and `precondition` when the store will never take it.
   */
  async commit({what, comparisons, operations}: Commit): Promise<boolean> {
    const fence = this.fence();
    const fenced: Comparison[] = [{key: fence.key, target: 'create', revision: fence.revision}, ...comparisons];
    let result: {succeeded: boolean; revision: number};
    try {
      result = await this.store.transact(fenced, operations);
    } catch (cause) {
      throw cause instanceof WriteRefusedError ? refused(what, cause) : unavailable(`${what}: the store does not answer`, {cause});
    }
    await this.state.reached(result.revision);
    if (!result.succeeded && this.leadership.fence()?.revision !== fence.revision) throw unavailable(`${what}: leadership was lost`);
    return result.succeeded;
  }

  /**
   * Resolves once `ClusterState` shows everything that was committed until now, be it by a call whose answer was lost. Throws `unavailable`
   * while the store does not answer.
   */
  async catchUp(): Promise<void> {
    const asked = this.store.list(this.state.keys.leader).catch((cause: unknown) => {
      throw unavailable('looking what was committed: the store does not answer', {cause});
    });
    await this.state.reached((await asked).revision);
  }

  /**
   * Carries out a creation once, however often it is asked for (L1): `operations` together with the request's key, which remembers
   * `id`. Returns the id that the request created, now or earlier, or undefined when `absent`, the key to be created, exists already.
   */
  async createOnce(creation: {
    what: string;
    requestId: string;
    id: string;
    absent: string;
    operations: readonly Operation[];
  }): Promise<string | undefined> {
    const {what, requestId, id, absent, operations} = creation;
    const requestKey = this.state.keys.request(requestId);
    const comparisons: Comparison[] = [
      {key: requestKey, target: 'create', revision: 0},
      {key: absent, target: 'create', revision: 0},
    ];
    for (let attempt = 0; attempt < ATTEMPTS_AT_CONFLICT; attempt++) {
      const known = this.state.createdBy(requestId);
      if (known !== undefined) return known;
      if (this.state.has(absent)) return undefined;
      if (await this.commit({what, comparisons, operations: [{kind: 'put', key: requestKey, value: id}, ...operations]})) return id;
    }
    throw unavailable(`${what}: the store keeps changing`);
  }

  /**
   * Changes a record, guarded by its revision. `change` is called with the record as it is now, again after a conflict; when it returns
   * undefined nothing is written.
   */
  async update<T>(
    what: string,
    key: string,
    read: () => {readonly value: T; readonly modRevision: number} | undefined,
    change: (value: T) => T | undefined,
  ): Promise<T | undefined> {
    for (let attempt = 0; attempt < ATTEMPTS_AT_CONFLICT; attempt++) {
      const current = read();
      if (current === undefined) return undefined;
      const next = change(current.value);
      if (next === undefined) return current.value;
      const comparisons: Comparison[] = [{key, target: 'mod', revision: current.modRevision}];
      if (await this.commit({what, comparisons, operations: [{kind: 'put', key, value: JSON.stringify(next)}]})) return next;
    }
    throw unavailable(`${what}: the record keeps changing`);
  }
}

function refused(what: string, cause: WriteRefusedError): DomainError {
  const message = `${what}: the store does not take it (a record may have grown too large)`;
  return new DomainError({kind: 'precondition', message, type: 'WRITE_REFUSED', subject: what}, {cause});
}
