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

/** Shares a machine out to the agents, so that no device is offered twice; `gpus` are the indices of its GPUs. Pure. */
export function agentShares(
  config: Pick<UpConfig, 'agents' | 'cpuSlots' | 'threadsPerDevice'>,
  machine: {gpus: readonly number[]; cores: number},
): AgentShare[] {
  const {agents, cpuSlots} = config;
  const count = machine.gpus.length;
  const useGpus = cpuSlots === undefined && count > 0;
  if (useGpus && agents > count)
    throw usageFailure(
      `--agents ${agents} on a machine with ${count} GPU${count === 1 ? '' : 's'}: each agent needs one of its own`,
      `give --agents ${count}, or --cpu-slots 1 to train on the CPU`,
    );
  const devices = useGpus ? count : agents * (cpuSlots ?? 1);
  const threadsPerDevice = config.threadsPerDevice ?? Math.max(1, Math.floor(machine.cores / Math.max(1, devices)));
  return Array.from({length: agents}, (_, index) => ({
    nodeId: `local-${index + 1}`,
    gpus: useGpus ? evenShare(machine.gpus, agents, index) : undefined,
    cpuSlots: useGpus ? undefined : (cpuSlots ?? 1),
    threadsPerDevice,
  }));
}

/** Neighbours stay together: they are more likely to be linked. */
function evenShare(gpus: readonly number[], parts: number, index: number): readonly number[] {
  return gpus.slice(Math.floor((gpus.length * index) / parts), Math.floor((gpus.length * (index + 1)) / parts));
}
