import {randomUUID} from 'node:crypto';
import {type FileHandle, mkdir, open, readdir, rename, rm} from 'node:fs/promises';
import {join} from 'node:path';
import type {Clock} from '../shared/clock.js';
import type {EventOrigin, OutboxEvent} from '../shared/event.js';
import type {Log} from '../shared/log.js';
import type {AgentEvent, RankEvent} from '../shared/trainerContract.js';
import {idKeptIn, syncFolder} from './adapters/durableFiles.js';
import {
  DamagedSegmentError,
  firstOfSegmentName,
  parseOutboxLine,
  readLines,
  recoverSegment,
  type Segment,
  segmentName,
} from './adapters/outboxSegment.js';
import {NOTHING_THINNED, type ThinningPolicy, thin} from './core/thinning.js';
import type {EventLog} from './ports.js';

/**
 * Events on their way to the coordinator: numbered, on disk, and kept until acknowledged. They survive the agent, and training never
 * waits for the coordinator.
 *
 * An event is shown to readers only once it is synced, so a number that was ever sent is never given to another event. Writes are
 * batched by nature: what comes while a sync is under way goes into the next one.
 */
export interface OutboxOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly thinning?: ThinningPolicy;
  readonly segmentBytes?: number;
}

const MIB = 1024 * 1024;
const THINNING: ThinningPolicy = {thinAtBytes: 128 * MIB, fullAtBytes: 256 * MIB, intervalMs: 10_000};
const SEGMENT_BYTES = 4 * MIB;
const WRITE_RETRY_MS = 1000;
/** A disk that takes nothing must not keep the agent from stopping. */
const CLOSE_LIMIT_MS = 1500;

export class Outbox implements EventLog {
  private nextSequence: number;
  private acknowledgedSequence: number;
  private unwritten: {line: string; sequence: number}[] = [];
  private unwrittenBytes = 0;
  private writing: Promise<void> | undefined;
  private thinningState = NOTHING_THINNED;
  private listener: () => void = () => {};
  private readonly closing = new AbortController();
  private cursor = {sequence: 0, path: '', offset: 0};
  /** After a failure, when to try again to begin another segment (monotonic, ms). */
  private rotationDueAt = 0;

  private constructor(
    /** Names this spool: sequences of another one are other events. */
    readonly id: string,
    private readonly options: OutboxOptions,
    private readonly segments: Segment[],
    private active: FileHandle,
  ) {
    this.nextSequence = this.newest.last + 1;
    this.acknowledgedSequence = segments[0]!.first - 1;
  }

  /** Opens the spool in a folder with what an earlier agent left in it. A damaged one is put aside, and a new one begun. */
  static async open(options: OutboxOptions): Promise<Outbox> {
    try {
      return await Outbox.recover(options);
    } catch (error) {
      if (!(error instanceof DamagedSegmentError)) throw new Error(`opening the outbox in ${options.dir}`, {cause: error});
      const aside = `${options.dir}.damaged-${randomUUID().slice(0, 8)}`;
      options.log.error('the outbox is damaged: events that were not yet sent are lost; it is put aside', {error, aside});
      await rename(options.dir, aside);
      return await Outbox.recover(options);
    }
  }

  private static async recover(options: OutboxOptions): Promise<Outbox> {
    const {dir} = options;
    await mkdir(dir, {recursive: true});
    const id = await idKeptIn(join(dir, 'id'));
    const firsts = (await readdir(dir)).flatMap(name => firstOfSegmentName(name) ?? []).sort((a, b) => a - b);
    const segments: Segment[] = [];
    for (const first of firsts) {
      const expected = segments.length === 0 ? first : segments[segments.length - 1]!.last + 1;
      if (first !== expected) throw new DamagedSegmentError(`${dir}: events ${expected} to ${first - 1} are missing`);
      segments.push(await recoverSegment(join(dir, segmentName(first)), first));
    }
    if (segments.length === 0) segments.push({path: join(dir, segmentName(1)), first: 1, last: 0, bytes: 0});
    const active = await open(segments[segments.length - 1]!.path, 'a');
    await syncFolder(dir);
    return new Outbox(id, options, segments, active);
  }

  /** Sequence of the last event that is on disk. */
  get durable(): number {
    return this.newest.last;
  }

  /** Everything up to here is with the coordinator. */
  get acknowledged(): number {
    return this.acknowledgedSequence;
  }

  /** `listener` is called whenever there is more to read. */
  onDurable(listener: () => void): void {
    this.listener = listener;
  }

  append(origin: EventOrigin, type: RankEvent['type'], json: string): void {
    const source = `${origin.jobId}/${origin.attempt}/${origin.rank}`;
    const now = this.options.clock.monotonic();
    const {keep, state} = thin(this.thinningState, source, type, this.pendingBytes, now, this.options.thinning ?? THINNING);
    this.thinningState = state;
    if (!keep) return;
    this.noteDropped(origin);
    this.enqueue(origin, json);
  }

  /** After a time of thinning, says how much was left out. */
  private noteDropped(origin: EventOrigin): void {
    const {dropped} = this.thinningState;
    if (dropped === 0 || this.pendingBytes >= (this.options.thinning ?? THINNING).thinAtBytes) return;
    this.thinningState = NOTHING_THINNED;
    const line = `… ${dropped} progress events and log lines were dropped while the coordinator was away`;
    this.enqueue(origin, JSON.stringify({type: 'log', t: this.options.clock.now(), stream: 'stderr', line} satisfies AgentEvent));
  }

