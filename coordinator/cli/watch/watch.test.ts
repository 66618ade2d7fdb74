import {describe, expect, it} from 'vitest';
import {Job, type JobEvent, JobState, type WatchJobResponse} from '../../../shared/gen/tenfold/v1/job.js';
import type {LossItem} from '../../../shared/progress.js';
import {createStyle, visibleWidth} from '../render/style.js';
import {finalLines} from './ending.js';
import {epochHeading, epochLayout, epochRow} from './epochTable.js';
import {evaluationLines} from './evaluationTable.js';
import {newsAsLine} from './lines.js';
import {type News, NOTHING_KNOWN, observe, type WatchModel, withAway} from './model.js';
import {newsLine, renderLive} from './view.js';

const plain = createStyle({colour: false, unicode: true});
const coloured = createStyle({colour: true, unicode: true});
const T0 = 1_795_000_000_000;

type Update = WatchJobResponse['update'];

function jobUpdate(state: JobState, more: Parameters<typeof Job.fromPartial>[0] = {}): Update {
  return {$case: 'job', value: Job.fromPartial({name: 'jobs/defects-s-7f3a', state, createTime: new Date(T0), ...more})};
}

function eventUpdate(type: string, data: object, {rank = 0, attempt = 1, t = T0} = {}): Update {
  const value: JobEvent = {sequence: 1n, time: new Date(t), attempt, rank, node: 'nodes/a', type, data: {...data}};
  return {$case: 'event', value};
}

const ranks = [
  {rank: 0, node: 'nodes/node-a', device: 'cpu-0', localRank: 0},
  {rank: 1, node: 'nodes/node-b', device: 'cpu-0', localRank: 0},
];
const running = jobUpdate(JobState.JOB_STATE_RUNNING, {startTime: new Date(T0), attempts: [{number: 1, ranks}]});

function lossItems(byName: Record<string, number>): LossItem[] {
  return Object.entries(byName).map(([name, value]) => ({name, value}));
}

function step(batch: number, rank: number, rate: number): Update {
  const loss = lossItems({box: 2.913, cls: 2.011, dfl: 1.321});
  const figures = {
    epoch: 3,
    epochs: 6,
    batch,
    batches: 75,
    step: 150 + batch,
    offset: 0,
    loss,
    lr: [0.01],
    images_per_s: rate,
    data_wait_ms: 0,
  };
  return eventUpdate('step', figures, {rank, t: T0 + batch * 500});
}

function epoch(number: number, best = true, losses: Record<string, number> = {box: 3.412, cls: 2.871, dfl: 1.522}): Update {
  return eventUpdate('epoch', {
    epoch: number,
    time_s: 12.1,
    train: lossItems(losses),
    metrics: {precision: 0.8, recall: 0.7, map50: 0.812, map50_95: 0.551},
    lr: [0.01],
    best,
    images: 1200,
    images_per_s: 99.2,
  });
}

/** Everything that is known, and everything that was news, after `updates`. */
function watched(...updates: Update[]): {model: WatchModel; news: News[]} {
  const news: News[] = [];
  const model = updates.reduce((before, update) => {
    const observed = observe(before, update);
    news.push(...observed.news);
    return observed.model;
  }, NOTHING_KNOWN);
  return {model, news};
}

describe('the live view', () => {
  it('tells where a running job is, how well it learns, and how fast', () => {
    const {model} = watched(running, epoch(2), step(1, 0, 31.5), step(38, 0, 31.5), step(38, 1, 31.6));
    expect(renderLive(model, 80, T0 + 65_000, plain)).toEqual([
      '',
      'defects-s-7f3a  ● RUNNING  2 ranks on node-a, node-b · 1m 05s',
      '  epoch 3/6    ━━━━━━━━━━━━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━  38/75   50%  ETA 2m 11s',
      '  loss         box 2.913   cls 2.011   dfl 1.321',
      '  mAP          50 0.812   50-95 0.551   best 0.812 / 0.551 at epoch 2',
      '  images/s     63.1   rank 0 31.5 · rank 1 31.6',
    ]);
  });

  it('shows a validation in place of the batches', () => {
    const {model} = watched(running, step(75, 0, 30), eventUpdate('val', {epoch: 3, done: 64, total: 200}));
    expect(renderLive(model, 60, T0, plain)[2]).toBe('  val 3/6      ━━━━━━━━━╸━━━━━━━━━━━━━━━━━━━━   64/200   32%');
  });

  it('tells everything that a queued job waits for, and its place', () => {
    const waitingFor = [
      {code: 'not_enough_free', message: 'needs 2 GPUs, 1 free'},
      {code: 'behind', message: 'j1 is ahead and waits for 4 GPUs'},
    ];
    const {model} = watched(jobUpdate(JobState.JOB_STATE_QUEUED, {waitingFor, queuePosition: 2}));
    expect(renderLive(model, 80, T0 + 3000, plain)).toEqual([
      '',
      'defects-s-7f3a  ● QUEUED  3s',
      '  waits for    needs 2 GPUs, 1 free',
      '               j1 is ahead and waits for 4 GPUs',
      '  queue        position 2',
    ]);
  });

  it('says calmly that the coordinator is away', () => {
    const {model} = watched(running, step(38, 0, 31.5));
    const lines = renderLive(withAway(model, T0), 100, T0 + 12_400, plain);
    expect(lines.at(-1)).toBe('  the coordinator is away (12s); training goes on without it, and this view comes back by itself');
  });

  it.each([30, 44, 61, 80, 200])('never draws a line wider than %i columns', width => {
    const many = Array.from({length: 16}, (_, rank) => step(38, rank, 100 + rank));
    const {model} = watched(running, epoch(2), ...many);
    for (const line of renderLive(withAway(model, T0), width, T0, coloured)) expect(visibleWidth(line)).toBeLessThanOrEqual(width);
  });
});

