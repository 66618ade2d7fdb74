import {describe, expect, it} from 'vitest';
import {visibleGpus} from './visibleGpus.js';

const gpus = ['GPU-5a1c', 'GPU-c2f4', 'GPU-0d9e'].map((uuid, index) => ({index, uuid}));

describe('CUDA_VISIBLE_DEVICES', () => {
  it.each([
    [undefined, [0, 1, 2]],
    ['1', [1]],
    ['2,0', [0, 2]],
    ['GPU-0d,GPU-5a1c', [0, 2]],
    ['', []],
    ['-1', []],
    ['NoDevFiles', []],
    ['0,-1,1', [0]],
    ['0,7,1', [0]],
    ['MIG-5a1c', []],
  ])('%s leaves %j', (visible, indices) => {
    expect(visibleGpus(gpus, visible).map(({index}) => index)).toEqual(indices);
  });
});
