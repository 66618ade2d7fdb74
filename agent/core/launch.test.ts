import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {describe, expect, it} from 'vitest';
import type {GenerationPlan} from '../../shared/attemptPlan.js';
import {checkpointPolicySchema} from '../../shared/jobSpec.js';
import type {Device} from '../../shared/observation.js';
import {packageRoot} from '../../shared/packageRoot.js';
import {trainArgumentsSchema} from '../../shared/trainArguments.js';
import {type LaunchSite, launch, UnknownDeviceError} from './launch.js';

const gpu = (id: string, index: number): Device => ({id, kind: 'cuda', index, model: 'A100', memoryBytes: 1, threads: 12, links: {}});

const plan: GenerationPlan = {
  jobId: 'defects-s-7f3a',
  attempt: 2,
  generation: 4711,
  ranks: [
    {rank: 0, nodeId: 'node-a', deviceId: 'GPU-aa', localRank: 0},
    {rank: 1, nodeId: 'node-b', deviceId: 'GPU-b1', localRank: 0},
    {rank: 2, nodeId: 'node-b', deviceId: 'GPU-b0', localRank: 1},
  ],
  rendezvous: {host: '10.0.0.7', port: 61_001},
  datasetId: 'defects',
  datasetIndexDigest: '9b'.repeat(32),
  model: {arch: 'yolov8n', nc: 'auto'},
  train: trainArgumentsSchema.parse({epochs: 100, batch: 18}),
  checkpoint: checkpointPolicySchema.parse({every: {epochs: 1}}),
  startFrom: null,
};

const site: LaunchSite = {
  nodeId: 'node-b',
  devices: [gpu('GPU-b0', 0), gpu('GPU-b1', 1)],
  trainerPath: '/opt/tenfold/tenfold-trainer',
  environment: {
    PATH: '/usr/bin',
    HOME: '/var/lib/tenfold',
    NCCL_SOCKET_IFNAME: 'eth0',
    RANK: '9',
    MASTER_ADDR: 'elsewhere',
    OMP_NUM_THREADS: '64',
    CUDA_VISIBLE_DEVICES: '0',
    TENFOLD_TLS_KEY: '/etc/tenfold/key.pem',
    AWS_SECRET_ACCESS_KEY: 'secret',
    NVIDIA_API_KEY: 'secret',
    NVIDIA_TF32_OVERRIDE: '0',
    XDG_CACHE_HOME: '/var/cache/tenfold',
    LD_PRELOAD: '/evil.so',
  },
  folder: '/data/attempts/defects-s-7f3a.2.4711',
  spawnMark: 'f81d4fae',
  progressIntervalMs: 250,
  collectiveTimeoutS: 120,
};

const staged = {indexPath: '/data/cache/9b1c', shardsDir: '/data/cache', resumeDir: '/data/attempts/defects-s-7f3a.2.4711/resume'};

