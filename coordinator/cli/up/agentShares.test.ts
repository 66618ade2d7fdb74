import {describe, expect, it} from 'vitest';
import {agentShares} from './agentShares.js';

const nothingSaid = {cpuSlots: undefined, threadsPerDevice: undefined};

describe('sharing a machine out', () => {
  it('gives two agents on two cores one slot with one thread each', () => {
    const shares = agentShares({agents: 2, ...nothingSaid}, {gpus: [], cores: 2});
    expect(shares).toEqual([
      {nodeId: 'local-1', gpus: undefined, cpuSlots: 1, threadsPerDevice: 1},
      {nodeId: 'local-2', gpus: undefined, cpuSlots: 1, threadsPerDevice: 1},
    ]);
  });

  it('offers every GPU once, neighbours together', () => {
    expect(agentShares({agents: 3, ...nothingSaid}, {gpus: [0, 1, 2, 3, 4, 5, 6, 7], cores: 64}).map(({gpus}) => gpus)).toEqual([
      [0, 1],
      [2, 3, 4],
      [5, 6, 7],
    ]);
  });

  it('offers the GPUs that it may see, whatever their indices', () => {
    expect(agentShares({agents: 2, ...nothingSaid}, {gpus: [3, 5], cores: 8}).map(({gpus}) => gpus)).toEqual([[3], [5]]);
  });

  it('refuses more agents than GPUs, and says what to do', () => {
    expect(() => agentShares({agents: 2, ...nothingSaid}, {gpus: [0], cores: 8})).toThrow('--agents 2 on a machine with 1 GPU');
  });

  it('leaves GPUs alone when CPU slots were asked for', () => {
    const [share] = agentShares({agents: 1, cpuSlots: 2, threadsPerDevice: undefined}, {gpus: [0], cores: 8});
    expect(share).toMatchObject({gpus: undefined, cpuSlots: 2, threadsPerDevice: 4});
  });
});
