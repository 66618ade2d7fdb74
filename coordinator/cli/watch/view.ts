import {type Job, JobState} from '../../../shared/gen/tenfold/v1/job.js';
import {imagesPerSecond, type Progress} from '../../../shared/progress.js';
import {isFinal, jobStateName} from '../../../shared/wire/job.js';
import {plural, showElapsed, showEta, showRate} from '../render/figures.js';
import {pad, printable, type Style, truncate, visibleWidth} from '../render/style.js';
import {batchText} from './lines.js';
import type {News, WatchModel} from './model.js';

/** The live view: the lines that stay, and the few at the bottom that are redrawn. Pure. */

const LABEL = 10;

/** The bottom of the screen as it should be now; each line at most `width` columns. */
export function renderLive(model: WatchModel, width: number, now: number, style: Style): string[] {
  const {job} = model;
  if (job === undefined) return [style.dim('connecting…')].concat(awayLines(model, now, style)).map(line => truncate(line, width));
  if (isFinal(job.state)) return [];
  const lines = ['', headline(job, now, style), ...bodyLines(model, job, width, style), ...awayLines(model, now, style)];
  return lines.map(line => truncate(line, width, style.glyphs.ellipsis));
}

function headline(job: Job, now: number, style: Style): string {
  const id = style.bold(job.name.replace('jobs/', ''));
  const ranks = job.attempts.at(-1)?.ranks ?? [];
  const nodes = [...new Set(ranks.map(({node}) => node.replace('nodes/', '')))];
  const since = job.startTime ?? job.createTime;
  const facts = [
    job.attempts.length > 1 ? `attempt ${job.attempts.length}` : '',
    isWaiting(job) || ranks.length === 0 ? '' : `${plural(ranks.length, 'rank')} on ${nodes.join(', ')}`,
    since === undefined ? '' : showElapsed(now - since.getTime()),
  ];
  return `${id}  ${stateLabel(job, style)}  ${style.dim(facts.filter(fact => fact !== '').join(` ${style.glyphs.dot} `))}`;
}

export function stateLabel(job: Pick<Job, 'state' | 'cancelRequested'>, style: Style): string {
  const ending = job.cancelRequested && !isFinal(job.state);
  return paintState(job.state, style)(`${style.glyphs.bullet} ${jobStateName(job.state)}`) + (ending ? style.wait(' (cancelling)') : '');
}

export function paintState(state: JobState, style: Style): (text: string) => string {
  switch (state) {
    case JobState.JOB_STATE_RUNNING:
      return style.busy;
    case JobState.JOB_STATE_SUCCEEDED:
      return style.good;
    case JobState.JOB_STATE_FAILED:
      return style.bad;
    case JobState.JOB_STATE_QUEUED:
    case JobState.JOB_STATE_STAGING:
    case JobState.JOB_STATE_RECOVERING:
      return style.wait;
    default:
      return style.dim;
  }
}

function isWaiting(job: Job): boolean {
  return job.state === JobState.JOB_STATE_QUEUED || job.state === JobState.JOB_STATE_RECOVERING;
}

function bodyLines(model: WatchModel, job: Job, width: number, style: Style): string[] {
  if (isWaiting(job)) return waitingLines(job, style);
  const figures = model.progress.epoch === 0 ? [] : figureLines(model.progress, width, style);
  const notes = (label: string): string[] => job.waitingFor.map(({message}) => labelled(label, printable(message), style));
  if (job.state === JobState.JOB_STATE_STAGING)
    return [...(job.waitingFor.length > 0 ? notes('staging') : stagingLines(model, style)), ...figures];
  return [...(figures.length > 0 ? figures : [labelled('starting', 'waiting for the first step', style)]), ...notes('note')];
}

function waitingLines(job: Job, style: Style): string[] {
  const reasons = job.waitingFor.map(({message}, index) => labelled(index === 0 ? 'waits for' : '', printable(message), style));
  return job.queuePosition > 0 ? [...reasons, labelled('queue', `position ${job.queuePosition}`, style)] : reasons;
}

function stagingLines(model: WatchModel, style: Style): string[] {
  if (model.staging.size === 0) return [labelled('staging', 'fetching data and starting ranks', style)];
  return [...model.staging].map(([node, message]) => labelled('staging', `${node.replace('nodes/', '')}: ${printable(message)}`, style));
}

function figureLines(progress: Progress, width: number, style: Style): string[] {
  return [
    progressLine(progress, width, style),
    lossLine(progress, style),
    metricsLine(progress, style),
    rateLine(progress, width, style),
  ].filter(line => line !== '');
}

