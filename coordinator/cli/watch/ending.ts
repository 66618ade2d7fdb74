import {type Job, JobState} from '../../../shared/gen/tenfold/v1/job.js';
import type {Progress} from '../../../shared/progress.js';
import {showDuration} from '../render/figures.js';
import {pad, printable, type Style} from '../render/style.js';

/** How a job ended, for people. Pure. */

/** The last lines of a watch: how it ended, and what can be done now. */
export function finalLines(job: Job, progress: Progress, style: Style): string[] {
  const id = job.name.replace('jobs/', '');
  const took = job.endTime && job.createTime ? showDuration(job.endTime.getTime() - (job.startTime ?? job.createTime).getTime()) : '';
  const {cross, tick, dot} = style.glyphs;
  switch (job.state) {
    case JobState.JOB_STATE_SUCCEEDED: {
      const {best} = progress;
      const figures =
        best === undefined
          ? ''
          : ` ${dot} best mAP50 ${style.bold(best.map50.toFixed(3))}, mAP50-95 ${style.bold(best.map50_95.toFixed(3))} at epoch ${best.epoch}`;
      return [
        '',
        `${style.good(`${tick} ${id} succeeded`)} in ${took}${figures}`,
        hint('weights and plots', `tenfold artifact ls ${id}`, style),
        hint('fetch them all', `tenfold artifact get ${id} --out ${id}`, style),
      ];
    }
    case JobState.JOB_STATE_FAILED:
      return [
        '',
        `${style.bad(`${cross} ${id} failed`)} after ${took}: ${printable(job.endReason?.message ?? '')} ${style.dim(`(${job.endReason?.code}, ${faultText(job.endReason?.fault)})`)}`,
        hint('what it printed', `tenfold logs ${id} --tail 50`, style),
        hint('what happened', `tenfold explain ${id}`, style),
      ];
    default:
      return ['', `${style.bold(`${id} was cancelled`)} after ${took}`, hint('checkpoints it left', `tenfold ckpt ls ${id}`, style)];
  }
}

/** Whose fault it was, for people; empty: nothing went wrong. */
export function faultText(fault: string | undefined): string {
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

function hint(what: string, command: string, style: Style): string {
  return `  ${style.dim(pad(what, 20))}${command}`;
}
