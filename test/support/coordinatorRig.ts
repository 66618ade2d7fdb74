import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {DirectoryStore} from '../../coordinator/adapters/directoryStore.js';
import {Keys} from '../../coordinator/adapters/etcdKeys.js';
import {DirectoryJournalFiles} from '../../coordinator/adapters/journalFiles.js';
import {MemoryStore} from '../../coordinator/adapters/memoryStore.js';
import {Checkpoints} from '../../coordinator/checkpoints.js';
import {ClusterState} from '../../coordinator/clusterState.js';
import {DEFAULT_POLICY} from '../../coordinator/core/snapshot.js';
import {FencedStore} from '../../coordinator/fencedStore.js';
import {Journal} from '../../coordinator/journal.js';
import {Loop} from '../../coordinator/loop.js';
import type {KeyValueStore} from '../../coordinator/ports.js';
import {RunArtifacts} from '../../coordinator/runArtifacts.js';
import {Sessions} from '../../coordinator/sessions.js';
import {Uploads} from '../../coordinator/uploads.js';
import {type Clock, systemClock} from '../../shared/clock.js';
import type {DatasetRecord} from '../../shared/dataset.js';
import type {JobRecord} from '../../shared/job.js';
import {parseJobSpec} from '../../shared/jobSpec.js';
import {type Log, silentLog} from '../../shared/log.js';
import {GivenLeadership} from './leadership.js';
import {RecordingLog} from './recordingLog.js';

/** The rooms of a coordinator put together over a given store, without gRPC and without processes; leadership is the test's to give. */
export class CoordinatorRig {
  readonly keys = new Keys('t');
  readonly leadership = new GivenLeadership(undefined, this.keys.leader);
  readonly state: ClusterState;
  readonly fenced: FencedStore;
  readonly journal: Journal;
  readonly objects: DirectoryStore;
  readonly checkpoints: Checkpoints;
  readonly uploads: Uploads;
  readonly sessions: Sessions;
  readonly log = new RecordingLog();
  readonly abort = new AbortController();
  private readonly running: Promise<void>[] = [];

  private constructor(
    readonly folder: string,
    readonly store: KeyValueStore,
    private readonly clock: Clock,
  ) {
    const {keys, leadership, log} = this;
    this.state = new ClusterState({store, keys, clock, log});
    this.fenced = new FencedStore(store, leadership, this.state);
    this.journal = new Journal({files: new DirectoryJournalFiles(folder), leadership, clock});
    this.objects = new DirectoryStore(folder);
    const {state, fenced, journal, objects} = this;
    this.checkpoints = new Checkpoints({state, fenced, leadership, objects, journal, clock, log, ledgerPatienceMs: 50});
    const artifacts = new RunArtifacts({state, fenced, objects, clock});
    this.uploads = new Uploads({state, leadership, objects, checkpoints: this.checkpoints, artifacts});
    this.sessions = new Sessions({state, fenced, leadership, journal, clock, log, coordinatorVersion: 'test'});
  }

  /** Mirroring `store` and leading. */
  static async start(store: KeyValueStore = new MemoryStore(), clock: Clock = systemClock): Promise<CoordinatorRig> {
    const rig = new CoordinatorRig(await mkdtemp(join(tmpdir(), 'tenfold-rig-')), store, clock);
    rig.running.push(rig.state.run(rig.abort.signal));
    await rig.lead();
    return rig;
  }

  /** Takes the leader key from whoever has it. */
  async lead(): Promise<number> {
    const {leader} = this.keys;
    await this.store.transact([], [{kind: 'delete', key: leader}]);
    const {revision} = await this.store.transact([], [{kind: 'put', key: leader, value: 'rig'}]);
    this.leadership.give(revision);
    await this.state.reached(revision);
    return revision;
  }

  startLoop(log: Log = silentLog): void {
    const {state, sessions, fenced, leadership, clock} = this;
    const loop = new Loop({state, sessions, fenced, leadership, clock, log, policy: DEFAULT_POLICY});
    this.running.push(loop.run(this.abort.signal));
  }

  async put(key: string, value: unknown): Promise<number> {
    const {revision} = await this.store.transact([], [{kind: 'put', key, value: JSON.stringify(value)}]);
    await this.state.reached(revision);
    return revision;
  }

  /** A data set that is ready, with so many samples to train on. */
  async addDataset(id: string, samples: number): Promise<void> {
    const split = (name: 'train' | 'val') => ({name, samples, boxes: samples, backgrounds: 0, bytes: 1, shards: 1});
    const record: DatasetRecord = {
      id,
      source: `/data/${id}/data.yaml`,
      requestId: id,
      fingerprint: id,
      skipBadSamples: false,
      createdAt: 0,
      status: {
        state: 'ready',
        classNames: ['a'],
        splits: [split('train'), split('val')],
        indexDigest: 'ab'.repeat(32),
        problems: [],
        problemCounts: {},
      },
    };
    await this.put(this.keys.dataset(id), record);
  }

  async addJob(id: string, spec: Record<string, unknown> = {}): Promise<JobRecord> {
    const parsed = parseJobSpec({data: 'datasets/d1', model: {arch: 'yolov8n'}, ...spec});
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
    const job: JobRecord = {
      id,
      spec: parsed.spec,
      requestId: id,
      datasetId: 'd1',
      createdAt: 0,
      cancelRequestedAt: null,
      status: {phase: 'queued'},
      attempts: [],
    };
    await this.put(this.keys.job(id), job);
    return job;
  }

  async stop(): Promise<void> {
    this.abort.abort();
    await Promise.all(this.running);
    await this.journal.close();
    await rm(this.folder, {recursive: true, force: true});
  }
}