describe('the table of epochs', () => {
  it.each([
    [
      100,
      [
        '    epoch    time    box    cls    dfl      P      R  mAP50  50-95   img/s',
        '      2/6   12.1s  3.412  2.871  1.522  0.800  0.700  0.812  0.551    99.2  best',
      ],
    ],
    [60, ['    epoch    box    cls    dfl  mAP50  50-95   img/s', '      2/6  3.412  2.871  1.522  0.812  0.551    99.2  best']],
    [40, ['   epoch  mAP50  50-95', '     2/6  0.812  0.551  best']],
  ])('fits %i columns', (width, expected) => {
    const {news} = watched(running, step(1, 0, 30), epoch(2));
    const row = news.find(item => item.kind === 'epoch')!;
    const layout = epochLayout(width, row.event.train.length);
    expect([epochHeading(row.event, layout, plain), epochRow(row.event, row.epochs, layout, plain)]).toEqual(expected);
  });

  it('has a column for every loss of the model, and leaves the others out before it would break', () => {
    const six = {box_om: 3.4, cls_om: 4.2, dfl_om: 4.3, box_oo: 3.9, cls_oo: 4.3, dfl_oo: 4.4};
    const {news} = watched(running, step(1, 0, 30), epoch(2, false, six));
    const row = news.find(item => item.kind === 'epoch')!;
    const table = (width: number): string[] => {
      const layout = epochLayout(width, 6);
      return [epochHeading(row.event, layout, plain), epochRow(row.event, row.epochs, layout, plain)];
    };
    expect(table(80)).toEqual([
      '    epoch box_om cls_om dfl_om box_oo cls_oo dfl_oo  mAP50  50-95   img/s',
      '      2/6  3.400  4.200  4.300  3.900  4.300  4.400  0.812  0.551    99.2',
    ]);
    expect(table(70)).toEqual(['   epoch  mAP50  50-95', '     2/6  0.812  0.551']);
  });
});

describe('the table of classes', () => {
  const evaluation = (...names: string[]): Update => {
    const metrics = {precision: 0.8, recall: 0.7, map50: 0.812, map50_95: 0.551};
    const classes = names.map(name => ({name, images: 97, labels: 114, ...metrics}));
    return eventUpdate('evaluation', {epoch: 5, images: 200, labels: 431, confidence: 0.41, metrics, classes});
  };
  const linesOf = (update: Update, width: number, style = plain): string[] => {
    const item = watched(running, update).news.find(({kind}) => kind === 'evaluation');
    return item?.kind === 'evaluation' ? evaluationLines(item.event, width, style) : [];
  };

  it('tells what the weights find, of all classes and of each', () => {
    expect(linesOf(evaluation('ankle boot', 'a name that is far too long'), 80)).toEqual([
      '',
      '  weights of epoch 5 on 200 images',
      '  class                  mAP50   50-95       P       R objects',
      '  all                    0.812   0.551   0.800   0.700     431',
      '  ankle boot             0.812   0.551   0.800   0.700     114',
      '  a name that is far …   0.812   0.551   0.800   0.700     114',
    ]);
  });

  it('names no more classes than a screen holds', () => {
    const lines = linesOf(evaluation(...Array.from({length: 80}, (_, i) => `class ${i}`)), 80);
    expect(lines).toHaveLength(25);
    expect(lines.at(-1)).toBe('  and 60 classes more, in metrics.json');
  });

  it.each([20, 30, 41, 80])('never draws a line wider than %i columns', width => {
    for (const line of linesOf(evaluation('ankle boot'), width, coloured)) expect(visibleWidth(line)).toBeLessThanOrEqual(width);
  });

  it('is one line in a pipe', () => {
    const {model, news} = watched(running, evaluation('boot'));
    expect(newsAsLine(news.at(-1)!, model, new Date(2026, 10, 24, 12, 0, 0))).toBe(
      '12:00:00 defects-s-7f3a weights of epoch 5 on 200 images: P 0.800 R 0.700 mAP50 0.812 mAP50-95 0.551; by class boot 0.812/0.551',
    );
  });
});

