import {notFound} from '../../shared/errors.js';
import type * as pb from '../../shared/gen/tenfold/v1/job.js';
import {idFromResourceName} from '../../shared/ids.js';
import type {JobRecord} from '../../shared/job.js';
import {jobToProto} from '../../shared/wire/job.js';
import {standings} from '../core/explain.js';
import type {Versioned} from '../core/snapshot.js';
import type {ApiParts} from './parts.js';

/** Jobs as the API shows them: the record, its place in the queue, and its newest figures. */
export class JobViews {
  constructor(private readonly parts: ApiParts) {}

  /** The record that a resource name stands for. Throws NOT_FOUND. */
  record(name: string): Versioned<JobRecord> {
    const id = idFromResourceName('jobs', name);
    const record = id === undefined ? undefined : this.parts.state.jobs.get(id);
    if (record === undefined) throw notFound('job', id === undefined ? JSON.stringify(name.slice(0, 80)) : `jobs/${id}`);
    return record;
  }

  async view(record: Versioned<JobRecord>): Promise<pb.Job> {
    const [job] = await this.views([record]);
    return job!;
  }

  /** Several at the price of one look at the queue. */
  async views(records: readonly Versioned<JobRecord>[]): Promise<pb.Job[]> {
    const {snapshot, clock, policy, state, journal} = this.parts;
    const standing = standings(snapshot(), clock.now(), policy);
    return Promise.all(
      records.map(async ({value: job, modRevision}) => {
        const {waitingFor = [], queuePosition = 0} = standing.get(job.id) ?? {};
        const progress = job.attempts.length === 0 ? undefined : await journal.progress(job.id);
        return jobToProto(job, {modRevision, waitingFor, queuePosition, progress, planOf: attempt => state.plan(job.id, attempt)});
      }),
    );
  }
}
