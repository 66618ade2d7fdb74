#!/usr/bin/env node
import {constants} from 'node:os';
import {run} from './run.js';
import {keepIpServerNamesQuiet} from './warnings.js';

/** The process: signals, streams, and the exit code. Everything else is `run`. */

keepIpServerNamesQuiet();

const stop = new AbortController();
let received: NodeJS.Signals | undefined;

function onSignal(signal: NodeJS.Signals): void {
  // Ctrl-C for the second time is meant: whatever is still being done tidily is left as it is. SIGTERM says the same however often it
  // comes: the kernel sends it once for each thread of a parent that was killed.
  if (received !== undefined && signal === 'SIGINT') process.exit(128 + constants.signals[signal]);
  received ??= signal;
  stop.abort();
}
process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);
// The terminal was closed.
process.on('SIGHUP', onSignal);
// `tenfold ps | head`: the reader has seen enough.
process.stdout.on('error', error => {
  if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
  process.exit(0);
});

const exitCode = await run(process.argv.slice(2), {
  out: process.stdout,
  err: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  signal: stop.signal,
});
process.exitCode = exitCode === 130 && received !== 'SIGINT' ? 143 : exitCode;
// Nothing should keep the process now. Should something all the same, it must not hold up who waits for its end.
setTimeout(() => process.exit(), 3000).unref();
