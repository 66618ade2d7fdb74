import type {Readable} from 'node:stream';
import type {GenerationPlan} from '../shared/attemptPlan.js';
import {Bell} from '../shared/bell.js';
import {type CheckpointManifest, type CheckpointRecord, compareCursors, type FileDigest} from '../shared/checkpoint.js';
import type {Clock} from '../shared/clock.js';
import {isUnavailable, notFound, unavailable} from '../shared/errors.js';
import {errorChain, type Log} from '../shared/log.js';
import {actingFence} from './acting.js';
import type {ClusterState} from './clusterState.js';
import {coveredUpTo, FIRST_CURSOR} from './core/ledger.js';
import {expiredCheckpoints} from './core/retention.js';
import type {NodeView} from './core/snapshot.js';
import {Exclusive} from './exclusive.js';
import type {FencedStore} from './fencedStore.js';
import type {Journal} from './journal.js';
import {objectKeys} from './objectKeys.js';
import type {Comparison, Leadership, ObjectStore} from './ports.js';
import {takeSnapshot} from './takeSnapshot.js';
import {uploadingAttempt} from './uploadingAttempt.js';

export interface CheckpointsParts {
  readonly state: ClusterState;
  readonly fenced: FencedStore;
  readonly leadership: Leadership;
  readonly objects: ObjectStore;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a commit waits for the ranks' last `consumed` events, which travel on another stream than the files. */
  readonly ledgerPatienceMs?: number;
}

const TRIES_AT_CONFLICT = 5;
const NO_NODES: ReadonlyMap<string, NodeView> = new Map();

/**
 * Commits, reads and clears checkpoints. One exists once its manifest is committed, for which every file is verified, the attempt is the
 * job's current one, and the journal tells of every sample before its cursor who consumed it (so that the committed history has no hole).
 */
export class Checkpoints {
  private readonly oneAtATime = new Exclusive();

  constructor(private readonly parts: CheckpointsParts) {}

  /** Whether the checkpoint is committed now. False while files or `consumed` events are missing: to be asked again. */
  commitIfComplete(plan: GenerationPlan, manifest: CheckpointManifest): Promise<boolean> {
    return this.oneAtATime.run(plan.jobId, async () => {
      const committed = this.find(plan.jobId, manifest.step);
      if (committed !== undefined && committed.attempt === plan.attempt) return true;
      if (!(await this.allFilesThere(plan, manifest)) || !(await this.isCovered(plan, manifest))) return false;
      if (!(await this.allFilesVerify(plan, manifest))) return false;
      await this.commit(plan, manifest, committed);
      await this.clear(plan);
      return true;
    });
  }

  /**
   * A file of a committed checkpoint, from an offset on. Whoever follows may not know of the checkpoint yet, or of an older one at the same
   * step, and the answer would condemn a good one for good: only the leader serves them.
   */
  read(jobId: string, step: number, fileName: string, offset: number): {file: FileDigest; bytes: Readable} {
    const {leadership, state} = this.parts;
    if (actingFence(leadership, state) === undefined) throw unavailable('this coordinator does not lead now');
    const checkpoint = this.find(jobId, step);
    const file = checkpoint?.files.find(({name}) => name === fileName);
    if (checkpoint === undefined || file === undefined) throw notFound('checkpoint', `jobs/${jobId}/checkpoints/${step}/${fileName}`);
    const key = objectKeys.checkpointFile(jobId, step, checkpoint.attempt, fileName);
    return {file, bytes: this.parts.objects.read(key, offset)};
  }

  /**
   * Clears, until `signal` aborts, what jobs that ended left of checkpoints that they did not live to commit: of each when it ends, and of
   * all when leadership begins, since others may have left them.
   */
  async run(signal: AbortSignal): Promise<void> {
    const {state, leadership} = this.parts;
    const bell = new Bell();
    const unsubscribe = [state, leadership].map(source => source.onChange(bell.ring));
    const uncleared = new Set<string>();
    let ledSince: number | undefined;
    while (!signal.aborted) {
      const fence = actingFence(leadership, state);
      const added = fence === undefined || fence.revision === ledSince ? state.openJobs : state.jobs;
      for (const jobId of added.keys()) uncleared.add(jobId);
      ledSince = fence?.revision ?? ledSince;
      for (const jobId of [...uncleared]) if (!signal.aborted && (await this.clearEnded(jobId))) uncleared.delete(jobId);
      await bell.wait(signal);
    }
    for (const stop of unsubscribe) stop();
  }

  private find(jobId: string, step: number): CheckpointRecord | undefined {
    return this.parts.state.checkpoints.get(jobId)?.find(checkpoint => checkpoint.step === step);
  }

  private async allFilesThere(plan: GenerationPlan, manifest: CheckpointManifest): Promise<boolean> {
    const sizes = await Promise.all(keysOf(plan, manifest).map(({key}) => this.parts.objects.size(key)));
    return manifest.files.every(({bytes}, i) => sizes[i] === bytes);
  }

  /** Reads all files again as they lie in the store, so that what is committed is what is there. One that differs is to be sent anew. */
  private async allFilesVerify(plan: GenerationPlan, manifest: CheckpointManifest): Promise<boolean> {
    const {objects, log} = this.parts;
    let good = true;
    for (const {key, file} of keysOf(plan, manifest)) {
      if (await objects.verify(key, file.bytes, file.sha256)) continue;
      log.warn('a file of a checkpoint differs from its digest and is dropped', {job: plan.jobId, key});
      await objects.delete(key);
      good = false;
    }
    return good;
  }

