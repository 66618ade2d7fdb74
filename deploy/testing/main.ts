import {existsSync, readFileSync} from 'node:fs';
import {countSuite, REPORT_KINDS, type SuiteRun, sum} from './counts.js';

/** Prints the closing lines of `npm test` from the table that deploy/test writes: name, kind, report file, exit status. */
const [table] = process.argv.slice(2);
if (table === undefined) throw new Error('usage: main.js SUITES.tsv');
const total = sum(readFileSync(table, 'utf8').trimEnd().split('\n').map(parseRun).map(countSuite));

for (const name of total.failed) console.log(`failed: ${name}`);
if (total.skipped > 0) console.log(`skipped: ${total.skipped}`);
console.log(`${total.passed} passed, ${total.failed.length} failed`);
process.exitCode = total.failed.length === 0 ? 0 : 1;

function parseRun(line: string): SuiteRun {
  const [name, kindName, reportFile, status] = line.split('\t');
  const kind = REPORT_KINDS.find(known => known === kindName);
  if (name === undefined || kind === undefined || reportFile === undefined || status === undefined) throw new Error(`not a suite: ${line}`);
  return {name, kind, report: existsSync(reportFile) ? readFileSync(reportFile, 'utf8') : null, exitStatus: Number(status)};
}
