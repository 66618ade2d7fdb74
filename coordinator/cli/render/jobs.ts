import {type Attempt, Job, type Progress} from '../../../shared/gen/tenfold/v1/job.js';
import {TRAIN_ARGUMENT_NAMES, trainArgumentsSchema} from '../../../shared/trainArguments.js';
import {isFinal, jobStateName} from '../../../shared/wire/job.js';
import type {Listing} from '../output.js';
import {whyText} from '../watch/ending.js';
import {paintState, stateLabel} from '../watch/view.js';
import {showAge, showDate, showDuration, showEta, showRate} from './figures.js';
import {printable, type Style} from './style.js';
import {renderPairs, renderTable} from './table.js';

/** Jobs as tables and as single pages. Pure. */

export function jobListing(now: number, style: Style): Listing<Job> {
  return {
    key: 'jobs',
    nameOf: ({name}) => name,
    toJson: Job.toJSON,
    columns: [
      {heading: 'JOB'},
      {heading: 'STATE'},
      {heading: 'GPUS', right: true},
      {heading: 'EPOCH', right: true},
      {heading: 'mAP50', right: true},
      {heading: 'IMG/S', right: true},
      {heading: 'AGE', right: true},
      {heading: 'NOTE'},
    ],
    cells: job => [
      job.name.replace('jobs/', ''),
      paintState(job.state, style)(jobStateName(job.state)),
      String(job.spec?.resources?.gpus ?? ''),
      job.progress && job.progress.epochs > 0 ? `${job.progress.epoch}/${job.progress.epochs}` : '-',
      job.progress?.metrics ? job.progress.metrics.map50.toFixed(3) : '-',
      isFinal(job.state) || !job.progress?.imagesPerSecond ? '-' : showRate(job.progress.imagesPerSecond),
      job.createTime ? showAge(now - job.createTime.getTime()) : '',
      noteOf(job),
    ],
    wideColumns: [{heading: 'PROJECT'}, {heading: 'MODEL'}, {heading: 'DATA'}, {heading: 'ATTEMPTS', right: true}, {heading: 'NODES'}],
    wideCells: job => [
      job.spec?.project ?? '',
      archOf(job),
      job.spec?.data ?? '',
      String(job.attempts.length),
      [...new Set((job.attempts.at(-1)?.ranks ?? []).map(({node}) => node.replace('nodes/', '')))].join(','),
    ],
  };
}

/** What one would ask next: why it waits, why it failed, when it ends. */
function noteOf(job: Job): string {
  if (job.endReason !== undefined) return job.endReason.fault === 'none' ? '' : printable(job.endReason.message);
  if (job.cancelRequested) return 'cancelling';
  if (job.waitingFor.length > 0) {
    const position = job.queuePosition > 0 ? `#${job.queuePosition}: ` : '';
    return `${position}${job.waitingFor.map(({message}) => printable(message)).join('; ')}`;
  }
  const eta = job.progress?.etaSeconds ?? 0;
  return eta > 0 ? `ETA ${showEta(eta)}` : '';
}

function archOf({spec}: Job): string {
  const arch = spec?.model?.arch ?? '';
  return arch.includes('\n') ? 'own yaml' : arch;
}

