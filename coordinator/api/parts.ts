import type {Clock} from '../../shared/clock.js';
import type {DatasetRecord} from '../../shared/dataset.js';
import type {ClusterState} from '../clusterState.js';
import type {Policy, Snapshot} from '../core/snapshot.js';
import type {FencedStore} from '../fencedStore.js';
import type {Journal} from '../journal.js';
import type {ObjectStore} from '../ports.js';

/** What the services work with. Reads come from the mirror and the journal; writes go through the fence. */
export interface ApiParts {
  readonly state: ClusterState;
  readonly store: FencedStore;
  readonly journal: Journal;
  readonly objects: ObjectStore;
  readonly datasets: DatasetRegistry;
  /** The cluster as decisions see it: the records with the live nodes. */
  readonly snapshot: () => Snapshot;
  readonly policy: Policy;
  readonly clock: Clock;
}

/** Registers data sets. */
export interface DatasetRegistry {
  /**
   * Starts to register the data set of a data.yaml, or gives the one that the same request, or the same source unchanged, made before.
   * Throws a DomainError when the source or the id will not do.
   */
  create(request: {
    readonly id?: string;
    readonly source: string;
    readonly requestId: string;
    /** Leave samples with problems out, instead of refusing the data set. */
    readonly skipBadSamples?: boolean;
  }): Promise<DatasetRecord>;
  /** How far the scan is, while this process is at it. */
  scan(id: string): {readonly done: number; readonly total: number} | undefined;
}
