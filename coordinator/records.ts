import {z} from 'zod';
import {attemptPlanSchema, type GenerationPlan} from '../shared/attemptPlan.js';
import {type ArtifactRecord, artifactRecordSchema, type CheckpointRecord, checkpointRecordSchema} from '../shared/checkpoint.js';
import {type DatasetRecord, datasetRecordSchema} from '../shared/dataset.js';
import {type JobRecord, jobRecordSchema} from '../shared/job.js';
import type {Log} from '../shared/log.js';
import {type NodeRecord, nodeRecordSchema} from '../shared/observation.js';
import type {Keys} from './adapters/etcdKeys.js';
import type {Versioned} from './core/snapshot.js';
import type {Entry} from './ports.js';

interface Row<T> extends Versioned<T> {
  readonly createRevision: number;
}

/** The rows of one collection, in groups that share the first id of their keys (a job's checkpoints; a job alone). */
class Table<T> {
  private readonly groups = new Map<string, Map<string, Row<T>>>();

  /** `show` is called with a group's rows, in the order of their keys, whenever one of them changed. */
  constructor(
    private readonly schema: z.ZodType<T>,
    private readonly show: (group: string, rows: readonly Row<T>[]) => void,
  ) {}

  /** Returns what is wrong with the record, if anything; then the table is without it. */
  put(group: string, {key, value, modRevision, createRevision}: Entry): string | undefined {
    const parsed = this.schema.safeParse(jsonOrUndefined(value));
    if (!parsed.success) {
      this.delete(group, key);
      return z.prettifyError(parsed.error);
    }
    const rows = this.groups.get(group) ?? new Map<string, Row<T>>();
    this.groups.set(group, rows.set(key, {value: parsed.data, modRevision, createRevision}));
    this.changed(group);
    return undefined;
  }

  delete(group: string, key: string): void {
    if (this.groups.get(group)?.delete(key)) this.changed(group);
  }

  private changed(group: string): void {
    const rows = this.groups.get(group);
    if (rows?.size === 0) this.groups.delete(group);
    this.show(
      group,
      [...(rows ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row),
    );
  }
}

/**
 * The records behind `ClusterState`: a table a collection, and the views that each change keeps up to date. A record that cannot be
 * understood is told and left alone, in the store as here.
 */
export class Records {
  readonly jobs = new Map<string, Versioned<JobRecord>>();
  readonly nodes = new Map<string, Versioned<NodeRecord>>();
  readonly datasets = new Map<string, Versioned<DatasetRecord>>();
  readonly plans = new Map<string, readonly GenerationPlan[]>();
  readonly newestPlans = new Map<string, GenerationPlan>();
  /** Those of the jobs and newest plans whose job has not ended: all that decisions need, however many jobs there ever were. */
  readonly openJobs = new Map<string, Versioned<JobRecord>>();
  readonly openPlans = new Map<string, GenerationPlan>();
  readonly checkpoints = new Map<string, readonly CheckpointRecord[]>();
  readonly artifacts = new Map<string, readonly ArtifactRecord[]>();
  /** By request id, the id of what it created. */
  readonly requests = new Map<string, string>();

  /** Of every key, understood or not. */
  private readonly revisions = new Map<string, number>();

  private readonly tables = {
    jobs: new Table(jobRecordSchema, (id, rows) => {
      setOrDelete(this.jobs, id, rows[0]);
      this.showOpen(id);
    }),
    nodes: new Table(nodeRecordSchema, (id, rows) => setOrDelete(this.nodes, id, rows[0])),
    datasets: new Table(datasetRecordSchema, (id, rows) => setOrDelete(this.datasets, id, rows[0])),
    plans: new Table(attemptPlanSchema, (jobId, rows) => {
      const plans = rows.map(({value, createRevision}) => ({...value, generation: createRevision}));
      setOrDelete(this.plans, jobId, plans.length === 0 ? undefined : plans);
      setOrDelete(this.newestPlans, jobId, plans.at(-1));
      this.showOpen(jobId);
    }),
    checkpoints: new Table(checkpointRecordSchema, (jobId, rows) => setOrDelete(this.checkpoints, jobId, values(rows))),
    artifacts: new Table(artifactRecordSchema, (jobId, rows) => setOrDelete(this.artifacts, jobId, values(rows))),
  };

  constructor(
    private readonly keys: Keys,
    private readonly log: Log,
  ) {}

  private showOpen(jobId: string): void {
    const job = this.jobs.get(jobId);
    const isOpen = job !== undefined && job.value.status.phase !== 'ended';
    setOrDelete(this.openJobs, jobId, isOpen ? job : undefined);
    setOrDelete(this.openPlans, jobId, isOpen ? this.newestPlans.get(jobId) : undefined);
  }

  has(key: string): boolean {
    return this.revisions.has(key);
  }

  put(entry: Entry): void {
    if (this.revisions.get(entry.key) === entry.modRevision) return;
    this.revisions.set(entry.key, entry.modRevision);
    const [collection = '', group = ''] = this.keys.parts(entry.key) ?? [];
    if (collection === 'requests') this.requests.set(group, entry.value);
    const problem = this.table(collection)?.put(group, entry);
    if (problem !== undefined) this.log.error('a record cannot be understood and is left alone', {key: entry.key, problem});
  }

  delete(key: string): void {
    if (!this.revisions.delete(key)) return;
    const [collection = '', group = ''] = this.keys.parts(key) ?? [];
    if (collection === 'requests') this.requests.delete(group);
    this.table(collection)?.delete(group, key);
  }

  /** Makes the records those of a listing. */
  replaceAll(entries: readonly Entry[]): void {
    const listed = new Set(entries.map(entry => entry.key));
    for (const key of [...this.revisions.keys()]) if (!listed.has(key)) this.delete(key);
    for (const entry of entries) this.put(entry);
  }

  /** Undefined for what is not mirrored, such as the leader key. */
  private table(collection: string): Pick<Table<unknown>, 'put' | 'delete'> | undefined {
    return Object.hasOwn(this.tables, collection) ? this.tables[collection as keyof Records['tables']] : undefined;
  }
}

function values<T>(rows: readonly Row<T>[]): readonly T[] | undefined {
  return rows.length === 0 ? undefined : rows.map(row => row.value);
}

function setOrDelete<T>(map: Map<string, T>, key: string, value: T | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
