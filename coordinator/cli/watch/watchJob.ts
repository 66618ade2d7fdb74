import {type Job, JobState} from '../../../shared/gen/tenfold/v1/job.js';
import type {Cli, Clients, Output} from '../cli.js';
import {EXIT, type ExitCode} from '../exitCodes.js';
import {CommandFailure} from '../failure.js';
import {LivePainter} from '../render/livePainter.js';
import {type Style, wrap} from '../render/style.js';
import {finalLines} from './ending.js';
import {epochHeading, epochLayout, epochRow} from './epochTable.js';
import {evaluationLines} from './evaluationTable.js';
import {followJob} from './follow.js';
import {newsAsLine} from './lines.js';
import {type News, NOTHING_KNOWN, observe, type WatchModel, withAway} from './model.js';
import {newsLine, renderLive} from './view.js';

/** Where a watch appears. */
export interface WatchScreen {
  readonly output: Output;
  readonly style: Style;
  /** Whether the last lines tell what can be done now; true unless set. */
  readonly endingHints?: boolean;
}

/** Shows a job until it ends, and returns the exit code for how it did. An interrupt leaves the job running, and says so. */
export async function watchJob(cli: Cli, clients: Clients, name: string, screen: WatchScreen): Promise<ExitCode> {
  const display = screen.output.isTTY ? new LiveDisplay(screen) : new LineDisplay(screen);
  let model = NOTHING_KNOWN;
  const tick = setInterval(() => display.show(model, []), 500);
  try {
    const onAway = (since: number | undefined): void => {
      model = withAway(model, since);
      display.show(model, []);
    };
    // Everything but the ledger and the logs.
    for await (const {update} of followJob(clients.jobs, name, {signal: cli.signal, onAway})) {
      const observed = observe(model, update);
      model = observed.model;
      display.show(model, observed.news);
    }
  } finally {
    clearInterval(tick);
    display.close(model);
  }
  if (cli.signal.aborted) throw leftRunning(name);
  return exitCodeOfJob(model.job);
}

/** How a command that waited for a job ends. */
export function exitCodeOfJob(job: Job | undefined): ExitCode {
  return job?.state === JobState.JOB_STATE_SUCCEEDED ? EXIT.done : EXIT.jobFailed;
}

export function leftRunning(name: string): CommandFailure {
  const id = name.replace('jobs/', '');
  return new CommandFailure(
    EXIT.interrupted,
    '',
    `${id} goes on without you: \`tenfold watch ${id}\` shows it again, \`tenfold cancel ${id}\` ends it`,
  );
}

interface Display {
  show(model: WatchModel, news: readonly News[]): void;
  close(model: WatchModel): void;
}

/** How often the live lines are drawn at most. */
const FRAME_MS = 80;
/** After so many rows the heading has scrolled away. */
const ROWS_PER_HEADING = 25;

/** On a terminal: a table of epochs that grows, and live lines below it. */
class LiveDisplay implements Display {
  private readonly painter: LivePainter;
  private pending: string[] = [];
  private rows = 0;
  private layout: ReturnType<typeof epochLayout> | undefined;
  private paintedAt = 0;

  constructor(private readonly screen: WatchScreen) {
    this.painter = new LivePainter(screen.output);
  }

  show(model: WatchModel, news: readonly News[]): void {
    for (const item of news) this.pending.push(...this.linesOf(item));
    if (performance.now() - this.paintedAt < FRAME_MS) return;
    this.paint(renderLive(model, this.painter.columns - 1, Date.now(), this.screen.style));
  }

  close(model: WatchModel): void {
    const isOver = model.job?.endReason !== undefined;
    this.paint(isOver ? finalLines(model.job!, model.progress, this.screen.style, this.screen.endingHints) : []);
    this.painter.close();
  }

  private paint(live: readonly string[]): void {
    this.painter.paint(this.pending, live);
    this.pending = [];
    this.paintedAt = performance.now();
  }

  private linesOf(news: News): string[] {
    const {style} = this.screen;
    if (news.kind === 'state') return [];
    if (news.kind === 'evaluation') return evaluationLines(news.event, this.painter.columns - 1, style);
    if (news.kind !== 'epoch') {
      const line = newsLine(news, style);
      return line === '' ? [] : wrap(line, this.painter.columns - 3).map(part => `  ${part}`);
    }
    const layout = epochLayout(this.painter.columns, news.event.train.length);
    const needsHeading = this.rows++ % ROWS_PER_HEADING === 0 || layout !== this.layout;
    this.layout = layout;
    const row = epochRow(news.event, news.epochs, layout, style);
    return needsHeading ? [epochHeading(news.event, layout, style), row] : [row];
  }
}

/** In a pipe or a log: a line for each change. */
class LineDisplay implements Display {
  private wasAway = false;

  constructor(private readonly screen: WatchScreen) {}

  show(model: WatchModel, news: readonly News[]): void {
    const isAway = model.awaySince !== undefined;
    if (isAway !== this.wasAway)
      this.write(isAway ? 'the coordinator is away; the training goes on, waiting for it' : 'the coordinator is back');
    this.wasAway = isAway;
    for (const item of news) this.write(newsAsLine(item, model, new Date()));
  }

  close(): void {}

  private write(line: string | undefined): void {
    if (line !== undefined) this.screen.output.write(`${line}\n`);
  }
}