  private enqueue({jobId, attempt, generation, rank}: EventOrigin, json: string): void {
    const sequence = this.nextSequence++;
    const line = `${JSON.stringify({sequence, jobId, attempt, generation, rank, json} satisfies OutboxEvent)}\n`;
    this.unwritten.push({line, sequence});
    this.unwrittenBytes += line.length;
    this.writing ??= this.write();
  }

  /** Resolves when all that was appended is on disk. */
  async flush(): Promise<void> {
    await this.writing;
  }

  /** Writes what it can within a moment, and says what it could not. */
  async close(): Promise<void> {
    const flushed = new AbortController();
    await Promise.race([this.flush(), this.options.clock.sleep(CLOSE_LIMIT_MS, flushed.signal)]);
    flushed.abort();
    this.closing.abort();
    await this.flush();
    await this.active.close();
    if (this.unwritten.length > 0)
      this.options.log.error('the disk did not take the last events; they are lost', {events: this.unwritten.length});
  }

  /** The coordinator has everything up to `sequence` on its disk. */
  acknowledge(sequence: number): void {
    this.acknowledgedSequence = Math.max(this.acknowledgedSequence, Math.min(sequence, this.durable));
    while (this.segments.length > 1 && this.segments[0]!.last <= this.acknowledgedSequence) {
      const done = this.segments.shift()!;
      void rm(done.path, {force: true}).catch(error => this.options.log.warn('an outbox segment could not be removed', {error}));
    }
  }

  /** Events on disk after `sequence`, in order: about 256 KiB of them; none when there are no more. */
  async read(sequence: number): Promise<OutboxEvent[]> {
    const segment = this.segments.find(candidate => candidate.last > sequence);
    if (segment === undefined) return [];
    let offset = this.cursor.path === segment.path && this.cursor.sequence === sequence ? this.cursor.offset : 0;
    for (;;) {
      const {lines, nextOffset} = await readLines(segment, offset);
      if (lines.length === 0) return [];
      const events = lines.map(line => parseOutboxLine(line));
      const missing = events.indexOf(undefined);
      if (missing >= 0) throw new DamagedSegmentError(`${segment.path}: a line after byte ${offset} is not an event`);
      const later = events.filter((event): event is OutboxEvent => event !== undefined && event.sequence > sequence);
      offset = nextOffset;
      if (later.length === 0) continue;
      this.cursor = {sequence: later[later.length - 1]!.sequence, path: segment.path, offset};
      return later;
    }
  }

  private get newest(): Segment {
    return this.segments[this.segments.length - 1]!;
  }

  private get pendingBytes(): number {
    const written = this.segments.reduce((sum, segment) => sum + segment.bytes, 0);
    const isAllAcknowledged = this.acknowledgedSequence >= this.durable;
    return (isAllAcknowledged ? 0 : written) + this.unwrittenBytes;
  }

  private async write(): Promise<void> {
    while (this.unwritten.length > 0 && !this.closing.signal.aborted) {
      const batch = this.unwritten;
      this.unwritten = [];
      const data = Buffer.from(batch.map(({line}) => line).join(''));
      if (!(await this.writeBatch(data))) {
        this.unwritten = [...batch, ...this.unwritten];
        break;
      }
      this.unwrittenBytes = this.unwritten.reduce((sum, {line}) => sum + line.length, 0);
      this.newest.bytes += data.length;
      this.newest.last = batch[batch.length - 1]!.sequence;
      await this.rotateIfDue();
      this.listener();
    }
    // In the same turn as the look at what is unwritten: whatever comes later begins a new writing.
    this.writing = undefined;
  }

  /** Tries until the disk takes it: nothing is ever left out because a disk was full for a while. False: it was closed before. */
  private async writeBatch(data: Buffer): Promise<boolean> {
    const {log, clock} = this.options;
    for (let failures = 0; !this.closing.signal.aborted; failures++) {
      try {
        // What a failed try left must not be in the midst of the file.
        if (failures > 0) await this.active.truncate(this.newest.bytes);
        await this.active.appendFile(data);
        await this.active.datasync();
        return true;
      } catch (error) {
        log[failures === 0 ? 'error' : 'debug']('the outbox cannot be written; trying again', {error});
        await clock.sleep(WRITE_RETRY_MS, this.closing.signal);
      }
    }
    return false;
  }

  /** A segment that cannot be begun, for the disk is full or there are too many open files, is no reason to stop: the last one goes on. */
  private async rotateIfDue(): Promise<void> {
    const {clock, log, segmentBytes = SEGMENT_BYTES} = this.options;
    if (this.newest.bytes < segmentBytes || clock.monotonic() < this.rotationDueAt) return;
    try {
      await this.rotate();
    } catch (error) {
      log.warn('the outbox cannot begin another segment; it goes on with the last one', {error});
      this.rotationDueAt = clock.monotonic() + WRITE_RETRY_MS;
    }
  }

  private async rotate(): Promise<void> {
    const first = this.newest.last + 1;
    const path = join(this.options.dir, segmentName(first));
    const next = await open(path, 'a');
    try {
      await syncFolder(this.options.dir);
    } catch (error) {
      // What comes next goes into the last segment: an empty one of this name would then be out of order.
      await next.close().catch(() => {});
      await rm(path, {force: true}).catch(() => {});
      throw error;
    }
    const last = this.active;
    this.active = next;
    this.segments.push({path, first, last: first - 1, bytes: 0});
    this.acknowledge(this.acknowledgedSequence);
    // All that it holds is synced.
    await last.close().catch(() => {});
  }
}
