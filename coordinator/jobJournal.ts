import {Bell} from '../shared/bell.js';
import type {Clock} from '../shared/clock.js';
import {unavailable} from '../shared/errors.js';
import type {JournaledEvent, OutboxEvent} from '../shared/event.js';
import {parseRankEvent} from '../shared/event.js';
import {Exclusive} from './exclusive.js';
import {
  type EventLine,
  eventLineText,
  type Figures,
  foldFigures,
  journaledEvent,
  leaderMark,
  NO_FIGURES,
  type Position,
  START,
  step,
} from './journalReplay.js';
import type {JournalFile, Leadership} from './ports.js';
import {Topic, wakeUps} from './wake.js';

const READ_BYTES = 256 * 1024;
/** A reader that begins in the middle reads at most so many events in vain. */
const INDEX_EVERY_EVENTS = 512;
const NEWLINE = 10;

interface Append {
  readonly nodeId: string;
  readonly outboxId: string;
  readonly events: readonly OutboxEvent[];
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** A place in the file, at the beginning of a line. */
interface Place {
  readonly offset: number;
  readonly position: Position;
}

/**
 * One job's events on disk. Appends that come while the disk is busy share the next write and its fsync. Everything is folded from the
 * file, so that after a failure or a change of leader it is simply read on.
 */
export class JobJournal {
  /** Up to here the lines are on disk and folded. */
  private end: Place = {offset: 0, position: START};
  private index: Place[] = [this.end];
  private figures_ = NO_FIGURES;
  /** Per node and outbox, the newest sequence that is on disk. */
  private readonly seen = new Map<string, number>();
  /** The leader that put its mark last; undefined: nobody of this process, or a write failed since. */
  private writer: number | undefined;
  /** The leadership of ours under which the file was read to its end: since then nobody else can have added what counts. */
  private readUnder: number | undefined;
  /** Reading on and writing move `end`: one at a time. */
  private readonly turns = new Exclusive();
  private readonly waiting: Append[] = [];
  private writing: Promise<void> | undefined;
  private readonly grown = new Topic();
  private readers = 0;

  constructor(
    private readonly jobId: string,
    private readonly file: JournalFile,
    private readonly leadership: Leadership,
    private readonly clock: Clock,
  ) {}

  get figures(): Figures {
    return this.figures_;
  }

  get lastSequence(): number {
    return this.end.position.sequence;
  }

  /** Nobody reads or writes it at the moment. */
  get isIdle(): boolean {
    return this.readers === 0 && this.writing === undefined;
  }

  /** Resolves once `condition` holds, looked at after each growth, or when `signal` aborts. */
  async until(condition: (figures: Figures) => boolean, signal: AbortSignal): Promise<void> {
    this.readers++;
    try {
      for await (const _ of wakeUps(this.grown, signal)) if (condition(this.figures_)) return;
    } finally {
      this.readers--;
    }
  }

  /**
   * Reads on, unless this process leads and has read everything that was there before it led. Otherwise another one may have written, be it
   * known to lead already or not. What is read is made durable first: nothing may be shown that a crash could take back.
   */
  async refresh(): Promise<void> {
    this.readers++;
    try {
      const leader = this.leadership.fence()?.revision;
      if (leader !== undefined && leader === this.readUnder) return;
      await this.turns.run('', async () => {
        await this.file.sync();
        await this.readOn();
        this.readUnder = leader;
      });
    } finally {
      this.readers--;
    }
  }

  /** Reads the file from where it was read before up to its end. */
  private async readOn(): Promise<void> {
    for await (const {place, line} of this.linesFrom(this.end, Number.POSITIVE_INFINITY)) this.take(place, line);
    this.grown.publish();
  }

  /**
   * Resolves once every event is on disk, those that were there before included (they are not written again). Throws `unavailable` when
   * this process does not lead; then, and after a failure of the disk, the caller may send them again.
   */
  append(nodeId: string, outboxId: string, events: readonly OutboxEvent[]): Promise<void> {
    return new Promise((done, failed) => {
      this.waiting.push({nodeId, outboxId, events, done, failed});
      this.writing ??= this.writeWaiting().finally(() => {
        this.writing = undefined;
      });
    });
  }

  /** Events after `afterSequence`, those on disk first; then, when following, new ones as they come, until `signal` aborts. */
  async *read(afterSequence: number, follow: boolean, signal: AbortSignal): AsyncGenerator<JournaledEvent> {
    const bell = new Bell();
    const unsubscribe = this.grown.subscribe(bell.ring);
    this.readers++;
    try {
      let at = this.placeBefore(afterSequence);
      while (!signal.aborted) {
        for await (const {place, line} of this.linesFrom(at, this.end.offset)) {
          at = place;
          if (line !== undefined && line.sequence > afterSequence) yield journaledEvent(this.jobId, line);
          if (signal.aborted) return;
        }
        if (!follow) return;
        if (at.offset >= this.end.offset) await bell.wait(signal);
      }
    } finally {
      this.readers--;
      unsubscribe();
    }
  }

