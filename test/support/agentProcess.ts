import {type ChildProcess, spawn} from 'node:child_process';
import {join} from 'node:path';
import {DIST} from './build.js';

/** An agent as a process of its own, through the command line, for tests that kill it. */
export class AgentProcess {
  private output = '';
  readonly ended: Promise<number | null>;

  private constructor(private readonly child: ChildProcess) {
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', data => {
        this.output += String(data);
      });
    this.ended = new Promise(resolve => child.once('close', code => resolve(code)));
  }

  static start(nodeId: string, coordinator: {host: string; port: number}, dataDir: string, ...flags: string[]): AgentProcess {
    const args = [
      'agent',
      ...['--node-id', nodeId, '--coordinator', `${coordinator.host}:${coordinator.port}`, '--data-dir', dataDir],
      ...['--cpu-slots', '1', '--threads-per-device', '1', '--heartbeat', '200ms', '--progress-interval', '10ms'],
      ...flags,
    ];
    const child = spawn(process.execPath, [join(DIST, 'coordinator/cli/main.js'), ...args], {stdio: ['ignore', 'pipe', 'pipe']});
    return new AgentProcess(child);
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** What it wrote, for failures. */
  log(): string {
    return this.output;
  }
}
