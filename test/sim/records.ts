import {apply} from '../../coordinator/core/apply.js';
import type {Deliberation} from '../../coordinator/core/decide.js';
import {judgeSnapshot, judgeTransition} from '../../coordinator/core/invariants.js';
import type {Decision, NodeView, Snapshot, Versioned} from '../../coordinator/core/snapshot.js';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import type {CheckpointRecord} from '../../shared/checkpoint.js';
import type {DatasetRecord} from '../../shared/dataset.js';
import type {Instant} from '../../shared/ids.js';
import type {JobRecord} from '../../shared/job.js';
import {parseJobSpec} from '../../shared/jobSpec.js';

/** The precious state as etcd would hold it: records with revisions, guarded writes. Every change is held against the laws. */
export class Records {
  private revision = 1;
  private readonly jobs = new Map<string, Versioned<JobRecord>>();
  private readonly plans = new Map<string, GenerationPlan>();
  private readonly datasets = new Map<string, Versioned<DatasetRecord>>();
  private readonly checkpoints = new Map<string, readonly CheckpointRecord[]>();

  snapshot(nodes: ReadonlyMap<string, NodeView>): Snapshot {
    return {
      jobs: new Map(this.jobs),
      plans: new Map(this.plans),
      datasets: new Map(this.datasets),
      checkpoints: new Map(this.checkpoints),
      nodes: new Map(nodes),
    };
  }

  job(id: string): JobRecord {
    const job = this.jobs.get(id);
    if (job === undefined) throw new Error(`no job ${id}`);
    return job.value;
  }

  plan(jobId: string): GenerationPlan | undefined {
    return this.plans.get(jobId);
  }

  allJobs(): JobRecord[] {
    return [...this.jobs.values()].map(({value}) => value);
  }

  submit(id: string, spec: Record<string, unknown>, now: Instant): void {
    const parsed = parseJobSpec({model: {arch: 'yolov8n'}, ...spec});
    if (!parsed.ok) throw new Error(parsed.problems.map(problem => `${problem.path}: ${problem.message}`).join('; '));
    const datasetId = parsed.spec.data.replace('datasets/', '');
    this.putJob({
      id,
      spec: parsed.spec,
      requestId: id,
      datasetId,
      createdAt: now,
      cancelRequestedAt: null,
      status: {phase: 'queued'},
      attempts: [],
    });
  }

  cancel(id: string, now: Instant): void {
    const job = this.job(id);
    if (job.status.phase !== 'ended' && job.cancelRequestedAt === null) this.putJob({...job, cancelRequestedAt: now});
  }

  putDataset(id: string, status: DatasetRecord['status']): void {
    this.datasets.set(id, {
      value: {id, source: `/data/${id}.yaml`, requestId: id, fingerprint: id, skipBadSamples: false, createdAt: 0, status},
      modRevision: ++this.revision,
    });
  }

  /** Commits a checkpoint as the coordinator does: only of the attempt that may run. False when it may not. */
  commitCheckpoint(jobId: string, generation: number, checkpoint: CheckpointRecord): boolean {
    const job = this.job(jobId);
    const isActive = job.status.phase === 'staging' || job.status.phase === 'running';
    if (!isActive || job.cancelRequestedAt !== null || this.plans.get(jobId)?.generation !== generation) return false;
    const others = (this.checkpoints.get(jobId) ?? []).filter(other => other.step !== checkpoint.step);
    this.checkpoints.set(
      jobId,
      [...others, checkpoint].sort((a, b) => a.step - b.step),
    );
    this.revision++;
    return true;
  }

  checkpointsOf(jobId: string): readonly CheckpointRecord[] {
    return this.checkpoints.get(jobId) ?? [];
  }

  /** Carries out decisions as the loop does, each in one guarded transaction. Tells which were accepted. */
  commit({decisions, bugs}: Deliberation, decidedOn: Snapshot, now: Instant): Decision[] {
    for (const {error} of bugs) throw error;
    return decisions.filter(decision => this.commitOne(decision, decidedOn, now));
  }

  private commitOne(decision: Decision, decidedOn: Snapshot, now: Instant): boolean {
    const changes = apply(decision, decidedOn, now);
    if (this.jobs.get(changes.job.id)?.modRevision !== changes.jobModRevision) return false;
    const before = this.snapshot(decidedOn.nodes);
    this.putJob(changes.job);
    if (changes.plan !== undefined) this.plans.set(changes.job.id, {...changes.plan, generation: this.revision});
    const after = this.snapshot(decidedOn.nodes);
    const violations = [...judgeTransition(before, after), ...judgeSnapshot(after)];
    if (violations.length > 0) throw new Error(violations.map(({law, message}) => `${law}: ${message}`).join('; '));
    return true;
  }

  private putJob(job: JobRecord): void {
    this.jobs.set(job.id, {value: job, modRevision: ++this.revision});
  }
}

export function readyDataset(samples: number): DatasetRecord['status'] {
  const split = (name: 'train' | 'val') => ({name, samples, boxes: samples, backgrounds: 0, bytes: samples, shards: 1});
  return {
    state: 'ready',
    classNames: ['bag', 'boot'],
    splits: [split('train'), split('val')],
    indexDigest: 'd'.repeat(64),
    problems: [],
    problemCounts: {},
  };
}
