import {z} from 'zod';

/** What a suite's report says, counted. */
export interface Counts {
  readonly passed: number;
  readonly skipped: number;
  /** Names of the tests that failed. */
  readonly failed: readonly string[];
}

export const REPORT_KINDS = ['vitest', 'gtest'] as const;
export type ReportKind = (typeof REPORT_KINDS)[number];

/** A suite that ran: what it is called, the report that it was to write (null: it wrote none), and the status that it ended with. */
export interface SuiteRun {
  readonly name: string;
  readonly kind: ReportKind;
  readonly report: string | null;
  readonly exitStatus: number;
}

/**
 * Counts one suite. A suite that ended badly although its report knows of no failed test (it crashed, timed out, or a check outside
 * of the tests failed) counts as one failure: nothing bad may go uncounted.
 */
export function countSuite(run: SuiteRun): Counts {
  const counts = run.report === null ? nothing : COUNT[run.kind](JSON.parse(run.report));
  if (run.exitStatus === 0 && run.report === null) return {...counts, failed: [`${run.name}: wrote no report`]};
  if (run.exitStatus !== 0 && counts.failed.length === 0) return {...counts, failed: [`${run.name}: ended with status ${run.exitStatus}`]};
  return counts;
}

export function sum(all: readonly Counts[]): Counts {
  return {
    passed: all.reduce((total, counts) => total + counts.passed, 0),
    skipped: all.reduce((total, counts) => total + counts.skipped, 0),
    failed: all.flatMap(counts => counts.failed),
  };
}

const nothing: Counts = {passed: 0, skipped: 0, failed: []};

const COUNT: Record<ReportKind, (report: unknown) => Counts> = {vitest: countVitest, gtest: countGtest};

const vitestReport = z.object({
  testResults: z.array(
    z.object({name: z.string(), status: z.string(), assertionResults: z.array(z.object({fullName: z.string(), status: z.string()}))}),
  ),
});

function countVitest(report: unknown): Counts {
  return sum(
    vitestReport.parse(report).testResults.map(file => {
      const statuses = file.assertionResults;
      const failed = statuses.filter(test => test.status === 'failed').map(test => test.fullName);
      const passed = statuses.filter(test => test.status === 'passed').length;
      // A file that could not even be loaded has no tests to fail.
      const unloadable = file.status === 'failed' && failed.length === 0 ? [file.name] : [];
      return {passed, skipped: statuses.length - passed - failed.length, failed: [...failed, ...unloadable]};
    }),
  );
}

const gtestReport = z.object({
  testsuites: z.array(
    z.object({
      name: z.string(),
      testsuite: z.array(z.object({name: z.string(), result: z.string(), failures: z.array(z.unknown()).optional()})),
    }),
  ),
});

function countGtest(report: unknown): Counts {
  return sum(
    gtestReport.parse(report).testsuites.flatMap(suite =>
      suite.testsuite.map(test => {
        if (test.failures !== undefined) return {...nothing, failed: [`${suite.name}.${test.name}`]};
        return test.result === 'COMPLETED' ? {...nothing, passed: 1} : {...nothing, skipped: 1};
      }),
    ),
  );
}
