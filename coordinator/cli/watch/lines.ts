import {type Job, JobState} from '../../../shared/gen/tenfold/v1/job.js';
import {imagesPerSecond} from '../../../shared/progress.js';
import {isFinal, jobStateName} from '../../../shared/wire/job.js';
import {plural, showClock, showRate} from '../render/figures.js';
import {printable} from '../render/style.js';
import type {News, WatchModel} from './model.js';

/** A watch without a terminal: one line for each change of state and each epoch, for logs and pipes. Pure. */
export function newsAsLine(news: News, model: WatchModel, now: Date): string | undefined {
  const id = model.job?.name.replace('jobs/', '') ?? '';
  const text = newsText(news, model);
  return text === undefined ? undefined : `${showClock(now)} ${id} ${text}`;
}

/** What was measured of the devices' memory. */
export function batchText({batch, deviceBatch}: Extract<News, {kind: 'batch'}>): string {
  return `measured: ${batch} images a step, ${deviceBatch} a pass of each device`;
}

function newsText(news: News, model: WatchModel): string | undefined {
  switch (news.kind) {
    case 'state':
      return stateText(news.job);
    case 'epoch': {
      const {epoch, train, metrics, images_per_s, best} = news.event;
      const quality = metrics ? `  mAP50 ${metrics.map50.toFixed(3)} mAP50-95 ${metrics.map50_95.toFixed(3)}${best ? ' best' : ''}` : '';
      const losses = train.map(({name, value}) => `${printable(name)} ${value.toFixed(3)}`).join(' ');
      const rate = images_per_s > 0 ? images_per_s : imagesPerSecond(model.progress);
      return `epoch ${epoch}/${news.epochs}  ${losses}${quality}  ${showRate(rate)} img/s`;
    }
    case 'evaluation': {
      const {epoch, images, metrics, classes} = news.event;
      const all = `P ${metrics.precision.toFixed(3)} R ${metrics.recall.toFixed(3)} mAP50 ${metrics.map50.toFixed(3)} mAP50-95 ${metrics.map50_95.toFixed(3)}`;
      const byClass = classes.map(({name, map50, map50_95}) => `${printable(name)} ${map50.toFixed(3)}/${map50_95.toFixed(3)}`);
      return `weights of epoch ${epoch} on ${plural(images, 'image')}: ${all}; by class ${byClass.join(', ')}`;
    }
    case 'attemptEnded': {
      const {number, endReason} = news.attempt;
      return endReason === undefined ? undefined : `attempt ${number} ended: ${printable(endReason.message)} (${endReason.code})`;
    }
    case 'resumed':
      return `attempt ${news.attempt} goes on from the checkpoint of step ${news.step}, in epoch ${news.epoch}`;
    case 'batch':
      return batchText(news);
    case 'warning':
      return `warning: ${printable(news.message)}`;
  }
}

function stateText(job: Job): string {
  const name = jobStateName(job.state);
  if (isFinal(job.state)) return job.endReason === undefined ? name : `${name}: ${printable(job.endReason.message)}`;
  if (job.waitingFor.length > 0 && job.state !== JobState.JOB_STATE_STAGING) {
    const position = job.queuePosition > 0 ? ` (position ${job.queuePosition})` : '';
    return `${name}: ${job.waitingFor.map(({message}) => printable(message)).join('; ')}${position}`;
  }
  const ranks = job.attempts.at(-1)?.ranks ?? [];
  if (job.state !== JobState.JOB_STATE_STAGING || ranks.length === 0) return name;
  const nodes = [...new Set(ranks.map(({node}) => node.replace('nodes/', '')))];
  return `${name}: attempt ${job.attempts.length}, ${plural(ranks.length, 'rank')} on ${nodes.join(', ')}`;
}
