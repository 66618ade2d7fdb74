import {type ChildProcess, spawn} from 'node:child_process';
import {once} from 'node:events';
import {constants} from 'node:fs';
import {access} from 'node:fs/promises';
import type {Duplex, Readable} from 'node:stream';
import {setTimeout as sleep} from 'node:timers/promises';
import type {Clock} from '../../shared/clock.js';
import type {TrainerCommand, TrainerEvent} from '../../shared/trainerContract.js';
import {CONTROL_FD, EVENTS_FD, type RankLaunch, SPAWN_MARK} from '../core/launch.js';
import {droppedNote, fullBucket, LOG_LIMIT, passLine} from '../core/logLimit.js';
import type {ProcessExit} from '../core/observe.js';
import type {RankSink, RunningTrainer, Trainers} from '../ports.js';
import {linesOf} from './lines.js';
import {ARRIVAL_FD, type Nursery} from './nursery.js';
import {endProcessesWithEnvironment, processState, signalProcess} from './processTree.js';
import {readTrainerEvents} from './trainerEvents.js';

/** Lines of stderr that are kept to explain an exit. */
const LAST_WORDS = 5;
/** How long to go on reading from someone who holds a descriptor of a trainer that is gone, children included. */
const DRAIN_LIMIT_MS = 2000;
const WRAPPER_LOOK_MS = 500;

/** One process per rank, each leading a process group of its own, in the nursery. */
export class TrainerProcesses implements Trainers {
  constructor(
    private readonly nursery: Nursery,
    private readonly clock: Clock,
  ) {}

  async start(launch: RankLaunch, sink: RankSink): Promise<RunningTrainer> {
    await access(launch.argv[0]!, constants.X_OK);
    const [command, ...args] = await this.nursery.wrap(launch.argv, launch.cwd);
    const child = spawn(command!, args, {cwd: launch.cwd, env: {...launch.env}, stdio: stdioOfTrainer(), detached: true});
    const exited = exitOf(child);
    const lastWords: string[] = [];
    const stderrSink: RankSink['log'] = (stream, line) => {
      lastWords.push(line);
      if (lastWords.length > LAST_WORDS) lastWords.shift();
      return sink.log(stream, line);
    };
    const events = new HeldEvents(sink);
    const read = Promise.all([
      readTrainerEvents(descriptor(child, EVENTS_FD), events),
      this.readLog(child.stdout!, 'stdout', sink.log.bind(sink)),
      this.readLog(child.stderr!, 'stderr', stderrSink),
    ]);
    read.catch(() => {});
    const control = descriptor(child, CONTROL_FD);
    control.on('error', () => {});
    const arrived = descriptor(child, ARRIVAL_FD);
    // Whoever said that he is in may be gone before he is answered.
    arrived.on('error', () => {});
    const ended = endedOf(child, exited, {read, events}, launch).then(exit => ({exit, stderr: lastWords.join('\n')}));
    ended.catch(() => {});
    await Promise.race([once(arrived, 'data'), exited.then(exit => Promise.reject(new Error(earlyExit(exit))))]);
    const pid = await this.pidOf(child, ended);
    arrived.end('\n');
    keepWrapperAwake(child, pid);
    return {
      pid,
      ended,
      signal: signal => signalTrainer(child, pid, signal),
      command: (command: TrainerCommand) => void control.write(`${JSON.stringify(command)}\n`),
    };
  }

  /** A child whose pid cannot be told is ended, and gone when that is thrown: nobody else could. */
  private async pidOf(child: ChildProcess, ended: Promise<unknown>): Promise<number> {
    try {
      return this.nursery.pidOf(child.pid!);
    } catch (error) {
      killGroup(child);
      await ended;
      throw error;
    }
  }

  private async readLog(stream: Readable, name: 'stdout' | 'stderr', log: RankSink['log']): Promise<void> {
    let bucket = fullBucket(LOG_LIMIT, this.clock.monotonic());
    for await (const {text, cut} of linesOf(stream, LOG_LIMIT.lineBytes)) {
      const passed = passLine(bucket, cut ? `${text}…` : text, this.clock.monotonic(), LOG_LIMIT);
      bucket = passed.bucket;
      for (const line of passed.lines) await log(name, line);
    }
    for (const note of droppedNote(bucket)) await log(name, note);
  }
}

