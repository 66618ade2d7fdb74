import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {open} from 'node:fs/promises';
import {systemClock} from '../../../shared/clock.js';
import {Backoff} from '../../backoff.js';

export interface ChildPlan {
  /** As people see it: `coordinator`, `local-1`. */
  readonly name: string;
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** It ended unasked and was started again. */
  readonly onRestart: (how: string, pid: number) => void;
  /** It ended unasked and cannot be started again for now; told once, until it can. */
  readonly onRestartFailed: (how: string, error: Error) => void;
}

/** Alive for so long, a child counts as well, and its next end as a new trouble. */
const WELL_AFTER_MS = 10_000;

/**
 * A child process that is started again when it ends unasked. It leads a process group of its own, so that Ctrl-C in the terminal reaches
 * us alone, and is told to end by the kernel when we die without a word (where `setpriv` is at hand).
 */
export class Child {
  private readonly stopping = new AbortController();
  private readonly watching: Promise<void>;

  private constructor(
    private readonly plan: ChildPlan,
    private process: ChildProcess,
  ) {
    this.watching = this.watch();
  }

  static async start(plan: ChildPlan): Promise<Child> {
    return new Child(plan, await launch(plan));
  }

  get name(): string {
    return this.plan.name;
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  private get isRunning(): boolean {
    return this.process.exitCode === null && this.process.signalCode === null;
  }

  get logFile(): string {
    return this.plan.logFile;
  }

  /** SIGTERM, and after `graceMs` SIGKILL to its whole group. Resolves when it is gone. */
  async stop(graceMs: number): Promise<void> {
    this.stopping.abort();
    await this.watching;
    const gone = new AbortController();
    const ending = goneOf(this.process).then(() => gone.abort());
    if (this.isRunning) signalTo(this.pid, 'SIGTERM');
    await systemClock.sleep(graceMs, gone.signal);
    if (!gone.signal.aborted) this.kill();
    await ending;
  }

  /** At once, with all that it started and did not put into a group of its own. */
  kill(): void {
    this.stopping.abort();
    if (this.isRunning) signalTo(-this.pid, 'SIGKILL');
  }

  private async watch(): Promise<void> {
    const {signal} = this.stopping;
    const stopped = new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), {once: true}));
    const backoff = new Backoff(systemClock);
    for (;;) {
      const startedAt = systemClock.monotonic();
      await Promise.race([goneOf(this.process), stopped]);
      if (signal.aborted) return;
      if (systemClock.monotonic() - startedAt > WELL_AFTER_MS) backoff.reset();
      await this.restart(backoff);
      if (signal.aborted) return;
    }
  }

  /** Tries until it is started again, or is no longer wanted: a machine that is out of memory or of files for a while ends nothing else. */
  private async restart(backoff: Backoff): Promise<void> {
    const {signal} = this.stopping;
    const how = howItEnded(this.process);
    for (let failures = 0; ; failures++) {
      await backoff.wait(signal);
      if (signal.aborted) return;
      try {
        this.process = await launch(this.plan);
        break;
      } catch (error) {
        if (failures === 0) this.plan.onRestartFailed(how, error as Error);
      }
    }
    this.plan.onRestart(how, this.pid);
  }
}

async function launch({command, env, logFile}: ChildPlan): Promise<ChildProcess> {
  const log = await open(logFile, 'a');
  try {
    const [program, ...args] = command;
    const child = spawn(program!, args, {stdio: ['ignore', log.fd, log.fd], detached: true, env});
    await once(child, 'spawn');
    return child;
  } finally {
    await log.close();
  }
}

function goneOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return once(child, 'exit').then(() => undefined);
}

function howItEnded({exitCode, signalCode}: ChildProcess): string {
  return signalCode === null ? `exit code ${exitCode}` : signalCode;
}

/** A process that is gone already needs no signal. */
function signalTo(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