describe('news', () => {
  const killed = {code: 'killed', fault: 'infra', message: 'rank 1 was ended by SIGKILL'};
  const recovering = jobUpdate(JobState.JOB_STATE_RECOVERING, {attempts: [{number: 1, ranks, endReason: killed}]});

  it('of an attempt that ended are told once', () => {
    const {news} = watched(running, recovering, recovering);
    const lines = news.filter(item => item.kind === 'attemptEnded').map(item => newsLine(item, plain));
    expect(lines).toEqual(['attempt 1 ended: rank 1 was ended by SIGKILL (killed)']);
  });

  it('tell of an attempt that ended because an agent was stopped, but not of one that ended with its job', () => {
    const ended = (code: string): Update =>
      jobUpdate(JobState.JOB_STATE_RECOVERING, {attempts: [{number: 1, ranks, endReason: {code, fault: 'none', message: code}}]});
    const told = (code: string) => watched(running, ended(code)).news.filter(({kind}) => kind === 'attemptEnded');
    expect(['agent_stopped', 'completed', 'cancelled'].map(code => told(code).length)).toEqual([1, 0, 0]);
  });

  it('are not what had happened before we looked', () => {
    expect(watched(recovering).news.map(({kind}) => kind)).toEqual(['state']);
  });

  it('say what was measured where the batch is automatic', () => {
    const {news} = watched(running, eventUpdate('batch', {batch: 48, device_batch: 24, peak_bytes: 6e9}));
    expect(newsLine(news.find(item => item.kind === 'batch')!, plain)).toBe('measured: 48 images a step, 24 a pass of each device');
  });

  it('of a kind of warning come once, however many images are broken', () => {
    const broken = (file: string): Update => eventUpdate('warning', {code: 'corrupt_image', message: `${file}: premature end`});
    expect(watched(running, broken('a.jpg'), broken('b.jpg')).news.filter(({kind}) => kind === 'warning')).toHaveLength(1);
  });

  it('cannot bring control characters to the terminal', () => {
    const {news} = watched(running, eventUpdate('warning', {code: 'x', message: 'a\x1b[2Jb\nc'}));
    const warning = news.find(item => item.kind === 'warning')!;
    expect(newsLine(warning, plain)).toBe('warning a\\x1b[2Jb c');
  });
});

describe('a watch in a pipe', () => {
  it('writes a line for each change of state and each epoch', () => {
    const {model, news} = watched(
      jobUpdate(JobState.JOB_STATE_QUEUED, {waitingFor: [{code: 'no_nodes', message: 'no node is connected'}], queuePosition: 1}),
      jobUpdate(JobState.JOB_STATE_STAGING, {attempts: [{number: 1, ranks}]}),
      running,
      step(1, 0, 30),
      epoch(3),
      jobUpdate(JobState.JOB_STATE_SUCCEEDED, {endReason: {code: 'completed', fault: 'none', message: '6 epochs'}}),
    );
    const noon = new Date(2026, 10, 24, 12, 0, 0);
    expect(news.map(item => newsAsLine(item, model, noon))).toEqual([
      '12:00:00 defects-s-7f3a QUEUED: no node is connected (position 1)',
      '12:00:00 defects-s-7f3a STAGING: attempt 1, 2 ranks on node-a, node-b',
      '12:00:00 defects-s-7f3a RUNNING',
      '12:00:00 defects-s-7f3a epoch 3/6  box 3.412 cls 2.871 dfl 1.522  mAP50 0.812 mAP50-95 0.551 best  99.2 img/s',
      '12:00:00 defects-s-7f3a SUCCEEDED: 6 epochs',
    ]);
  });
});

describe('the end', () => {
  it('of a failed job says whose fault it was and what to look at', () => {
    const endReason = {code: 'diverged', fault: 'user', message: 'the loss became NaN'};
    const {model} = watched(jobUpdate(JobState.JOB_STATE_FAILED, {startTime: new Date(T0), endTime: new Date(T0 + 12_000), endReason}));
    expect(finalLines(model.job!, model.progress, plain)).toEqual([
      '',
      "✗ defects-s-7f3a failed after 12.0s: the loss became NaN (diverged, by the job's own settings)",
      '  what it printed     tenfold logs defects-s-7f3a --tail 50',
      '  what happened       tenfold explain defects-s-7f3a',
    ]);
  });

  it('of a good one tells its best epoch and how to get the weights', () => {
    const {model} = watched(running, step(1, 0, 30), epoch(3), jobUpdate(JobState.JOB_STATE_SUCCEEDED, {endTime: new Date(T0 + 252_000)}));
    expect(finalLines(model.job!, model.progress, plain).slice(1, 3)).toEqual([
      '✓ defects-s-7f3a succeeded in 4m 12s · best mAP50 0.812, mAP50-95 0.551 at epoch 3',
      '  weights and plots   tenfold artifact ls defects-s-7f3a',
    ]);
  });
});
