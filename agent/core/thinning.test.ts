import {describe, expect, it} from 'vitest';
import type {RankEvent} from '../../shared/trainerContract.js';
import {NOTHING_THINNED, type ThinningPolicy, thin} from './thinning.js';

const policy: ThinningPolicy = {thinAtBytes: 100, fullAtBytes: 200, intervalMs: 1000};
const ALWAYS_KEPT: RankEvent['type'][] = [
  'hello',
  'joined',
  'model',
  'resumed',
  'consumed',
  'epoch',
  'evaluation',
  'checkpoint',
  'warning',
  'artifact',
  'end',
  'staged',
  'started',
  'exited',
];

describe('thinning', () => {
  it.each(ALWAYS_KEPT)('never touches %s', type => {
    expect(thin(NOTHING_THINNED, 'j/1/0', type, 1_000_000, 0, policy).keep).toBe(true);
  });

  it('keeps everything while there is room', () => {
    expect(thin(NOTHING_THINNED, 'j/1/0', 'step', 99, 0, policy)).toEqual({keep: true, state: NOTHING_THINNED});
  });

  it('keeps one of each kind and rank in a while when room gets scarce, and none when there is no more', () => {
    const first = thin(NOTHING_THINNED, 'j/1/0', 'step', 150, 0, policy);
    expect(first.keep).toBe(true);
    const second = thin(first.state, 'j/1/0', 'step', 150, 999, policy);
    expect(second).toMatchObject({keep: false, state: {dropped: 1}});
    expect(thin(second.state, 'j/1/1', 'step', 150, 999, policy).keep).toBe(true);
    expect(thin(second.state, 'j/1/0', 'log', 150, 999, policy).keep).toBe(true);
    expect(thin(second.state, 'j/1/0', 'step', 150, 1000, policy).keep).toBe(true);
    expect(thin(second.state, 'j/1/0', 'step', 200, 5000, policy)).toMatchObject({keep: false, state: {dropped: 2}});
  });
});
