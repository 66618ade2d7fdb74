import {describe, expect, it} from 'vitest';
import {droppedNote, fullBucket, type LogLimit, passLine} from './logLimit.js';

const limit: LogLimit = {lineBytes: 100, linesPerSecond: 2, burst: 3};

describe('the cap on log lines', () => {
  it('passes a burst, then a steady rate, and says how many lines it dropped', () => {
    let bucket = fullBucket(limit, 0);
    const passed: string[] = [];
    const say = (line: string, now: number): void => {
      const result = passLine(bucket, line, now, limit);
      bucket = result.bucket;
      passed.push(...result.lines);
    };
    for (let i = 1; i <= 6; i++) say(`line ${i}`, 0);
    say('line 7', 500);
    say('line 8', 500);
    expect(passed).toEqual(['line 1', 'line 2', 'line 3', '… 3 lines dropped', 'line 7']);
    expect(droppedNote(bucket)).toEqual(['… 1 lines dropped']);
    say('line 9', 60_000);
    say('line 10', 60_000);
    expect(passed.slice(5)).toEqual(['… 1 lines dropped', 'line 9', 'line 10']);
  });
});
