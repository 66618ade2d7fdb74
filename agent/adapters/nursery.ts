import {type ChildProcess, spawn} from 'node:child_process';
import type {Log} from '../../shared/log.js';

/**
 * Where trainers live, so that none outlives the agent (L6).
 *
 * `pid-namespace`: a namespace of its own for all of this agent's trainers. Its first process ends when the agent does (parent-death signal,
 * and the end of its stdin), upon which the kernel kills all that is in it, whatever its parents. All ranks share the one namespace,
 * since CUDA shares memory between processes by pid.
 * `user-pid-namespace`: the same for an agent without privileges.
 * `process-group`: where neither is permitted. A parent-death signal reaches the trainer itself, which also watches its control
 * descriptor; children of its own are found by the next agent (`endProcessesWithEnvironment`).
 */
export type Containment = 'pid-namespace' | 'user-pid-namespace' | 'process-group';

const FIRST_PROCESS = "trap '' CHLD; read -r pid _ </proc/self/stat; echo $pid; exec cat >/dev/null";
const DIES_WITH_PARENT = ['setpriv', '--pdeathsig', 'KILL'];

/** Reports the pid that the host knows it by, then becomes the trainer. */
const ANNOUNCE_AND_BECOME = 'read -r pid _ </proc/self/stat; echo "$pid" >&5; exec 5>&-; exec "$@"';
/** The descriptor on which a wrapped command reports its pid. */
export const PID_FD = 5;

interface Namespace {
  readonly process: ChildProcess;
  readonly firstPid: number;
}

export class Nursery {
  private namespace: Namespace | undefined;

  private constructor(
    readonly containment: Containment,
    private readonly canDieWithParent: boolean,
    private readonly log: Log,
  ) {}

  /** Finds out by trying what this host permits. */
  static async open(log: Log): Promise<Nursery> {
    for (const containment of ['pid-namespace', 'user-pid-namespace'] as const) {
      const nursery = new Nursery(containment, true, log);
      const outcome = await nursery.tryOut();
      if (outcome === 'works') {
        log.info('trainers end with the agent, by the kernel', {containment});
        return nursery;
      }
      log.debug('this containment does not work here', {containment, why: outcome});
    }
    const canDieWithParent = (await outcomeOf([...DIES_WITH_PARENT, 'true'])) === 'works';
    log.warn('no PID namespaces are permitted here: children of trainers may outlive a killed agent until it starts again', {
      containment: 'process-group',
      parentDeathSignal: canDieWithParent,
    });
    return new Nursery('process-group', canDieWithParent, log);
  }

  /** Without trying out anything. */
  static withContainment(containment: Containment, log: Log): Nursery {
    return new Nursery(containment, true, log);
  }

  /** The command line that runs `argv` in here and writes the pid that the host knows it by to `PID_FD`. */
  async wrap(argv: readonly string[]): Promise<string[]> {
    const announced = ['sh', '-c', ANNOUNCE_AND_BECOME, 'sh', ...argv];
    if (this.containment === 'process-group') return [...(this.canDieWithParent ? DIES_WITH_PARENT : []), ...announced];
    const {firstPid} = await this.openNamespace();
    return [...DIES_WITH_PARENT, 'nsenter', ...this.entryFlags(firstPid), '--', ...announced];
  }

  /** Ends everything in it. */
  async close(): Promise<void> {
    const namespace = this.namespace;
    if (namespace === undefined) return;
    this.namespace = undefined;
    const gone = new Promise(resolve => namespace.process.once('exit', resolve));
    namespace.process.stdin?.end();
    await gone;
  }

  private entryFlags(firstPid: number): string[] {
    const pidFlag = `--pid=/proc/${firstPid}/ns/pid`;
    return this.containment === 'pid-namespace' ? [pidFlag] : [`--user=/proc/${firstPid}/ns/user`, '--preserve-credentials', pidFlag];
  }

  private async tryOut(): Promise<string> {
    try {
      const {firstPid} = await this.openNamespace();
      return await outcomeOf([...DIES_WITH_PARENT, 'nsenter', ...this.entryFlags(firstPid), '--', 'true']);
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** The namespace, made anew if its first process was killed by somebody. */
  private async openNamespace(): Promise<Namespace> {
    if (this.namespace !== undefined) return this.namespace;
    const userFlags = this.containment === 'user-pid-namespace' ? ['--user', '--map-current-user'] : [];
    const [command, ...args] = [
      ...DIES_WITH_PARENT,
      ...['unshare', ...userFlags, '--pid', '--fork', '--kill-child', 'sh', '-c', FIRST_PROCESS],
    ];
    const child = spawn(command!, args, {stdio: ['pipe', 'pipe', 'pipe'], detached: true});
    const namespace = {process: child, firstPid: await firstPidOf(child)};
    child.stdin.on('error', () => {});
    child.once('exit', () => {
      if (this.namespace !== namespace) return;
      this.namespace = undefined;
      this.log.warn('the namespace of the trainers was ended from outside; it is made anew for the next one');
    });
    this.namespace = namespace;
    return namespace;
  }
}

function firstPidOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let stderr = '';
    child.stderr?.on('data', data => {
      stderr += String(data);
    });
    child.stdout?.once('data', data => resolve(Number(String(data))));
    child.once('error', reject);
    child.once('close', code => reject(new Error(`making a namespace failed with ${code}: ${stderr.trim()}`)));
  });
}

function outcomeOf([command, ...args]: readonly string[]): Promise<string> {
  return new Promise(resolve => {
    const child = spawn(command!, args, {stdio: ['ignore', 'ignore', 'pipe']});
    let stderr = '';
    child.stderr.on('data', data => {
      stderr += String(data);
    });
    child.once('error', error => resolve(error.message));
    child.once('close', code => resolve(code === 0 ? 'works' : stderr.trim() || `exit code ${code}`));
  });
}
