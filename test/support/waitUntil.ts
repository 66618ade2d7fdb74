import {readFileSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';

/** Waits for a condition, however long it takes within reason; `what` is told when it never comes true. */
export async function waitUntil(what: string, condition: () => boolean | Promise<boolean>, limitMs = 60_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited for ${limitMs} ms in vain: ${what}`);
    await sleep(10);
  }
}

/** Whether a process runs: not gone, and no remains that wait to be reaped. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
