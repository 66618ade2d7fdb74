import {describe, expect, it} from 'vitest';
import {backoffMs, isWorthRepeating, RECONNECT_BACKOFF} from './retrying.js';

describe('the wait before another try', () => {
  it('doubles from 50 ms to 2 s, and spreads by a half', () => {
    const longest = [1, 2, 3, 4, 5, 6, 7, 100].map(failures => backoffMs(RECONNECT_BACKOFF, failures, 0));
    expect(longest).toEqual([50, 100, 200, 400, 800, 1600, 2000, 2000]);
    expect(backoffMs(RECONNECT_BACKOFF, 7, 1)).toBe(1000);
  });

  it('is for what may pass, not for refusals', () => {
    expect(isWorthRepeating({kind: 'unavailable', message: '', retryAfterMs: 0})).toBe(true);
    expect(isWorthRepeating({kind: 'timeout', message: ''})).toBe(true);
    expect(isWorthRepeating({kind: 'stale', message: ''})).toBe(false);
    expect(isWorthRepeating({kind: 'precondition', message: '', type: '', subject: ''})).toBe(false);
    expect(isWorthRepeating({kind: 'invalid', message: '', fields: []})).toBe(false);
  });
});
