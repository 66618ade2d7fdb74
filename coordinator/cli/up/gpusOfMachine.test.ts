import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import * as path from 'node:path';
import {afterEach, beforeEach, expect, it} from 'vitest';
import {writeScript} from '../../../test/support/script.js';
import {gpusOfMachine} from './gpusOfMachine.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'tenfold-gpus-'));
});
afterEach(() => rm(folder, {recursive: true, force: true}));

it('counts the GPUs that nvidia-smi lists and CUDA_VISIBLE_DEVICES leaves visible; none where there is no nvidia-smi, or a broken driver', async () => {
  const program = path.join(folder, 'nvidia-smi');
  const gpus = (more: NodeJS.ProcessEnv = {}): Promise<number[]> =>
    gpusOfMachine({PATH: process.env.PATH, TENFOLD_NVIDIA_SMI: program, ...more});
  expect(await gpus()).toEqual([]);
  await writeScript(program, 'exit 9');
  expect(await gpus()).toEqual([]);
  await writeScript(
    program,
    `[ "$*" = --list-gpus ] || exit 2
     echo 'GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-5a1c9f0e)'; echo '  MIG 1g.10gb Device 0: (UUID: MIG-7089)'; echo 'GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-c2f4e6a8)'`,
  );
  expect(await gpus()).toEqual([0, 1]);
  expect(await gpus({CUDA_VISIBLE_DEVICES: '1'})).toEqual([1]);
  expect(await gpus({CUDA_VISIBLE_DEVICES: ''})).toEqual([]);
});