  private async isCovered(plan: GenerationPlan, {step, cursor}: CheckpointManifest): Promise<boolean> {
    const {journal, log, ledgerPatienceMs = 5000} = this.parts;
    const samples = this.trainSamples(plan);
    const start = plan.startFrom?.cursor ?? FIRST_CURSOR;
    const covered = await journal.untilConsumed(
      plan.jobId,
      plan.attempt,
      ranges => compareCursors(coveredUpTo(ranges, plan.ranks.length, samples, start), cursor) >= 0,
      AbortSignal.timeout(ledgerPatienceMs),
    );
    if (!covered) log.warn('a checkpoint waits for events of what was consumed', {job: plan.jobId, attempt: plan.attempt, step});
    return covered;
  }

  private trainSamples({datasetId}: GenerationPlan): number {
    const status = this.parts.state.datasets.get(datasetId)?.value.status;
    const split = status?.state === 'ready' ? status.splits.find(({name}) => name === 'train') : undefined;
    if (split === undefined) throw notFound('dataset', `datasets/${datasetId}`);
    return split.samples;
  }

  private async commit(plan: GenerationPlan, manifest: CheckpointManifest, older: CheckpointRecord | undefined): Promise<void> {
    const {state, fenced, clock, log} = this.parts;
    const {jobId, attempt} = plan;
    const record: CheckpointRecord = {...manifest, attempt, committedAt: clock.now()};
    const what = `committing the checkpoint of step ${manifest.step} of ${jobId}`;
    const operations = [{kind: 'put', key: state.keys.checkpoint(jobId, manifest.step), value: JSON.stringify(record)}] as const;
    for (let tries = 0; tries < TRIES_AT_CONFLICT; tries++) {
      const {job} = uploadingAttempt(state, plan);
      const comparisons = [{key: state.keys.job(jobId), target: 'mod', revision: job.modRevision}] as const;
      if (!(await fenced.commit({what, comparisons, operations}))) continue;
      log.info('checkpoint committed', {job: jobId, attempt, step: manifest.step, epoch: manifest.cursor.epoch, map50: manifest.map50});
      if (older !== undefined) await this.deleteFiles(jobId, older);
      return;
    }
    throw unavailable(`${what}: the record of the job keeps changing`);
  }

  /** That nothing could be cleared fails no commit: the next one clears. */
  private async clear(plan: GenerationPlan): Promise<void> {
    try {
      await this.clearExpired(plan.jobId);
      await this.clearLeftovers(plan);
    } catch (error) {
      this.parts.log.warn('old checkpoints could not be cleared', {job: plan.jobId, error: errorChain(error)});
    }
  }

  /** Records first, then files: what is a checkpoint has its files. */
  private async clearExpired(jobId: string): Promise<void> {
    const {state, fenced} = this.parts;
    const job = state.jobs.get(jobId);
    const expired = expiredCheckpoints(takeSnapshot(state, NO_NODES), jobId);
    if (job === undefined || expired.length === 0) return;
    // Were a plan placed meanwhile, it could start from one of these.
    const comparisons: Comparison[] = [{key: state.keys.job(jobId), target: 'mod', revision: job.modRevision}];
    const operations = expired.map(({step}) => ({kind: 'delete', key: state.keys.checkpoint(jobId, step)}) as const);
    if (!(await fenced.commit({what: `clearing checkpoints of ${jobId}`, comparisons, operations}))) return;
    for (const checkpoint of expired) await this.deleteFiles(jobId, checkpoint);
  }

  /**
   * What attempts before this one had uploaded of checkpoints that they did not live to commit. Later ones are not ours to judge: another
   * leader may have placed one by now.
   */
  private clearLeftovers({jobId, attempt}: GenerationPlan): Promise<void> {
    return this.deleteUncommitted(jobId, of => of < attempt);
  }

  /**
   * Whether there is nothing more to clear of the job: it has ended, after which no attempt of it can commit anything, and this process
   * could look. What fails is left to the next leader.
   */
  private async clearEnded(jobId: string): Promise<boolean> {
    const {state, leadership, log} = this.parts;
    const hasEnded = state.jobs.get(jobId)?.value.status.phase === 'ended';
    if (!hasEnded || actingFence(leadership, state) === undefined) return false;
    try {
      await this.oneAtATime.run(jobId, () => this.deleteUncommitted(jobId, () => true));
    } catch (error) {
      if (isUnavailable(error)) return false;
      log.warn('what an ended job left of checkpoints could not be cleared', {job: jobId, error: errorChain(error)});
    }
    return true;
  }

  /** A process that leads no more deletes nothing, and nobody what lies at a step whose record is not understood here. */
  private async deleteUncommitted(jobId: string, isDue: (attempt: number) => boolean): Promise<void> {
    const {objects, state, fenced} = this.parts;
    const prefix = objectKeys.checkpoints(jobId);
    for (const key of [...(await objects.list(prefix)), ...(await objects.listUnfinished(prefix))]) {
      const of = objectKeys.checkpointOf(key);
      if (of === undefined || !isDue(of.attempt)) continue;
      const committed = this.find(jobId, of.step);
      if (committed === undefined ? state.has(state.keys.checkpoint(jobId, of.step)) : committed.attempt === of.attempt) continue;
      fenced.fence();
      await objects.delete(key);
    }
  }

  private async deleteFiles(jobId: string, {step, attempt}: CheckpointRecord): Promise<void> {
    const {objects} = this.parts;
    for (const key of await objects.list(objectKeys.checkpoint(jobId, step, attempt))) await objects.delete(key);
  }
}

function keysOf({jobId, attempt}: GenerationPlan, {step, files}: CheckpointManifest): {key: string; file: FileDigest}[] {
  return files.map(file => ({file, key: objectKeys.checkpointFile(jobId, step, attempt, file.name)}));
}
