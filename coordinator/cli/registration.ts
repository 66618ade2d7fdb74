import {problemOf, wasAnswered} from '../../shared/errors.js';
import type {Cli} from './cli.js';
import {EXIT} from './exitCodes.js';
import {CommandFailure} from './failure.js';

/** A data set's files are all looked at before the call is answered: minutes where there are a million, or another host holds them. */
const DEADLINE_MS = 15 * 60_000;
/** Usually it is answered sooner, and there is nothing to tell. */
const TELL_AFTER_MS = 2000;

export interface Registration<T> {
  /** The data.yaml that is registered on the way; undefined: it is registered already. */
  readonly source: string | undefined;
  call(options: {readonly deadline: number; readonly signal: AbortSignal}): Promise<T>;
  /** What to do when it is not known whether the call came about. */
  readonly ifUnknown: string;
}

/** Makes a call that may register a data set on the way: with the time that it takes, a line that says so, and what to do when it took longer. */
export async function registering<T>(cli: Cli, {source, call, ifUnknown}: Registration<T>): Promise<T> {
  const tell = (): void =>
    cli.note(cli.errStyle.dim(`the coordinator looks at every file of ${source}; that may take minutes where there are many`));
  const timer = source === undefined ? undefined : setTimeout(tell, TELL_AFTER_MS);
  try {
    return await call({deadline: DEADLINE_MS, signal: cli.signal});
  } catch (error) {
    if (cli.signal.aborted) throw new CommandFailure(EXIT.interrupted, '', ifUnknown);
    const {kind, message} = problemOf(error);
    const isLate = kind === 'timeout';
    // It answered that it does not know either: etcd, say, took the record and did not say so.
    if (!isLate && !(kind === 'unavailable' && wasAnswered(error))) throw error;
    throw new CommandFailure(EXIT.unavailable, isLate ? `the coordinator at ${cli.address} did not answer in time` : message, ifUnknown);
  } finally {
    clearTimeout(timer);
  }
}
