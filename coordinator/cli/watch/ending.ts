import {type Job, JobState} from '../../../shared/gen/tenfold/v1/job.js';
import type {Progress} from '../../../shared/progress.js';
import {showDuration} from '../render/figures.js';
import {pad, printable, type Style} from '../render/style.js';

/** How a job ended, for people. Pure. */

/** The last lines of a watch: how it ended, and what can be done now unless `hints` is false. */
export function finalLines(job: Job, progress: Progress, style: Style, hints = true): string[] {
  const outcome = ['', outcomeLine(job, progress, style)];
  return hints ? [...outcome, ...hintLines(job, style)] : outcome;
}

function outcomeLine(job: Job, progress: Progress, style: Style): string {
  const id = idOf(job);
  const took = job.endTime && job.createTime ? showDuration(job.endTime.getTime() - (job.startTime ?? job.createTime).getTime()) : '';
  const {cross, tick} = style.glyphs;
  switch (job.state) {
    case JobState.JOB_STATE_SUCCEEDED:
      return `${style.good(`${tick} ${id} succeeded`)} in ${took}${bestText(progress, style)}`;
    case JobState.JOB_STATE_FAILED:
      return `${style.bad(`${cross} ${id} failed`)} after ${took}: ${printable(job.endReason?.message ?? '')} ${style.dim(whyText(job))}`;
    default:
      return `${style.bold(`${id} was cancelled`)} after ${took}`;
  }
}

function bestText({best}: Progress, style: Style): string {
  if (best === undefined) return '';
  const figures = `best mAP50 ${style.bold(best.map50.toFixed(3))}, mAP50-95 ${style.bold(best.map50_95.toFixed(3))}`;
  return ` ${style.glyphs.dot} ${figures} at epoch ${best.epoch}`;
}

/** The code and whose fault it was, in parentheses. */
export function whyText({endReason}: Job): string {
  const parts = [endReason?.code ?? '', faultText(endReason?.fault)].filter(part => part !== '');
  return parts.length === 0 ? '' : `(${parts.join(', ')})`;
}

function hintLines(job: Job, style: Style): string[] {
  const id = idOf(job);
  const hint = (what: string, command: string): string => `  ${style.dim(pad(what, 20))}${command}`;
  switch (job.state) {
    case JobState.JOB_STATE_SUCCEEDED:
      return [hint('weights and plots', `tenfold artifact ls ${id}`), hint('fetch them all', `tenfold artifact get ${id} --out ${id}`)];
    case JobState.JOB_STATE_FAILED:
      return [hint('what it printed', `tenfold logs ${id} --tail 50`), hint('what happened', `tenfold explain ${id}`)];
    default:
      return [hint('checkpoints it left', `tenfold ckpt ls ${id}`)];
  }
}

function idOf(job: Job): string {
  return job.name.replace('jobs/', '');
}

/** Whose fault it was, for people; empty: nothing went wrong. */
function faultText(fault: string | undefined): string {
  switch (fault) {
    case 'user':
      return "by the job's own settings";
    case 'data':
      return 'by its data';
    case 'infra':
      return 'by the machines';
    default:
      return '';
  }
}