/** stdin, stdout, stderr, events, control, arrival. */
function stdioOfTrainer(): ('ignore' | 'pipe')[] {
  const stdio: ('ignore' | 'pipe')[] = ['ignore', 'pipe', 'pipe'];
  for (const descriptor of [EVENTS_FD, CONTROL_FD, ARRIVAL_FD]) stdio[descriptor] = 'pipe';
  return stdio;
}

/** A descriptor beyond the standard ones; each is a socket pair. */
function descriptor(child: ChildProcess, fd: number): Duplex {
  return (child.stdio as unknown as readonly Duplex[])[fd]!;
}

function earlyExit(exit: ProcessExit): string {
  return exit.kind === 'spawnFailed' ? exit.message : `it ended before it began (${exit.kind === 'code' ? exit.code : exit.signal})`;
}

function exitOf(child: ChildProcess): Promise<ProcessExit> {
  return new Promise(resolve => {
    child.once('error', error => resolve({kind: 'spawnFailed', message: error.message}));
    child.once('exit', (code, signal) => resolve(code === null ? {kind: 'signal', signal: signal ?? 'SIGKILL'} : {kind: 'code', code}));
  });
}

/** The exit, once children are gone as well and every word was read. */
async function endedOf(
  child: ChildProcess,
  exited: Promise<ProcessExit>,
  reading: {read: Promise<unknown>; events: HeldEvents},
  launch: RankLaunch,
): Promise<ProcessExit> {
  const exit = await exited;
  await endProcessesWithEnvironment(marksOf(launch));
  await drained(reading);
  for (const stream of child.stdio) stream?.destroy();
  await reading.read.catch(() => {});
  return exit;
}

/** Reads on for a while; while a sink holds the next word back, for as long as it takes. */
async function drained({read, events}: {read: Promise<unknown>; events: HeldEvents}): Promise<void> {
  const settled = read.catch(() => {});
  let wasHeld: boolean;
  do {
    wasHeld = events.areHeld;
    await Promise.race([settled, sleep(DRAIN_LIMIT_MS, undefined, {ref: false})]);
  } while (wasHeld || events.areHeld);
}

/** Tells whether its sink is at an event: then no more are read because of the sink, not because of whoever holds the descriptor. */
class HeldEvents implements Pick<RankSink, 'event' | 'badEvent'> {
  private count = 0;

  constructor(private readonly sink: RankSink) {}

  get areHeld(): boolean {
    return this.count > 0;
  }

  async event(event: TrainerEvent, json: string): Promise<void> {
    this.count++;
    await this.sink.event(event, json).finally(() => this.count--);
  }

  badEvent(line: string, message: string): Promise<void> {
    return this.sink.badEvent(line, message);
  }
}

/**
 * `nsenter` stops itself when its child is stopped, and is not woken when the child goes on or is killed: the trainer's exit would never be
 * seen. So it is woken once its child is no longer stopped (earlier, it would wake the child).
 */
function keepWrapperAwake(child: ChildProcess, pid: number): void {
  const wrapper = child.pid;
  if (wrapper === undefined || wrapper === pid) return;
  const look = setInterval(() => {
    if (processState(wrapper) === 'T' && processState(pid) !== 'T') signalProcess(wrapper, 'SIGCONT');
  }, WRAPPER_LOOK_MS);
  look.unref();
  child.once('exit', () => clearInterval(look));
}

/** What only this rank and its children carry in their environment. */
function marksOf({env}: RankLaunch): string[] {
  return [SPAWN_MARK, 'TENFOLD_GENERATION', 'RANK'].map(name => `${name}=${env[name]}`);
}

/** SIGTERM is for the trainer alone, which knows how to end; SIGKILL is for its whole group. Nothing is sent to a pid that was reaped. */
function signalTrainer(child: ChildProcess, pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (isReaped(child)) return;
  signalProcess(pid, signal);
  if (signal === 'SIGKILL') killGroup(child);
}

function killGroup(child: ChildProcess): void {
  if (!isReaped(child)) signalProcess(-child.pid!, 'SIGKILL');
}

function isReaped(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}
