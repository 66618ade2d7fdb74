import type {Clock} from '../../shared/clock.js';
import type {Log} from '../../shared/log.js';
import type {ClusterState} from '../clusterState.js';
import type {Policy, Snapshot} from '../core/snapshot.js';
import type {DatasetRegistry} from '../datasets/registry.js';
import type {FencedStore} from '../fencedStore.js';
import type {Journal} from '../journal.js';
import type {Leadership, ObjectStore} from '../ports.js';

/** What the services work with. Reads come from the mirror and the journal; writes go through the fence. */
export interface ApiParts {
  readonly state: ClusterState;
  readonly store: FencedStore;
  readonly leadership: Leadership;
  readonly journal: Journal;
  readonly objects: ObjectStore;
  readonly datasets: DatasetRegistry;
  /** The cluster as decisions see it: the records with the live nodes. */
  readonly snapshot: () => Snapshot;
  readonly policy: Policy;
  readonly clock: Clock;
  readonly log: Log;
}
