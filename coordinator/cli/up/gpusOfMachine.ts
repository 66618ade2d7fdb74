import {execFile} from 'node:child_process';
import {promisify} from 'node:util';
import {visibleGpus} from '../../../shared/visibleGpus.js';

/** Indices of this machine's GPUs, as far as CUDA_VISIBLE_DEVICES leaves them visible. */
export async function gpusOfMachine(env: NodeJS.ProcessEnv = process.env): Promise<number[]> {
  try {
    const {stdout} = await promisify(execFile)(env.TENFOLD_NVIDIA_SMI || 'nvidia-smi', ['--list-gpus'], {env, timeout: 20_000});
    const gpus = [...stdout.matchAll(/^GPU (\d+): .*\(UUID: (GPU-[^)]+)\)/gm)].map(([, index, uuid]) => ({
      index: Number(index),
      uuid: uuid!,
    }));
    return visibleGpus(gpus, env.CUDA_VISIBLE_DEVICES).map(({index}) => index);
  } catch {
    // No such program, or a broken driver: the agents look again, and tell.
    return [];
  }
}
