import {join} from 'node:path';
import {afterEach, describe, expect, it, vi} from 'vitest';
import {packageRoot} from '../../shared/packageRoot.js';
import {findDevices} from './devices.js';
import {parseGpus, parseTopology} from './nvidiaSmi.js';

const nvidiaSmi = join(packageRoot, 'test/fixtures/nvidia-smi/nvidia-smi');
const config = {nvidiaSmi, cpuSlots: undefined, threadsPerDevice: 4};

afterEach(() => vi.unstubAllEnvs());

describe('finding devices', () => {
  it('finds eight A100s that all reach each other by twelve NVLinks', async () => {
    vi.stubEnv('NVIDIA_SMI_HOST', '8xA100-SXM4');
    const devices = await findDevices(config);
    expect(devices.map(({index}) => index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(devices[0]).toMatchObject({
      id: 'GPU-5a1c9f0e-7a2b-4f6e-9d1c-0b7e3c5d8f10',
      kind: 'cuda',
      model: 'NVIDIA A100-SXM4-80GB',
      memoryBytes: 85_899_345_920,
      threads: 4,
    });
    for (const {id, links} of devices) {
      const others = devices.map(other => other.id).filter(other => other !== id);
      expect(links).toEqual(Object.fromEntries(others.map(other => [other, 'NV12'])));
    }
  });

  it('finds two RTX 4090s that reach each other through the host bridge', async () => {
    vi.stubEnv('NVIDIA_SMI_HOST', '2xRTX4090');
    const [first, second] = await findDevices(config);
    expect(first).toMatchObject({model: 'NVIDIA GeForce RTX 4090', memoryBytes: 25_757_220_864, links: {[second!.id]: 'PHB'}});
    expect(second!.links).toEqual({[first!.id]: 'PHB'});
  });

  it('offers only the GPUs that it is told to, and refuses to be told of one that is not there', async () => {
    vi.stubEnv('NVIDIA_SMI_HOST', '8xA100-SXM4');
    const devices = await findDevices({...config, gpus: [2, 3]});
    expect(devices.map(({index}) => index)).toEqual([2, 3]);
    expect(devices.map(({links}) => Object.keys(links))).toEqual([[devices[1]!.id], [devices[0]!.id]]);
    await expect(findDevices({...config, gpus: [7, 8]})).rejects.toThrow('shows no GPU 8');
  });

  it("offers no other GPUs than its own CUDA_VISIBLE_DEVICES names: those are somebody else's", async () => {
    vi.stubEnv('NVIDIA_SMI_HOST', '8xA100-SXM4');
    const indices = async (cudaVisibleDevices: string, gpus?: number[]): Promise<number[]> =>
      (await findDevices({...config, cudaVisibleDevices, gpus})).map(({index}) => index);
    expect(await indices('1,GPU-7e6d')).toEqual([1, 3]);
    expect(await indices('1,3', [3])).toEqual([3]);
    await expect(indices('1', [0])).rejects.toThrow('it shows 8 of them, of which CUDA_VISIBLE_DEVICES=1 leaves 1 visible');
    await expect(indices('9')).rejects.toThrow('CUDA_VISIBLE_DEVICES=9 names none of the 8 GPUs');
    for (const none of ['', '-1']) expect((await findDevices({...config, cudaVisibleDevices: none})).map(({id}) => id)).toEqual(['cpu-0']);
  });

  it('offers one CPU slot where there is no nvidia-smi, and as many as asked for', async () => {
    const absent = {...config, nvidiaSmi: '/nonexistent/nvidia-smi'};
    expect((await findDevices(absent)).map(({id, kind}) => ({id, kind}))).toEqual([{id: 'cpu-0', kind: 'cpu'}]);
    const slots = await findDevices({...absent, cpuSlots: 2, threadsPerDevice: undefined});
    expect(slots.map(({id}) => id)).toEqual(['cpu-0', 'cpu-1']);
    expect(slots[0]!.threads).toBeGreaterThanOrEqual(1);
  });

  it('does not train on the CPUs of a GPU host whose driver is broken', async () => {
    vi.stubEnv('NVIDIA_SMI_HOST', '');
    await expect(findDevices(config)).rejects.toThrow(/couldn't communicate with the NVIDIA driver.*--cpu-slots/s);
    expect(await findDevices({...config, cpuSlots: 1})).toHaveLength(1);
  });
});

describe('what nvidia-smi prints', () => {
  it('is refused when it is not what was asked for', () => {
    expect(() => parseGpus('0, GPU-5a1c9f0e, NVIDIA A100, [N/A]\n')).toThrow('not understood');
    expect(() => parseGpus('No devices were found\n')).toThrow('not understood');
  });

  it('has no links on a host of one GPU, nor without any matrix', () => {
    expect(parseTopology('\tGPU0\tCPU Affinity\nGPU0\t X \t0-15\n').get(0)).toEqual(new Map());
    expect(parseTopology('')).toEqual(new Map());
  });
});
