import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeEach, expect, it} from 'vitest';
import {DeviceDiscoveryError} from '../../../agent/adapters/devices.js';
import {checkTrainerUsesGpus} from '../../../agent/adapters/gpuCheck.js';
import {Nursery} from '../../../agent/adapters/nursery.js';
import {TrainerProcesses} from '../../../agent/adapters/trainerProcess.js';
import {systemClock} from '../../../shared/clock.js';
import {silentLog} from '../../../shared/log.js';
import type {Device} from '../../../shared/observation.js';
import {writeScript} from '../../support/script.js';

/** GPUs that nvidia-smi shows, and what a trainer says of them: a shell script here, since no GPU can be counted on. */

let folder: string;
let nursery: Nursery;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-gpus-'));
  nursery = await Nursery.open(silentLog);
});

afterEach(async () => {
  await nursery.close();
  await rm(folder, {recursive: true, force: true});
});

const gpu = (id: string): Device => ({id, kind: 'cuda', index: 0, model: 'A100', memoryBytes: 1, threads: 2, links: {}});

async function check(devices: readonly Device[], script: string): Promise<void> {
  const trainerPath = join(folder, 'tenfold-trainer');
  await writeScript(trainerPath, script);
  const site = {trainerPath, environment: process.env, folder, spawnMark: folder};
  await checkTrainerUsesGpus(devices, site, new TrainerProcesses(nursery, systemClock));
}

it('the agent starts when the trainer can use every GPU that it will offer, asked for them by name', async () => {
  await check(
    [gpu('GPU-a'), gpu('GPU-b')],
    `[ "$CUDA_VISIBLE_DEVICES $*" = "GPU-a,GPU-b devices --json" ] || exit 9
     found='{"name":"cuda:0","model":"A100","memory_bytes":1}'
     echo "{\\"gpus\\":[$found,$found],\\"why_none\\":\\"\\"}"`,
  );
});

it('an agent whose trainer can use none of its GPUs says why, and what to do', async () => {
  const starting = check([gpu('GPU-a')], `echo '{"gpus":[],"why_none":"CUDA says: OS call failed"}'`);
  await expect(starting).rejects.toThrow(DeviceDiscoveryError);
  await expect(starting).rejects.toThrow(/shows 1 GPU, but the trainer can use none: CUDA says: OS call failed\. .*--cpu-slots/);
});

it('a GPU that is missing among several is missed', async () => {
  const one = `echo '{"gpus":[{"name":"cuda:0","model":"A100","memory_bytes":1}],"why_none":""}'`;
  await expect(check([gpu('GPU-a'), gpu('GPU-b')], one)).rejects.toThrow('shows 2 GPUs, but the trainer can use only 1');
});

it('a trainer that does not even start is quoted', async () => {
  await expect(check([gpu('GPU-a')], 'echo "libcudart.so.13: cannot open" >&2; exit 127')).rejects.toThrow('libcudart.so.13');
  await expect(check([gpu('GPU-a')], 'exit 3')).rejects.toThrow('it ended without an answer (exit code 3)');
});

it('on a host of CPU slots nothing is asked', async () => {
  await check([{...gpu('cpu-0'), kind: 'cpu'}], 'exit 1');
});