export function jobLines(job: Job, {now, wide, style}: {now: number; wide: boolean; style: Style}): string[] {
  const {spec, progress} = job;
  const pairs = renderPairs(
    [
      ['data', spec?.data],
      ['model', archOf(job)],
      ['train', changedArguments(spec?.train ?? {}, wide)],
      ['devices', String(spec?.resources?.gpus ?? '')],
      ['priority', wide ? String(spec?.priority ?? '') : undefined],
      ['project', spec?.project],
      ['created', moment(job.createTime, now)],
      ['ended', moment(job.endTime, now)],
      ...job.waitingFor.map(({message}, index) => [index === 0 ? 'waits for' : '', printable(message)] as const),
      ['queue', job.queuePosition > 0 ? `position ${job.queuePosition}` : undefined],
      ...(progress === undefined ? [] : progressPairs(progress, isFinal(job.state))),
      ['end', job.endReason && `${printable(job.endReason.message)} ${whyText(job)}`],
    ],
    style,
  );
  const head = `${style.bold(job.name.replace('jobs/', ''))}  ${stateLabel(job, style)}`;
  const attempts =
    job.attempts.length === 0
      ? []
      : [
          '',
          ...renderTable(
            ATTEMPT_COLUMNS,
            job.attempts.map(attempt => attemptCells(attempt, now)),
            style,
          ),
        ];
  return [head, ...pairs.map(line => `  ${line}`), ...attempts.map(line => (line === '' ? '' : `  ${line}`))];
}

const DEFAULTS: Readonly<Record<string, unknown>> = trainArgumentsSchema.parse({});

/** Those that differ from what YOLO users take for granted, besides the few that everybody asks for; all of them when `whole`. */
function changedArguments(train: Record<string, unknown>, whole: boolean): string {
  const always = ['epochs', 'batch', 'imgsz'];
  return TRAIN_ARGUMENT_NAMES.filter(name => whole || always.includes(name) || train[name] !== DEFAULTS[name])
    .map(name => `${name}=${printable(String(train[name] ?? DEFAULTS[name]))}`)
    .join(' ');
}

function progressPairs(progress: Progress, isOver: boolean): (readonly [string, string | undefined])[] {
  const {epoch, epochs, batch, batches, losses, metrics, imagesPerSecond, etaSeconds} = progress;
  return [
    ['progress', epochs > 0 ? `epoch ${epoch}/${epochs}, batch ${batch}/${batches}, step ${progress.step}` : undefined],
    ['loss', losses.map(({name, value}) => `${printable(name)} ${value.toFixed(3)}`).join('  ') || undefined],
    [
      'mAP',
      metrics && `50 ${metrics.map50.toFixed(3)}  50-95 ${metrics.map5095.toFixed(3)}  (best 50-95 ${progress.bestMap5095.toFixed(3)})`,
    ],
    ['images/s', !isOver && imagesPerSecond > 0 ? ratesText(progress) : undefined],
    ['ETA', !isOver && etaSeconds > 0 ? showEta(etaSeconds) : undefined],
  ];
}

function ratesText({imagesPerSecond, rankImagesPerSecond}: Progress): string {
  const ranks = Object.entries(rankImagesPerSecond).map(([rank, rate]) => `rank ${rank} ${showRate(rate)}`);
  return ranks.length > 1 ? `${showRate(imagesPerSecond)}  (${ranks.join(', ')})` : showRate(imagesPerSecond);
}

function moment(time: Date | undefined, now: number): string | undefined {
  return time && `${showDate(time)} (${showAge(now - time.getTime())} ago)`;
}

const ATTEMPT_COLUMNS = [
  {heading: 'ATTEMPT', right: true},
  {heading: 'STARTED'},
  {heading: 'TOOK', right: true},
  {heading: 'FROM STEP', right: true},
  {heading: 'RANKS'},
  {heading: 'END'},
];

function attemptCells(attempt: Attempt, now: number): string[] {
  const started = attempt.createTime?.getTime() ?? now;
  const ranks = attempt.ranks.map(({node, device}) => `${node.replace('nodes/', '')}/${device}`);
  return [
    String(attempt.number),
    showDate(new Date(started)),
    showDuration((attempt.endTime?.getTime() ?? now) - started),
    attempt.startStep > 0n ? String(attempt.startStep) : '-',
    ranks.length > 4 ? `${ranks.slice(0, 3).join(' ')} +${ranks.length - 3}` : ranks.join(' '),
    attempt.endReason === undefined ? '' : `${attempt.endReason.code}: ${printable(attempt.endReason.message)}`,
  ];
}
