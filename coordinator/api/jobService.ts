import type {CallContext} from 'nice-grpc';
import * as pb from '../../shared/gen/tenfold/v1/job.js';
import type {JobRecord} from '../../shared/job.js';
import {artifactToProto, checkpointsToProto, jobSpecToProto, jobStateOf} from '../../shared/wire/job.js';
import {explain} from '../core/explain.js';
import type {Versioned} from '../core/snapshot.js';
import {checkedSpec, createJob} from './createJob.js';
import {downloadArtifact} from './downloadArtifact.js';
import {JobViews} from './jobViews.js';
import {pageOf} from './opaqueToken.js';
import type {ApiParts} from './parts.js';
import {streamLogs} from './streamLogs.js';
import {untilLedElsewhere} from './untilLedElsewhere.js';
import {watchJob} from './watchJob.js';

/** JobService: each call in a few lines; what is more than that has a file of its own. */
export class JobService implements pb.JobServiceImplementation {
  private readonly views: JobViews;

  constructor(private readonly parts: ApiParts) {
    this.views = new JobViews(parts);
  }

  async createJob(request: pb.CreateJobRequest, {signal}: CallContext): Promise<pb.Job> {
    if (request.validateOnly) return pb.Job.fromPartial({spec: jobSpecToProto(checkedSpec(this.parts, request.spec))});
    const id = await createJob(this.parts, request, signal);
    return this.views.view(this.views.record(`jobs/${id}`));
  }

  async getJob(request: pb.GetJobRequest): Promise<pb.Job> {
    return this.views.view(this.views.record(request.name));
  }

  async listJobs(request: pb.ListJobsRequest): Promise<pb.ListJobsResponse> {
    const jobs = [...this.parts.state.jobs.values()].filter(({value}) => isListed(value, request)).sort(newestFirst);
    const {page, nextPageToken} = pageOf(jobs, request, {
      purpose: 'ListJobs',
      subject: [[...request.states].sort((a, b) => a - b).join(','), request.endedAfter?.toISOString() ?? ''].join(' ').trimEnd(),
      keyOf: ({value}) => sortKey(value),
      bytesOf: ({value}) => JSON.stringify(value).length,
      isAfter: ({value}, key) => sortKey(value) < key,
    });
    return {jobs: await this.views.views(page), nextPageToken};
  }

  async cancelJob(request: pb.CancelJobRequest): Promise<pb.Job> {
    const {state, store, clock} = this.parts;
    const {id} = this.views.record(request.name).value;
    await store.update(
      `cancelling jobs/${id}`,
      state.keys.job(id),
      () => state.jobs.get(id),
      job => cancelled(job, clock.now()),
    );
    return this.views.view(this.views.record(request.name));
  }

  async explainJob(request: pb.ExplainJobRequest): Promise<pb.ExplainJobResponse> {
    const {snapshot, clock, policy} = this.parts;
    const record = this.views.record(request.name);
    const {summary, history} = explain(record.value.id, snapshot(), clock.now(), policy);
    return {job: await this.views.view(record), summary, history: history.map(({at, text}) => ({time: new Date(at), text}))};
  }

  watchJob(request: pb.WatchJobRequest, {signal}: CallContext): AsyncGenerator<pb.WatchJobResponse> {
    const watch = (until: AbortSignal) => watchJob(this.parts, this.views, request, until);
    return request.noFollow ? watch(signal) : untilLedElsewhere(this.parts.leadership, signal, watch);
  }

  streamLogs(request: pb.StreamLogsRequest, {signal}: CallContext): AsyncGenerator<pb.StreamLogsResponse> {
    const stream = (until: AbortSignal) => streamLogs(this.parts, this.views, request, until);
    return request.follow ? untilLedElsewhere(this.parts.leadership, signal, stream) : stream(signal);
  }

  async listCheckpoints(request: pb.ListCheckpointsRequest): Promise<pb.ListCheckpointsResponse> {
    const {id} = this.views.record(request.parent).value;
    return {checkpoints: checkpointsToProto(id, this.parts.state.checkpoints.get(id) ?? [])};
  }

  async listArtifacts(request: pb.ListArtifactsRequest): Promise<pb.ListArtifactsResponse> {
    const {id} = this.views.record(request.parent).value;
    return {artifacts: (this.parts.state.artifacts.get(id) ?? []).map(artifact => artifactToProto(id, artifact))};
  }

  downloadArtifact(request: pb.DownloadArtifactRequest, {signal}: CallContext): AsyncGenerator<pb.DownloadArtifactResponse> {
    return downloadArtifact(this.parts, this.views, request, signal);
  }
}

type Row = Versioned<JobRecord>;

function isListed(job: JobRecord, {states, endedAfter}: pb.ListJobsRequest): boolean {
  if (states.length > 0 && !states.includes(jobStateOf(job))) return false;
  return endedAfter === undefined || job.status.phase !== 'ended' || job.status.at > endedAfter.getTime();
}

function newestFirst({value: a}: Row, {value: b}: Row): number {
  return sortKey(a) < sortKey(b) ? 1 : -1;
}

/** Orders jobs by age and, among those of one moment, by id: a page goes on after it even when the job itself is gone. */
function sortKey({createdAt, id}: JobRecord): string {
  return `${String(createdAt).padStart(15, '0')} ${id}`;
}

/** Undefined when there is nothing to change: the end of a job is final, and one request to cancel is as good as two. */
function cancelled(job: JobRecord, now: number): JobRecord | undefined {
  return job.status.phase === 'ended' || job.cancelRequestedAt !== null ? undefined : {...job, cancelRequestedAt: now};
}
