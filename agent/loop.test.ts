import {describe, expect, it} from 'vitest';
import type {GenerationPlan} from '../shared/attemptPlan.js';
import {endReason} from '../shared/endReason.js';
import type {EventOrigin} from '../shared/event.js';
import {silentLog} from '../shared/log.js';
import type {ObservedRank} from '../shared/observation.js';
import type {TrainerCommand, TrainerEvent} from '../shared/trainerContract.js';
import {planFor} from '../test/support/plans.js';
import type {RankLaunch} from './core/launch.js';
import {attemptKey, type LocalAttempt} from './core/localAttempt.js';
import {AGENT_RESTARTED, newAttempt, type ProcessExit} from './core/observe.js';
import {AgentLoop} from './loop.js';
import type {RankSink, RunningTrainer, Upload} from './ports.js';

const plan = planFor(['a', 'b'], {generation: 5});
const manifest = {step: 10, cursor: {epoch: 1, offset: 160}, files: [{name: 'm', bytes: 1, sha256: 'aa'.repeat(32)}]};
const checkpointEvent: TrainerEvent = {type: 'checkpoint', t: 1, dir: '/attempts/j1.1.5/checkpoints/step-10', ...manifest};
const weightsEvent: TrainerEvent = {type: 'artifact', t: 1, path: 'weights/best.safetensors', bytes: 1, sha256: 'aa'.repeat(32)};
const stepEvent: TrainerEvent = {
  type: 'step',
  t: 1,
  epoch: 1,
  epochs: 2,
  batch: 1,
  batches: 9,
  step: 1,
  offset: 16,
  loss: [{name: 'box', value: 1}],
  lr: [0.1],
  images_per_s: 9,
  data_wait_ms: 0,
};

class FakeTrainer implements RunningTrainer {
  readonly pid = 4242;
  readonly signals: string[] = [];
  readonly commands: TrainerCommand[] = [];
  end: (exit: ProcessExit) => void = () => {};
  readonly ended = new Promise<{exit: ProcessExit; stderr: string}>(resolve => {
    this.end = exit => resolve({exit, stderr: ''});
  });

  constructor(readonly sink: RankSink) {}

  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    this.signals.push(signal);
  }
  command(command: TrainerCommand): void {
    this.commands.push(command);
  }
}

/** A loop whose outside writes down what is asked of it. */
class Stage {
  readonly journal: string[] = [];
  readonly trainers: FakeTrainer[] = [];
  readonly uploads: Upload[] = [];
  recovered: LocalAttempt[] = [];
  pendingUploads = 0;
  /** What the disk says to whoever writes; undefined: it takes everything. */
  diskFailure: string | undefined;
  /** The disk takes no events. */
  outboxIsStuck = false;
  private sleepers: (() => void)[] = [];
  reportChanges = 0;
  private uploadListener: (plan: GenerationPlan) => void = () => {};

  readonly loop = new AgentLoop({
    site: {
      nodeId: 'a',
      devices: [{id: 'cpu-0', kind: 'cpu', index: 0, model: 'Xeon', memoryBytes: 1, threads: 2, links: {}}],
      trainerPath: '/trainer',
      environment: {},
      spawnMark: 'm',
      progressIntervalMs: 250,
      collectiveTimeoutS: 120,
    },
    termGraceMs: 1000,
    trainers: {
      start: async (launch: RankLaunch, sink: RankSink) => {
        this.journal.push(`start rank ${launch.rank}`);
        const trainer = new FakeTrainer(sink);
        this.trainers.push(trainer);
        return trainer;
      },
    },
    staging: {
      stage: async () => ({indexPath: '/i', shardsDir: '/s', resumeDir: null}),
      release: () => void this.journal.push('release'),
    },
    uploads: {
      onChange: listener => {
        this.uploadListener = listener;
      },
      add: async (_, __, upload) => {
        if (this.diskFailure !== undefined) throw Object.assign(new Error('writing'), {code: this.diskFailure});
        this.uploads.push(upload);
        this.journal.push(`upload ${upload.kind}`);
        this.setPending(this.pendingUploads + 1);
      },
      resume: async () => void this.journal.push('resume uploads'),
      pending: () => this.pendingUploads,
      abandon: async () => void this.journal.push('abandon uploads'),
    },
    folders: {
      pathOf: which => `/attempts/${attemptKey(which)}`,
      create: async () => void this.journal.push('create folder'),
      recordLaunch: async () => void this.journal.push('record launch'),
      recordExit: async (_, rank, reason) => void this.journal.push(`record exit of rank ${rank}: ${reason.code}`),
      remove: async () => void this.journal.push('remove folder'),
      recover: async () => this.recovered,
    },
    rendezvous: {
      held: () => [61_000],
      release: async port => void this.journal.push(`release port ${port}`),
      reclaim: port => void this.journal.push(`reclaim port ${port}`),
    },
    events: {
      append: ({rank}: EventOrigin, type) => void this.journal.push(`event ${type} of ${rank}`),
      flush: () => (this.outboxIsStuck ? new Promise(() => {}) : Promise.resolve()),
    },
    clock: {now: () => 1000 as never, monotonic: () => 0, sleep: () => new Promise(resolve => this.sleepers.push(resolve))},
    log: silentLog,
    onReportChanged: () => {
      this.reportChanges++;
    },
  });