  close(): Promise<void> {
    return this.file.close();
  }

  private async writeWaiting(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0);
      try {
        await this.turns.run('', () => this.write(batch));
        for (const {done} of batch) done();
      } catch (error) {
        // What lies in the file now is not known: the next write puts a new mark and reads on from the last known place.
        this.writer = undefined;
        this.readUnder = undefined;
        for (const {failed} of batch) failed(error);
      }
    }
  }

  private async write(batch: readonly Append[]): Promise<void> {
    const leader = this.leader();
    if (this.writer !== leader) await this.takeOver(leader);
    const lines = this.newLines(batch, leader);
    const texts = lines.map(line => Buffer.from(eventLineText(line)));
    if (texts.length > 0) await this.file.append(Buffer.concat(texts));
    // Had another taken over before the lines were on disk, they would count for nobody: they must be neither shown nor acknowledged.
    if (this.leader() !== leader) throw unavailable('leadership changed while events were written');
    if (lines.length === 0) return;
    const bytes = texts.reduce((sum, text) => sum + text.length, 0);
    // A former leader may have written between our lines. What it wrote does not count, but it is there.
    if ((await this.file.size()) !== this.end.offset + bytes) return this.readOn();
    lines.forEach((line, i) => {
      this.take({offset: this.end.offset + texts[i]!.length, position: {sequence: line.sequence, leader}}, line);
    });
    this.grown.publish();
  }

  private leader(): number {
    const fence = this.leadership.fence();
    if (fence === undefined) throw unavailable('this coordinator does not lead now');
    return fence.revision;
  }

  /** The order matters: first the mark, then reading what is before it. */
  private async takeOver(leader: number): Promise<void> {
    this.refuseOlderEtcd(leader);
    const size = await this.file.size();
    const last = size === 0 ? undefined : (await this.file.read(size - 1, 1))[0];
    const torn = last !== undefined && last !== NEWLINE;
    await this.file.append(Buffer.from(`${torn ? '\n' : ''}${leaderMark(leader)}`));
    await this.readOn();
    this.refuseOlderEtcd(leader);
    this.writer = leader;
    this.readUnder = leader;
  }

  /**
   * A greater mark than that of whoever leads now: etcd forgot revisions. What is written under the lesser one would be acknowledged, and
   * count for nobody.
   */
  private refuseOlderEtcd(leader: number): void {
    const {leader: marked} = this.end.position;
    if (marked <= leader || this.leader() !== leader) return;
    throw new Error(
      `the journal of ${this.jobId} has the mark of leader ${marked}, and this one's revision is only ${leader}: etcd was restored from a ` +
        `snapshot or made anew; restore it with revisions that go on above ${marked} (etcdutl snapshot restore --bump-revision … --mark-compacted)`,
    );
  }

  /** The events that are not in the journal yet, numbered on. */
  private newLines(batch: readonly Append[], leader: number): EventLine[] {
    const lines: EventLine[] = [];
    const seen = new Map(this.seen);
    let sequence = this.lastSequence;
    for (const {nodeId, outboxId, events} of batch) {
      for (const {sequence: outboxSequence, attempt, generation, rank, json} of events) {
        const sender = `${nodeId}/${outboxId}`;
        if (outboxSequence <= (seen.get(sender) ?? 0)) continue;
        seen.set(sender, outboxSequence);
        const event = parseRankEvent(json, this.clock.now());
        lines.push({sequence: ++sequence, leader, node: nodeId, outbox: outboxId, outboxSequence, attempt, generation, rank, event});
      }
    }
    return lines;
  }

  private take(place: Place, line: EventLine | undefined): void {
    this.end = place;
    if (line === undefined) return;
    this.seen.set(`${line.node}/${line.outbox}`, line.outboxSequence);
    this.figures_ = foldFigures(this.figures_, line);
    if (line.sequence - this.index.at(-1)!.position.sequence >= INDEX_EVERY_EVENTS) this.index.push(place);
  }

  private placeBefore(sequence: number): Place {
    return this.index.findLast(place => place.position.sequence <= sequence) ?? this.index[0]!;
  }

  /** Complete lines from `start` up to `limit`, each with the place after it. What is after the last line break is left for later. */
  private async *linesFrom(start: Place, limit: number): AsyncGenerator<{place: Place; line: EventLine | undefined}> {
    let {offset, position} = start;
    let carried: Buffer = Buffer.alloc(0);
    while (offset + carried.length < limit) {
      const wanted = Math.min(READ_BYTES, limit - offset - carried.length);
      const bytes = await this.file.read(offset + carried.length, wanted);
      if (bytes.length === 0) return;
      let rest = Buffer.concat([carried, bytes]);
      for (let cut = rest.indexOf(NEWLINE); cut !== -1; cut = rest.indexOf(NEWLINE)) {
        const judged = step(position, rest.toString('utf8', 0, cut));
        offset += cut + 1;
        position = judged.position;
        rest = rest.subarray(cut + 1);
        yield {place: {offset, position}, line: judged.line};
      }
      carried = rest;
    }
  }
}
