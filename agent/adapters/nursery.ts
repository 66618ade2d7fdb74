import {type ChildProcess, spawn} from 'node:child_process';
import type {Log} from '../../shared/log.js';
import {onlyChildOf} from './processTree.js';

/**
 * Where trainers live, so that none outlives the agent (L6).
 *
 * `pid-namespace`: a namespace of its own for all of this agent's trainers. Its first process ends when the agent does (parent-death signal,
 * and the end of its stdin), upon which the kernel kills all that is in it, whatever its parents. All ranks share the one namespace,
 * since CUDA shares memory between processes by pid. /proc is the namespace's own: NVIDIA's driver looks for its threads there by the ids
 * that they have in the namespace, and finds no GPU where they are not.
 * `user-pid-namespace`: the same for an agent without privileges.
 * `process-group`: where neither is permitted. A parent-death signal reaches the trainer itself, which also watches its control
 * descriptor; children of its own are found by the next agent (`endProcessesWithEnvironment`).
 */
export type Containment = 'pid-namespace' | 'user-pid-namespace' | 'process-group';

const FIRST_PROCESS = "trap '' CHLD; echo; exec cat >/dev/null";
const DIES_WITH_PARENT = ['setpriv', '--pdeathsig', 'KILL'];
/** Only /proc is another: mounts of the host's are seen in there as they come and go. */
const OWN_PROC = ['--mount-proc', '--propagation', 'unchanged'];
const PROC_IS_OWN = 'read -r pid _ </proc/self/stat; [ "$pid" = $$ ]';

/**
 * Goes to the folder (whoever enters the namespace finds himself in its root), says that it is there, and becomes the trainer when
 * it has been looked at.
 */
const ARRIVE_AND_BECOME = 'cd "$1" || exit; shift; echo >&5; read -r _ <&5; exec 5>&-; exec "$@"';
/** The descriptor on which a wrapped command says that it is in, by a line, and waits for one. */
export const ARRIVAL_FD = 5;

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

  /** The command line that runs `argv` in here, in the folder `cwd`; see `ARRIVAL_FD`. */
  async wrap(argv: readonly string[], cwd: string): Promise<string[]> {
    const arriving = ['sh', '-c', ARRIVE_AND_BECOME, 'sh', cwd, ...argv];
    if (this.containment === 'process-group') return [...(this.canDieWithParent ? DIES_WITH_PARENT : []), ...arriving];
    const {firstPid} = await this.openNamespace();
    return [...DIES_WITH_PARENT, 'nsenter', ...this.entryFlags(firstPid), '--', ...arriving];
  }

  /** The pid that the host knows a wrapped command by that is in; `wrapper` is that of the process that was started. */
  pidOf(wrapper: number): number {
    return this.containment === 'process-group' ? wrapper : onlyChildOf(wrapper);
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
    const [namespaces, root] = [`/proc/${firstPid}/ns`, `/proc/${firstPid}/root`];
    // The root as well, since the agent's own may be a chroot.
    const flags = [`--pid=${namespaces}/pid`, `--mount=${namespaces}/mnt`, `--root=${root}`, `--wd=${root}`];
    return this.containment === 'pid-namespace' ? flags : [`--user=${namespaces}/user`, '--preserve-credentials', ...flags];
  }

  private async tryOut(): Promise<string> {
    try {
      const {firstPid} = await this.openNamespace();
      return await outcomeOf([...DIES_WITH_PARENT, 'nsenter', ...this.entryFlags(firstPid), '--', 'sh', '-c', PROC_IS_OWN]);
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
      ...['unshare', ...userFlags, '--pid', ...OWN_PROC, '--fork', '--kill-child', 'sh', '-c', FIRST_PROCESS],
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
    child.stdout?.once('data', () => {
      try {
        resolve(onlyChildOf(child.pid!));
      } catch (error) {
        reject(error);
      }
    });
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
