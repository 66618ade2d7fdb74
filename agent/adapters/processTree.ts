import {readdirSync, readFileSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';

/** Finding and ending processes by what they carry in their environment: a pid alone may have become another process's. */

/** A process for as long as it lives: a pid is reused, a pid with its start time is not. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly startTicks: string;
}

/**
 * All living processes whose environment holds every one of `entries` (`NAME=value`). Children inherit theirs, so this finds them too,
 * wherever they have moved. Processes of other users that we may not look at are not ours.
 */
export function processesWithEnvironment(entries: readonly string[]): ProcessIdentity[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
    .flatMap(pid => {
      const environment = readProc(pid, 'environ')?.split('\0');
      const startTicks = entries.every(entry => environment?.includes(entry)) ? startTicksOf(pid) : undefined;
      return startTicks === undefined ? [] : [{pid, startTicks}];
    });
}

/** Ends all processes that carry `entries`, and resolves when none is left. A process that waits for a device may take its time. */
export async function endProcessesWithEnvironment(entries: readonly string[]): Promise<void> {
  for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 2, 100)) {
    const left = processesWithEnvironment(entries);
    if (left.length === 0) return;
    for (const identity of left) killIfSame(identity);
    await sleep(pauseMs);
  }
}

/** Sends `signal` to a process, or to a process group when negative; it may be gone already. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw new Error(`sending ${signal} to ${pid}`, {cause: error});
  }
}

function killIfSame({pid, startTicks}: ProcessIdentity): void {
  if (startTicksOf(pid) === startTicks) signalProcess(pid, 'SIGKILL');
}

/** As ps shows it: `R`, `S`, `D`, `T` (stopped), `Z` (remains that wait to be reaped), …; undefined when there is no such process. */
export function processState(pid: number): string | undefined {
  return statFields(pid)?.[0];
}

/** The pid of a process's one child. Throws when it has none, or several. */
export function onlyChildOf(pid: number): number {
  const children = readProc(pid, `task/${pid}/children`)?.trim();
  if (children === undefined || !/^\d+$/.test(children)) throw new Error(`process ${pid} has not one child but: ${children || 'none'}`);
  return Number(children);
}

/** Undefined when there is no such process, or only its remains wait to be reaped. */
function startTicksOf(pid: number): string | undefined {
  const fields = statFields(pid);
  return fields === undefined || fields[0] === 'Z' ? undefined : fields[19];
}

/** Fields of /proc/PID/stat from the state on; they are counted from the last bracket, since the command's name may hold blanks and brackets. */
function statFields(pid: number): string[] | undefined {
  return readProc(pid, 'stat')
    ?.replace(/^.*\) /s, '')
    .split(' ');
}

function readProc(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return undefined;
  }
}
