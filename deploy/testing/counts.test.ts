import {expect, test} from 'vitest';
import {countSuite, type ReportKind, sum} from './counts.js';

function count(kind: ReportKind, report: unknown, exitStatus: number) {
  return countSuite({name: 'suite', kind, report: report === null ? null : JSON.stringify(report), exitStatus});
}

const vitest = (...statuses: string[]) => ({
  testResults: [
    {
      name: 'a.test.ts',
      status: statuses.includes('failed') ? 'failed' : 'passed',
      assertionResults: statuses.map((status, i) => ({fullName: `test ${i}`, status})),
    },
  ],
});

const gtest = (...tests: {name: string; result: string; failures?: unknown[]}[]) => ({testsuites: [{name: 'Loss', testsuite: tests}]});

test('vitest: passed, failed and skipped tests', () => {
  expect(count('vitest', vitest('passed', 'passed', 'failed', 'skipped', 'todo'), 1)).toEqual({passed: 2, skipped: 2, failed: ['test 2']});
});

test('vitest: a file that cannot be loaded is a failure of its own', () => {
  const report = {testResults: [...vitest('failed').testResults, {name: 'b.test.ts', status: 'failed', assertionResults: []}]};
  expect(count('vitest', report, 1).failed).toEqual(['test 0', 'b.test.ts']);
});

test('gtest: passed, failed, skipped and disabled tests', () => {
  const report = gtest(
    {name: 'Falls', result: 'COMPLETED'},
    {name: 'Rises', result: 'COMPLETED', failures: [{}]},
    {name: 'OnGpu', result: 'SKIPPED'},
    {name: 'DISABLED_Slow', result: 'SUPPRESSED'},
  );
  expect(count('gtest', report, 1)).toEqual({passed: 1, skipped: 2, failed: ['Loss.Rises']});
});

test('a suite that ends badly without a failed test counts as one failure', () => {
  expect(count('vitest', vitest('passed'), 1)).toEqual({passed: 1, skipped: 0, failed: ['suite: ended with status 1']});
  expect(count('gtest', null, 139).failed).toEqual(['suite: ended with status 139']);
});

test('a suite that claims success but wrote no report is a failure', () => {
  expect(count('gtest', null, 0).failed).toEqual(['suite: wrote no report']);
});

test('suites add up', () => {
  const both = sum([count('vitest', vitest('passed', 'failed'), 1), count('gtest', gtest({name: 'Falls', result: 'COMPLETED'}), 0)]);
  expect(both).toEqual({passed: 2, skipped: 0, failed: ['test 1']});
});
