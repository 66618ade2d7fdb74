import {usageFailure} from '../failure.js';
import type {UpConfig} from './upConfig.js';

/** What one of the agents offers. */
export interface AgentShare {
  readonly nodeId: string;
  /** Indices of its GPUs; undefined: CPU slots. */
  readonly gpus: readonly number[] | undefined;
  readonly cpuSlots: number | undefined;
  readonly threadsPerDevice: number;
}

/** Shares a machine out to the agents, so that no device is offered twice. Pure. */
export function agentShares(
  config: Pick<UpConfig, 'agents' | 'cpuSlots' | 'threadsPerDevice'>,
  machine: {gpus: number; cores: number},
): AgentShare[] {
  const {agents, cpuSlots} = config;
  const useGpus = cpuSlots === undefined && machine.gpus > 0;
  if (useGpus && agents > machine.gpus)
    throw usageFailure(
      `--agents ${agents} on a machine with ${machine.gpus} GPU${machine.gpus === 1 ? '' : 's'}: each agent needs one of its own`,
      `give --agents ${machine.gpus}, or --cpu-slots 1 to train on the CPU`,
    );
  const devices = useGpus ? machine.gpus : agents * (cpuSlots ?? 1);
  const threadsPerDevice = config.threadsPerDevice ?? Math.max(1, Math.floor(machine.cores / Math.max(1, devices)));
  return Array.from({length: agents}, (_, index) => ({
    nodeId: `local-${index + 1}`,
    gpus: useGpus ? evenShare(machine.gpus, agents, index) : undefined,
    cpuSlots: useGpus ? undefined : (cpuSlots ?? 1),
    threadsPerDevice,
  }));
}

/** Neighbours stay together: they are more likely to be linked. */
function evenShare(total: number, parts: number, index: number): number[] {
  const start = Math.floor((total * index) / parts);
  const end = Math.floor((total * (index + 1)) / parts);
  return Array.from({length: end - start}, (_, offset) => start + offset);
}