describe('launching the ranks of a node', () => {
  it('gives each rank the command line and the whole environment, and nothing else of the agent', () => {
    const {ranks} = launch(plan, staged, site);
    expect(ranks.map(({rank, deviceId}) => ({rank, deviceId}))).toEqual([
      {rank: 1, deviceId: 'GPU-b1'},
      {rank: 2, deviceId: 'GPU-b0'},
    ]);
    expect(ranks[1]).toEqual({
      rank: 2,
      deviceId: 'GPU-b0',
      argv: ['/opt/tenfold/tenfold-trainer', 'train', '/data/attempts/defects-s-7f3a.2.4711/config.json'],
      cwd: '/data/attempts/defects-s-7f3a.2.4711',
      env: {
        HOME: '/var/lib/tenfold',
        NCCL_SOCKET_IFNAME: 'eth0',
        NVIDIA_TF32_OVERRIDE: '0',
        XDG_CACHE_HOME: '/var/cache/tenfold',
        PATH: '/usr/bin',
        RANK: '2',
        LOCAL_RANK: '1',
        GROUP_RANK: '1',
        ROLE_RANK: '2',
        WORLD_SIZE: '3',
        LOCAL_WORLD_SIZE: '2',
        GROUP_WORLD_SIZE: '2',
        ROLE_WORLD_SIZE: '3',
        MASTER_ADDR: '10.0.0.7',
        MASTER_PORT: '61001',
        TORCHELASTIC_RUN_ID: 'defects-s-7f3a',
        TORCHELASTIC_RESTART_COUNT: '1',
        TORCHELASTIC_MAX_RESTARTS: '1',
        OMP_NUM_THREADS: '12',
        CUDA_VISIBLE_DEVICES: 'GPU-b1,GPU-b0',
        TENFOLD_EVENTS_FD: '3',
        TENFOLD_CONTROL_FD: '4',
        TENFOLD_JOB: 'defects-s-7f3a',
        TENFOLD_GENERATION: '4711',
        TENFOLD_SPAWNED_BY: 'f81d4fae',
      },
    });
  });

  it('writes one config in the form of the contract', () => {
    const {files} = launch(plan, staged, site);
    expect(files.map(({path}) => path)).toEqual(['/data/attempts/defects-s-7f3a.2.4711/config.json']);
    const config = JSON.parse(files[0]!.text);
    const example = JSON.parse(readFileSync(join(packageRoot, 'test/fixtures/trainer-contract/config.json'), 'utf8'));
    const shape = (value: Record<string, unknown>): string[] => Object.keys(value).sort();
    expect(shape(config)).toEqual(shape(example));
    for (const section of ['run', 'data', 'model', 'checkpoint', 'resume', 'collective', 'progress'])
      expect(shape(config[section])).toEqual(shape(example[section]));
    expect(config).toMatchObject({
      run: {name: 'defects-s-7f3a', dir: '/data/attempts/defects-s-7f3a.2.4711/run'},
      data: {kind: 'shards', index: '/data/cache/9b1c', dir: '/data/cache'},
      train: {epochs: 100, batch: 18, device: 'cuda'},
      resume: {dir: '/data/attempts/defects-s-7f3a.2.4711/resume'},
      collective: {generation: 4711, timeout_s: 120},
    });
  });

  it('writes a model of the user beside it', () => {
    const arch = 'nc: 5\nbackbone: []\n';
    const {files} = launch({...plan, model: {arch, nc: 5}}, {...staged, resumeDir: null}, site);
    expect(files[1]).toEqual({path: '/data/attempts/defects-s-7f3a.2.4711/model.yaml', text: arch});
    expect(JSON.parse(files[0]!.text)).toMatchObject({model: {arch: files[1]!.path, nc: 5, weights: null}, resume: null});

    // The next attempt's lies elsewhere: the trainer knows the network by the text, which is the same to the byte.
    const resumed = launch({...plan, attempt: 3, model: {arch, nc: 5}}, staged, {...site, folder: '/data/attempts/defects-s-7f3a.3.4712'});
    expect(resumed.files[1]).toEqual({path: '/data/attempts/defects-s-7f3a.3.4712/model.yaml', text: arch});
  });

  it('lets a rank on a CPU slot see no GPU', () => {
    const cpu: Device = {id: 'cpu-0', kind: 'cpu', index: 0, model: 'Xeon', memoryBytes: 1, threads: 2, links: {}};
    const ranks = [{rank: 0, nodeId: 'node-b', deviceId: 'cpu-0', localRank: 0}];
    const launched = launch({...plan, ranks}, staged, {...site, devices: [cpu]});
    expect(launched.ranks[0]!.env).toMatchObject({CUDA_VISIBLE_DEVICES: '', OMP_NUM_THREADS: '2'});
    expect(JSON.parse(launched.files[0]!.text).train.device).toBe('cpu');
  });

  it('refuses a device that is not here', () => {
    expect(() => launch(plan, staged, {...site, devices: []})).toThrow(UnknownDeviceError);
  });
});