function progressLine(progress: Progress, width: number, style: Style): string {
  const {val} = progress;
  const [done, total] = val === undefined ? [progress.batch, progress.batches] : [val.done, val.total];
  const what = val === undefined ? `epoch ${progress.epoch}/${progress.epochs}` : `val ${progress.epoch}/${progress.epochs}`;
  const share = total > 0 ? Math.min(1, done / total) : 0;
  const counts = `${String(done).padStart(String(total).length)}/${total}  ${String(Math.floor(share * 100)).padStart(3)}%`;
  const eta = progress.etaSeconds === undefined ? '' : `  ETA ${showEta(progress.etaSeconds)}`;
  const room = width - visibleWidth(pad(what, LABEL + 2)) - visibleWidth(counts) - visibleWidth(eta) - 5;
  const bar = room >= 8 ? `${progressBar(share, Math.min(room, 50), style)}  ` : '';
  return `  ${style.dim(pad(what, LABEL + 2))} ${bar}${counts}${style.bold(eta)}`;
}

/** A bar of `width` columns of which `share` (0 to 1) is done. */
export function progressBar(share: number, width: number, style: Style): string {
  const {done, head, left} = style.glyphs;
  const filled = Math.floor(share * width);
  if (filled >= width) return style.good(done.repeat(width));
  return style.busy(done.repeat(filled) + head) + style.dim(left.repeat(width - filled - 1));
}

function lossLine({loss}: Progress, style: Style): string {
  if (loss === undefined) return '';
  return labelled('loss', loss.map(({name, value}) => `${style.dim(printable(name))} ${value.toFixed(3)}`).join('   '), style);
}

function metricsLine({metrics, best}: Progress, style: Style): string {
  if (metrics === undefined) return '';
  const bestPart =
    best === undefined ? '' : `   ${style.dim(`best ${best.map50.toFixed(3)} / ${best.map50_95.toFixed(3)} at epoch ${best.epoch}`)}`;
  return labelled(
    'mAP',
    `${style.dim('50')} ${style.bold(metrics.map50.toFixed(3))}   ${style.dim('50-95')} ${style.bold(metrics.map50_95.toFixed(3))}${bestPart}`,
    style,
  );
}

function rateLine(progress: Progress, width: number, style: Style): string {
  const rates = [...progress.rankImagesPerSecond].sort(([a], [b]) => a - b);
  if (rates.length === 0) return '';
  const all = style.bold(showRate(imagesPerSecond(progress)));
  const byRank = rates.map(([rank, rate]) => `rank ${rank} ${showRate(rate)}`).join(` ${style.glyphs.dot} `);
  const line = labelled('images/s', `${all}   ${style.dim(byRank)}`, style);
  if (rates.length === 1) return labelled('images/s', all, style);
  if (visibleWidth(line) <= width) return line;
  const values = rates.map(([, rate]) => rate);
  return labelled(
    'images/s',
    `${all}   ${style.dim(`${rates.length} ranks: ${showRate(Math.min(...values))} to ${showRate(Math.max(...values))}`)}`,
    style,
  );
}

function awayLines({awaySince}: WatchModel, now: number, style: Style): string[] {
  if (awaySince === undefined) return [];
  const away = showElapsed(now - awaySince);
  return [`  ${style.wait(`the coordinator is away (${away}); training goes on without it, and this view comes back by itself`)}`];
}

function labelled(label: string, text: string, style: Style): string {
  return `  ${style.dim(pad(label, LABEL))}   ${text}`;
}

/** A line that stays above the live ones; empty: nothing to say. States are shown live, epochs and evaluations are tables. */
export function newsLine(news: Exclude<News, {kind: 'epoch' | 'evaluation' | 'state'}>, style: Style): string {
  switch (news.kind) {
    case 'attemptEnded': {
      const {number, endReason} = news.attempt;
      if (endReason === undefined) return '';
      return `${style.wait(`attempt ${number} ended: ${printable(endReason.message)}`)} ${style.dim(`(${endReason.code})`)}`;
    }
    case 'resumed':
      return `${style.dim(`attempt ${news.attempt} goes on from the checkpoint of step ${news.step}, in epoch ${news.epoch}`)}`;
    case 'batch':
      return style.dim(batchText(news));
    case 'warning':
      return `${style.wait('warning')} ${printable(news.message)}${news.rank > 0 ? style.dim(` (rank ${news.rank})`) : ''}`;
  }
}
