import type {Clock} from '../shared/clock.js';
import type {JournaledEvent, OutboxEvent} from '../shared/event.js';
import type {Progress} from '../shared/progress.js';
import {JobJournal} from './jobJournal.js';
import type {ConsumedRange, Figures} from './journalReplay.js';
import type {JournalFiles, Leadership} from './ports.js';

export interface JournalParts {
  readonly files: JournalFiles;
  readonly leadership: Leadership;
  readonly clock: Clock;
  /** How many journals are kept open when nobody uses them. */
  readonly openAtMost?: number;
}

export interface ReadOptions {
  /** Go on right after this sequence; 0: from the first event. */
  readonly afterSequence: number;
  /** Wait for more at the end, until `signal` aborts. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

/**
 * What ranks and agents said, by job: on disk before it is acknowledged, each event once, numbered from 1 without gaps (L7). Watchers read
 * the files and then follow; a slow one holds nothing up and fills no memory.
 */
export class Journal {
  /** Those used last are at the end. */
  private readonly open = new Map<string, Promise<JobJournal>>();

  constructor(private readonly parts: JournalParts) {}

  /**
   * Resolves once all events are on disk. Those that were there before, by node, outbox and sequence, are not written again; of each
   * outbox they must come in order. Throws `unavailable` when this process does not lead.
   */
  async append(nodeId: string, outboxId: string, events: readonly OutboxEvent[]): Promise<void> {
    const byJob = new Map<string, OutboxEvent[]>();
    for (const event of events) {
      const ofJob = byJob.get(event.jobId);
      if (ofJob === undefined) byJob.set(event.jobId, [event]);
      else ofJob.push(event);
    }
    await Promise.all([...byJob].map(async ([jobId, ofJob]) => (await this.opened(jobId)).append(nodeId, outboxId, ofJob)));
  }

  async *read(jobId: string, {afterSequence, follow, signal}: ReadOptions): AsyncGenerator<JournaledEvent> {
    yield* (await this.job(jobId)).read(afterSequence, follow, signal);
  }

  /** The sequence of the newest event; 0: there is none. */
  async lastSequence(jobId: string): Promise<number> {
    return (await this.job(jobId)).lastSequence;
  }

  async progress(jobId: string): Promise<Progress> {
    return (await this.job(jobId)).figures.progress;
  }

  /**
   * Waits until what the ranks of an attempt said that they consumed satisfies `condition`, or until `signal` aborts. Nothing is known of
   * an attempt once a newer one consumes. Returns whether it was satisfied.
   */
  async untilConsumed(
    jobId: string,
    attempt: number,
    condition: (ranges: readonly ConsumedRange[]) => boolean,
    signal: AbortSignal,
  ): Promise<boolean> {
    const satisfied = ({consumed}: Figures) => consumed.attempt === attempt && condition(consumed.ranges);
    const journal = await this.job(jobId);
    await journal.until(satisfied, signal);
    return satisfied(journal.figures);
  }

  async close(): Promise<void> {
    const journals = [...this.open.values()];
    this.open.clear();
    await Promise.all(journals.map(async journal => (await journal).close()));
  }

  /** As it is on disk now. */
  private async job(jobId: string): Promise<JobJournal> {
    const journal = await this.opened(jobId);
    await journal.refresh();
    return journal;
  }

  private opened(jobId: string): Promise<JobJournal> {
    const journal = this.open.get(jobId) ?? this.load(jobId);
    this.open.delete(jobId);
    this.open.set(jobId, journal);
    return journal;
  }

  private async load(jobId: string): Promise<JobJournal> {
    try {
      await this.closeLeastUsed();
      const {files, leadership, clock} = this.parts;
      const journal = new JobJournal(jobId, await files.open(jobId), leadership, clock);
      await journal.refresh();
      return journal;
    } catch (cause) {
      this.open.delete(jobId);
      throw new Error(`opening the journal of ${jobId}`, {cause});
    }
  }

  /** Ended jobs come to rest: what nobody uses is closed, the longest unused first. */
  private async closeLeastUsed(): Promise<void> {
    const surplus = this.open.size - (this.parts.openAtMost ?? 256);
    for (const [jobId, opening] of [...this.open].slice(0, Math.max(0, surplus))) {
      const journal = await opening;
      if (!journal.isIdle) continue;
      this.open.delete(jobId);
      await journal.close();
    }
  }
}
