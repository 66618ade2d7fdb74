import {notFound} from '../../shared/errors.js';
import type * as pb from '../../shared/gen/tenfold/v1/job.js';
import {idFromResourceName} from '../../shared/ids.js';
import type {JobRecord} from '../../shared/job.js';
import {jobToProto, progressToProto} from '../../shared/wire/job.js';
import {standings} from '../core/explain.js';
import type {Versioned} from '../core/snapshot.js';
import {FinalProgress} from './finalProgress.js';
import type {ApiParts} from './parts.js';

type Standings = ReturnType<typeof standings>;

/** Jobs as the API shows them: the record, its place in the queue, and its newest figures. */
export class JobViews {
  private readonly finalProgress: FinalProgress;

  constructor(private readonly parts: ApiParts) {
    this.finalProgress = new FinalProgress(parts);
  }

  /** The record that a resource name stands for. Throws NOT_FOUND. */
  record(name: string): Versioned<JobRecord> {
    const id = idFromResourceName('jobs', name);
    const record = id === undefined ? undefined : this.parts.state.jobs.get(id);
    if (record === undefined) throw notFound('job', id === undefined ? JSON.stringify(name.slice(0, 80)) : `jobs/${id}`);
    return record;
  }

  async view(record: Versioned<JobRecord>): Promise<pb.Job> {
    return this.show(record, this.standings(), await this.progress(record));
  }

  /** Several at the price of one look at the queue. */
  views(records: readonly Versioned<JobRecord>[]): Promise<pb.Job[]> {
    const standings = this.standings();
    return Promise.all(records.map(async record => this.show(record, standings, await this.progress(record))));
  }

  private standings(): Standings {
    const {snapshot, clock, policy} = this.parts;
    return standings(snapshot(), clock.now(), policy);
  }

  private async progress({value: job}: Versioned<JobRecord>): Promise<pb.Progress | undefined> {
    if (job.attempts.length === 0) return undefined;
    if (job.status.phase === 'ended') return this.finalProgress.of(job);
    return progressToProto(await this.parts.journal.progress(job.id));
  }

  private show({value: job, modRevision}: Versioned<JobRecord>, standing: Standings, progress: pb.Progress | undefined): pb.Job {
    const {waitingFor = [], queuePosition = 0} = standing.get(job.id) ?? {};
    return jobToProto(job, {modRevision, waitingFor, queuePosition, progress, planOf: attempt => this.parts.state.plan(job.id, attempt)});
  }
}
