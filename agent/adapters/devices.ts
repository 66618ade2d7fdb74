import {execFile} from 'node:child_process';
import {availableParallelism, cpus, totalmem} from 'node:os';
import {promisify} from 'node:util';
import type {Device} from '../../shared/observation.js';
import {visibleGpus} from '../../shared/visibleGpus.js';
import {GPU_QUERY, type Gpu, parseGpus, parseTopology, TOPOLOGY_QUERY} from './nvidiaSmi.js';

export interface DeviceConfig {
  /** The program to ask; a path, or a name to be looked for. */
  readonly nvidiaSmi: string;
  /** Offer only the GPUs of these indices; undefined: all. */
  readonly gpus?: readonly number[] | undefined;
  /** The agent's own CUDA_VISIBLE_DEVICES, which nvidia-smi does not heed: other GPUs are other people's. */
  readonly cudaVisibleDevices?: string | undefined;
  /** Offer so many CPU slots and no GPU; undefined: the GPUs, or one slot where there is none. */
  readonly cpuSlots: number | undefined;
  /** CPU threads of each device; undefined: an equal share of the machine's. */
  readonly threadsPerDevice: number | undefined;
}

const NVIDIA_SMI_LIMIT_MS = 60_000;

/** Devices cannot be told; what to do about it is in the message. */
export class DeviceDiscoveryError extends Error {
  override readonly name = 'DeviceDiscoveryError';
}

/** What this node has to train on. */
export async function findDevices(config: DeviceConfig): Promise<Device[]> {
  if (config.cpuSlots !== undefined) return cpuSlots(config.cpuSlots, config.threadsPerDevice);
  const gpus = await run(config.nvidiaSmi, GPU_QUERY);
  if (gpus === undefined) return cpuSlots(1, config.threadsPerDevice);
  const offered = chosen(parseGpus(gpus), config);
  if (offered.length === 0) return cpuSlots(1, config.threadsPerDevice);
  const topology = (await run(config.nvidiaSmi, TOPOLOGY_QUERY)) ?? '';
  return gpuDevices(offered, parseTopology(topology), config.threadsPerDevice);
}

/** None where CUDA_VISIBLE_DEVICES says so by being empty or -1. */
function chosen(all: readonly Gpu[], {gpus: wanted, nvidiaSmi, cudaVisibleDevices}: DeviceConfig): readonly Gpu[] {
  const gpus = visibleGpus(all, cudaVisibleDevices);
  const variable = `CUDA_VISIBLE_DEVICES=${cudaVisibleDevices}`;
  if (gpus.length === 0 && cudaVisibleDevices !== '' && cudaVisibleDevices !== '-1')
    throw new DeviceDiscoveryError(
      `${variable} names none of the ${all.length} GPUs that ${nvidiaSmi} shows. Correct it, or offer CPU slots with --cpu-slots.`,
    );
  const missing = wanted?.filter(index => !gpus.some(gpu => gpu.index === index)) ?? [];
  if (missing.length > 0)
    throw new DeviceDiscoveryError(
      `${nvidiaSmi} shows no GPU ${missing.join(', ')}, which --gpus names; it shows ${all.length} of them` +
        `${gpus.length < all.length ? `, of which ${variable} leaves ${gpus.length} visible` : ''}.`,
    );
  return wanted === undefined ? gpus : gpus.filter(gpu => wanted.includes(gpu.index));
}

function gpuDevices(
  gpus: readonly Gpu[],
  topology: ReadonlyMap<number, ReadonlyMap<number, string>>,
  threadsPerDevice: number | undefined,
): Device[] {
  const uuidOf = new Map(gpus.map(gpu => [gpu.index, gpu.uuid]));
  const threads = threadsPerDevice ?? shareOfCores(gpus.length);
  return gpus.map(({index, uuid, name, memoryBytes}) => ({
    id: uuid,
    kind: 'cuda',
    index,
    model: name,
    memoryBytes,
    threads,
    links: Object.fromEntries(
      [...(topology.get(index) ?? [])].flatMap(([peer, link]) => (uuidOf.has(peer) ? [[uuidOf.get(peer)!, link]] : [])),
    ),
  }));
}

function cpuSlots(count: number, threadsPerDevice: number | undefined): Device[] {
  const model = cpus()[0]?.model.trim() || 'CPU';
  return Array.from({length: count}, (_, index) => ({
    id: `cpu-${index}`,
    kind: 'cpu',
    index,
    model,
    memoryBytes: Math.floor(totalmem() / count),
    threads: threadsPerDevice ?? shareOfCores(count),
    links: {},
  }));
}

function shareOfCores(devices: number): number {
  return Math.max(1, Math.floor(availableParallelism() / Math.max(1, devices)));
}

/** What it printed; undefined when there is no such program, and so no GPU. A host whose driver is broken must not train on its CPUs unasked. */
async function run(program: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const {stdout} = await promisify(execFile)(program, [...args], {timeout: NVIDIA_SMI_LIMIT_MS});
    return stdout;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    const {stdout = '', stderr = ''} = error as {stdout?: string; stderr?: string};
    throw new DeviceDiscoveryError(
      `${program} failed: ${(stdout + stderr).trim() || (error as Error).message}. Mend the driver, or offer CPU slots with --cpu-slots.`,
      {cause: error},
    );
  }
}