  setPending(pending: number): void {
    this.pendingUploads = pending;
    this.uploadListener(plan);
  }

  /** All that waits for a time has waited. */
  async timePasses(): Promise<void> {
    for (const wake of this.sleepers.splice(0)) wake();
    await this.settle();
  }

  get ranks(): readonly ObservedRank[] {
    return this.loop.report().attempts[0]?.ranks ?? [];
  }

  /** Everything that can happen without anything from outside has happened. */
  async settle(): Promise<void> {
    for (let i = 0; i < 30; i++) await new Promise(resolve => setImmediate(resolve));
  }

  async launched(): Promise<FakeTrainer> {
    this.loop.setWanted([plan]);
    await this.settle();
    return this.trainers[0]!;
  }
}

describe('the loop of the agent', () => {
  it('is ready for a crash before it starts a rank, and gives the rendezvous port away last', async () => {
    const stage = new Stage();
    await stage.launched();
    expect(stage.journal).toEqual([
      'create folder',
      'event staged of -1',
      'record launch',
      'release port 61000',
      'start rank 0',
      'event started of 0',
    ]);
    expect(stage.ranks).toEqual([{rank: 0, deviceId: 'cpu-0', state: 'starting', pid: 4242}]);
  });

  it('keeps its ports when rank 0 is elsewhere', async () => {
    const stage = new Stage();
    stage.loop.setWanted([planFor(['b', 'a'])]);
    await stage.settle();
    expect(stage.journal).toContain('start rank 1');
    expect(stage.journal).not.toContain('release port 61000');
  });

  it('tells each change once, and running from the first step on', async () => {
    const stage = new Stage();
    const trainer = await stage.launched();
    const before = stage.reportChanges;
    for (let i = 0; i < 3; i++) await trainer.sink.event(stepEvent, '{}');
    await stage.settle();
    expect(stage.ranks[0]).toMatchObject({state: 'running'});
    expect(stage.reportChanges).toBe(before + 1);
  });

  it('queues a checkpoint for upload before it tells of it', async () => {
    const stage = new Stage();
    const trainer = await stage.launched();
    await trainer.sink.event(checkpointEvent, '{}');
    expect(stage.journal.slice(-2)).toEqual(['upload checkpoint', 'event checkpoint of 0']);
    expect(stage.uploads).toEqual([{kind: 'checkpoint', dir: checkpointEvent.dir, manifest}]);
    await stage.settle();
    expect(stage.loop.report().attempts[0]!.pendingUploads).toBe(1);
  });

  it.each(['ENOSPC', 'EDQUOT', 'EMFILE', 'EIO'])(
    'queues a finished file as soon as the disk takes it, and lets nobody take it for done before: %s',
    async code => {
      const stage = new Stage();
      const trainer = await stage.launched();
      stage.diskFailure = code;
      const told = trainer.sink.event(weightsEvent, '{}');
      await stage.settle();
      await stage.timePasses();
      expect(stage.loop.report().attempts[0]!.pendingUploads).toBe(1);
      expect(stage.journal).not.toContain('event artifact of 0');
      stage.diskFailure = undefined;
      await stage.timePasses();
      await told;
      expect(stage.journal.slice(-2)).toEqual(['upload artifact', 'event artifact of 0']);
      expect(stage.loop.report().attempts[0]!.pendingUploads).toBe(1);
      stage.setPending(0);
      expect(stage.loop.report().attempts[0]!.pendingUploads).toBe(0);
    },
  );

  it('says of a file that is not there that it cannot be uploaded, once', async () => {
    const stage = new Stage();
    const trainer = await stage.launched();
    stage.diskFailure = 'ENOENT';
    await trainer.sink.event(weightsEvent, '{}');
    expect(stage.journal.slice(-2)).toEqual(['event bad_event of 0', 'event artifact of 0']);
  });

  it('does not wait for a full disk when a rank is to end, and does not call completed what was not saved', async () => {
    const stage = new Stage();
    const trainer = await stage.launched();
    stage.diskFailure = 'ENOSPC';
    const told = trainer.sink.event(weightsEvent, '{}');
    const stopping = stage.loop.stop(0);
    await stage.settle();
    await stage.timePasses();
    await told;
    trainer.end({kind: 'code', code: 0});
    await stopping;
    expect(stage.ranks[0]).toMatchObject({state: 'exited', reason: {code: 'agent_stopped'}});
  });

  it('writes down a good end before it tells of it', async () => {
    const stage = new Stage();
    const trainer = await stage.launched();
    trainer.end({kind: 'code', code: 0});
    await stage.settle();
    expect(stage.journal.slice(-2)).toEqual(['event exited of 0', 'record exit of rank 0: completed']);
    expect(stage.ranks).toEqual([{rank: 0, deviceId: 'cpu-0', state: 'exited', reason: endReason('completed')}]);
  });

  it('stops all the same when the disk does not take how a rank ended, and calls nothing completed then', async () => {
    const stage = new Stage();
    const trainer = await stage.launched();
    stage.outboxIsStuck = true;
    trainer.end({kind: 'code', code: 0});
    await stage.settle();
    expect(stage.ranks[0]).toMatchObject({state: 'starting'});
    const stopping = stage.loop.stop(0);
    await stage.settle();
    await stage.timePasses();
    await stopping;
    expect(stage.ranks[0]).toMatchObject({state: 'exited', reason: {message: 'ended by the agent: the agent is stopping'}});
  });

  it('clears away what is not wanted any more although the disk takes no events: it may be full of just that', async () => {
    const stage = new Stage();
    const trainer = await stage.launched();
    stage.outboxIsStuck = true;
    stage.loop.setWanted([]);
    await stage.settle();
    trainer.end({kind: 'signal', signal: 'SIGTERM'});
    await stage.settle();
    expect(stage.journal).toContain('remove folder');
  });

  it('ends what is not wanted any more, and clears it away when it is gone', async () => {
    const stage = new Stage();
    const trainer = await stage.launched();
    stage.loop.setWanted([]);
    await stage.settle();
    expect(trainer.signals).toEqual(['SIGTERM']);
    expect(stage.loop.report().attempts).toHaveLength(1);
    trainer.end({kind: 'signal', signal: 'SIGTERM'});
    await stage.settle();
    expect(stage.journal.slice(-4)).toEqual(['abandon uploads', 'release', 'reclaim port 61000', 'remove folder']);
    expect(stage.loop.report().attempts).toEqual([]);
  });

  it('says of a device that it has not that staging failed', async () => {
    const stage = new Stage();
    stage.loop.setWanted([{...plan, ranks: [{rank: 0, nodeId: 'a', deviceId: 'GPU-gone', localRank: 0}]}]);
    await stage.settle();
    expect(stage.loop.report().attempts[0]!.stage).toMatchObject({phase: 'failed', reason: {code: 'staging_failed'}});
  });

  it('tells after a restart what it had, and starts none of it again', async () => {
    const stage = new Stage();
    const rank = {rank: 0, deviceId: 'cpu-0', state: 'exited', reason: AGENT_RESTARTED} as const;
    stage.recovered = [
      {...newAttempt(plan), stage: {phase: 'ready', files: {indexPath: '', shardsDir: '', resumeDir: null}}, ranks: [rank]},
    ];
    await stage.loop.recover();
    expect(stage.ranks).toEqual([rank]);
    stage.loop.setWanted([plan]);
    await stage.settle();
    expect(stage.journal).toEqual(['record exit of rank 0: killed', 'event exited of 0', 'resume uploads']);
  });

  it('has a checkpoint made before it stops, ends its ranks, and still tells of them', async () => {
    const stage = new Stage();
    const trainer = await stage.launched();
    await trainer.sink.event(stepEvent, '{}');
    let stopped = false;
    const stopping = stage.loop.stop(60_000).then(() => {
      stopped = true;
    });
    await stage.settle();
    expect(trainer.commands).toEqual([{cmd: 'checkpoint'}]);
    expect(trainer.signals).toEqual([]);
    await trainer.sink.event(checkpointEvent, '{}');
    await stage.settle();
    expect(trainer.signals).toEqual([]);
    stage.setPending(0);
    await stage.settle();
    expect(trainer.signals).toEqual(['SIGTERM']);
    expect(stopped).toBe(false);
    trainer.end({kind: 'code', code: 23});
    await stopping;
    expect(stage.ranks[0]).toMatchObject({state: 'exited', reason: {code: 'agent_stopped'}});
  });

  it('stops at once when nothing runs', async () => {
    await new Stage().loop.stop(60_000);
  });
});
