import {type ChildProcess, spawn} from 'node:child_process';
import {chmod, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterEach, beforeAll, beforeEach, describe, expect, it, vi} from 'vitest';
import {Nursery} from '../../../agent/adapters/nursery.js';
import {endProcessesWithEnvironment, processesWithEnvironment, processState} from '../../../agent/adapters/processTree.js';
import {TrainerProcesses} from '../../../agent/adapters/trainerProcess.js';
import {type RankLaunch, SPAWN_MARK} from '../../../agent/core/launch.js';
import type {RankSink} from '../../../agent/ports.js';
import {systemClock} from '../../../shared/clock.js';
import {silentLog} from '../../../shared/log.js';
import type {TrainerEvent} from '../../../shared/trainerContract.js';
import {buildOnce, DIST} from '../../support/build.js';
import {writeScript} from '../../support/script.js';
import {isRunning, waitUntil} from '../../support/waitUntil.js';

/** Life and death of processes; what runs here are shell scripts, since any program must be held in the same way. */

let folder: string;
let nursery: Nursery;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tenfold-processes-'));
  nursery = await Nursery.open(silentLog);
});

afterEach(async () => {
  await nursery.close();
  await endProcessesWithEnvironment([`${SPAWN_MARK}=${folder}`]);
  await rm(folder, {recursive: true, force: true});
});

async function program(script: string): Promise<RankLaunch> {
  const path = join(folder, 'program');
  await writeScript(path, script);
  const env = {PATH: process.env.PATH!, RANK: '0', TENFOLD_GENERATION: '5', [SPAWN_MARK]: folder};
  return {rank: 0, deviceId: 'cpu-0', argv: [path, 'train', 'config.json'], env, cwd: folder};
}

class Heard implements RankSink {
  readonly events: TrainerEvent[] = [];
  readonly bad: string[] = [];
  readonly lines: string[] = [];

  async event(event: TrainerEvent): Promise<void> {
    this.events.push(event);
  }
  async badEvent(line: string): Promise<void> {
    this.bad.push(line);
  }
  async log(stream: 'stdout' | 'stderr', line: string): Promise<void> {
    this.lines.push(`${stream}: ${line}`);
  }
}

const trainers = (): TrainerProcesses => new TrainerProcesses(nursery, systemClock);
/** The pids, as the host sees them, of the processes that carry `NAME=value`. */
const pidsOf = (name: string): number[] => processesWithEnvironment([`${SPAWN_MARK}=${folder}`, `MEMBER=${name}`]).map(({pid}) => pid);

describe('a trainer process', () => {
  it('is known by the pid that the host sees, and everything that it said was read before its end is told', async () => {
    const heard = new Heard();
    const trainer = await trainers().start(
      await program(`
        while [ ! -e seen ]; do sleep 0.01; done
        echo "args $*"; echo "no such thing" >&2
        printf '%s\\n' '{"type":"joined","t":1,"backend":"gloo"}' 'not an event' >&3
        printf '%s' '{"type":"end","t":2,"exit_code":11,"reason":"bad_data","message":"no images"}' >&3
        exit 11`),
      heard,
    );
    await waitUntil('it runs', async () => (await readFile(`/proc/${trainer.pid}/cmdline`, 'utf8')).includes(join(folder, 'program')));
    await writeFile(join(folder, 'seen'), '');
    expect(await trainer.ended).toEqual({exit: {kind: 'code', code: 11}, stderr: 'no such thing'});
    expect(heard.events.map(({type}) => type)).toEqual(['joined', 'end']);
    expect(heard.bad).toEqual(['not an event']);
    expect(heard.lines.sort()).toEqual(['stderr: no such thing', 'stdout: args train config.json']);
  });

  it('finds its threads in /proc by the ids that it knows them by, as the driver of its GPU will', async () => {
    const heard = new Heard();
    const trainer = await trainers().start(await program('printf trains >/proc/self/task/$$/comm && cat /proc/$$/comm'), heard);
    expect(await trainer.ended).toEqual({exit: {kind: 'code', code: 0}, stderr: ''});
    expect(heard.lines).toEqual(['stdout: trains']);
  });

  it('hears commands', async () => {
    const trainer = await trainers().start(await program('read -r line <&4; echo "heard $line"; exit 0'), new Heard());
    trainer.command({cmd: 'stop', checkpoint: true});
    expect((await trainer.ended).exit).toEqual({kind: 'code', code: 0});
  });

  it('has ended only when its children are gone as well, those in other sessions included', async () => {
    const trainer = await trainers().start(
      await program(`
        MEMBER=child sleep 1000 &
        MEMBER=grandchild setsid sleep 1000 &
        while [ ! -e go ]; do sleep 0.01; done
        exit 0`),
      new Heard(),
    );
    await waitUntil('both run', () => ['child', 'grandchild'].every(name => pidsOf(name).length === 1));
    const pids = ['child', 'grandchild'].flatMap(pidsOf);
    await writeFile(join(folder, 'go'), '');
    expect((await trainer.ended).exit).toEqual({kind: 'code', code: 0});
    expect(pids.filter(isRunning)).toEqual([]);
  });

  it('can end by itself on SIGTERM', async () => {
    const script = "trap 'echo bye; exit 23' TERM; echo ready; while :; do sleep 0.01; done";
    const heard = new Heard();
    const trainer = await trainers().start(await program(script), heard);
    await waitUntil('it is ready', () => heard.lines.includes('stdout: ready'));
    trainer.signal('SIGTERM');
    expect((await trainer.ended).exit).toEqual({kind: 'code', code: 23});
    expect(heard.lines).toContain('stdout: bye');
  });

  it('cannot withstand SIGKILL', async () => {
    const heard = new Heard();
    const trainer = await trainers().start(await program("trap '' TERM; echo ready; while :; do sleep 0.01; done"), heard);
    await waitUntil('it is ready', () => heard.lines.includes('stdout: ready'));
    trainer.signal('SIGTERM');
    trainer.signal('SIGKILL');
    expect((await trainer.ended).exit).toEqual({kind: 'signal', signal: 'SIGKILL'});
    trainer.signal('SIGKILL');
  });

  it('is known to have been killed by somebody else', async () => {
    const trainer = await trainers().start(await program('exec sleep 1000'), new Heard());
    process.kill(trainer.pid, 'SIGKILL');
    expect((await trainer.ended).exit).toEqual({kind: 'signal', signal: 'SIGKILL'});
  });

  it('may be stopped like any process: it stays so, goes on when told, and its end is seen however it comes', async () => {
    const script = 'echo ready; while [ ! -e go ]; do sleep 0.01; done; exit 3';
    const [goesOn, isKilled] = [new Heard(), new Heard()];
    const launch = await program(script);
    const first = await trainers().start(launch, goesOn);
    const second = await trainers().start({...launch, rank: 1, env: {...launch.env, RANK: '1'}}, isKilled);
    await waitUntil('both are ready', () => [goesOn, isKilled].every(({lines}) => lines.includes('stdout: ready')));
    for (const {pid} of [first, second]) process.kill(pid, 'SIGSTOP');
    await waitUntil('both are stopped', () => [first, second].every(({pid}) => processState(pid) === 'T'));
    await writeFile(join(folder, 'go'), '');
    process.kill(second.pid, 'SIGKILL');
    expect((await second.ended).exit).toEqual({kind: 'signal', signal: 'SIGKILL'});
    expect(processState(first.pid)).toBe('T');
    process.kill(first.pid, 'SIGCONT');
    expect((await first.ended).exit).toEqual({kind: 'code', code: 3});
  });

  it('may babble without filling the spool', async () => {
    const heard = new Heard();
    const trainer = await trainers().start(await program(`yes "a line" | head -n 50000; printf '%20000s\\n' x`), heard);
    await trainer.ended;
    expect(heard.lines.length).toBeLessThan(20_000);
    expect(heard.lines.some(line => /… \d+ lines dropped/.test(line))).toBe(true);
    expect(Math.max(...heard.lines.map(line => line.length))).toBeLessThan(8300);
  });

  it('is heard to the end, however long its events are held back after its own', async () => {
    const heard = new Heard();
    let goOn = (): void => {};
    const held = new Promise<void>(resolve => {
      goOn = resolve;
    });
    heard.event = async event => {
      if (event.type === 'joined') await held;
      heard.events.push(event);
    };
    const joined = '{"type":"joined","t":1,"backend":"gloo"}';
    const end = '{"type":"end","t":2,"exit_code":0,"reason":"completed","message":"it is done"}';
    const trainer = await trainers().start(await program(`printf '%s\\n' '${joined}' >&3; sleep 0.1; printf '%s\\n' '${end}' >&3`), heard);
    await waitUntil('it is gone', () => !isRunning(trainer.pid));
    setTimeout(goOn, 2500);
    expect((await trainer.ended).exit).toEqual({kind: 'code', code: 0});
    expect(heard.events.map(({type}) => type)).toEqual(['joined', 'end']);
  });

  it('that is not there is told as such', async () => {
    const launch = await program('exit 0');
    await expect(trainers().start({...launch, argv: [join(folder, 'absent')]}, new Heard())).rejects.toThrow('ENOENT');
    await chmod(launch.argv[0]!, 0o644);
    await expect(trainers().start(launch, new Heard())).rejects.toThrow('EACCES');
  });

  it('that dies between its arrival and the answer to it ends like any other', async () => {
    const held = Nursery.withContainment('process-group', silentLog);
    vi.spyOn(held, 'pidOf').mockImplementation(pid => {
      process.kill(pid, 'SIGKILL');
      while (processState(pid) !== 'Z');
      return pid;
    });
    const trainer = await new TrainerProcesses(held, systemClock).start(await program('exit 0'), new Heard());
    expect((await trainer.ended).exit).toEqual({kind: 'signal', signal: 'SIGKILL'});
  });

  it('whose pid cannot be told is gone when that is said', async () => {
    vi.spyOn(nursery, 'pidOf').mockImplementation(() => {
      throw new Error('no such child');
    });
    await expect(trainers().start(await program('exec sleep 1000'), new Heard())).rejects.toThrow('no such child');
    expect(processesWithEnvironment([`${SPAWN_MARK}=${folder}`])).toEqual([]);
  });

  it('starts also after somebody killed the namespace that held the last one', async context => {
    context.skip(nursery.containment === 'process-group', 'this host permits no namespaces');
    const first = await trainers().start(await program('exec sleep 1000'), new Heard());
    await nursery.close();
    expect((await first.ended).exit).toEqual({kind: 'signal', signal: 'SIGKILL'});
    const second = await trainers().start(await program('exit 0'), new Heard());
    expect((await second.ended).exit).toEqual({kind: 'code', code: 0});
  });
});

describe('when the agent is killed', () => {
  beforeAll(() => buildOnce());

  /** Another process that holds a trainer, as an agent does. */
  async function holder(launch: RankLaunch, containment: 'best' | 'process-group'): Promise<ChildProcess> {
    const module = (path: string): string => JSON.stringify(join(DIST, path));
    const code = `
      const {Nursery} = await import(${module('agent/adapters/nursery.js')});
      const {TrainerProcesses} = await import(${module('agent/adapters/trainerProcess.js')});
      const {systemClock} = await import(${module('shared/clock.js')});
      const {silentLog} = await import(${module('shared/log.js')});
      const sink = {async event() {}, async badEvent() {}, async log() {}};
      const nursery = ${containment === 'best' ? 'await Nursery.open(silentLog)' : `Nursery.withContainment('process-group', silentLog)`};
      await new TrainerProcesses(nursery, systemClock).start(${JSON.stringify(launch)}, sink);
      setInterval(() => {}, 1000);`;
    return spawn(process.execPath, ['--input-type=module', '-e', code], {stdio: 'inherit'});
  }

  const FAMILY = `
    MEMBER=child sleep 1000 &
    MEMBER=grandchild setsid sleep 1000 &
    MEMBER=trainer exec sleep 1000`;

  /** The trainer, its child and its grandchild. */
  async function family(): Promise<number[]> {
    const pids = (): number[] => ['trainer', 'child', 'grandchild'].flatMap(pidsOf);
    await waitUntil('the whole family runs', () => pids().length === 3);
    return pids();
  }

  it('nothing of its trainers is left, grandchildren in other sessions included', async context => {
    context.skip(nursery.containment === 'process-group', 'this host permits no namespaces');
    const agent = await holder(await program(FAMILY), 'best');
    const pids = await family();
    agent.kill('SIGKILL');
    await waitUntil('all of them are gone', () => !pids.some(isRunning));
  });

  it('where namespaces are not permitted, the next agent finds and ends what is left', async () => {
    const agent = await holder(await program(FAMILY), 'process-group');
    const pids = await family();
    agent.kill('SIGKILL');
    await waitUntil('the trainer itself is gone', () => !isRunning(pids[0]!));
    await endProcessesWithEnvironment([`${SPAWN_MARK}=${folder}`]);
    expect(pids.filter(isRunning)).toEqual([]);
  });

  it('what is left is told from processes of others by its mark', async () => {
    const other = spawn('sleep', ['1000'], {env: {...process.env, [SPAWN_MARK]: `${folder}-of-another-agent`}});
    await waitUntil('it runs', () => processesWithEnvironment([`${SPAWN_MARK}=${folder}-of-another-agent`]).length === 1);
    await endProcessesWithEnvironment([`${SPAWN_MARK}=${folder}`]);
    expect(isRunning(other.pid!)).toBe(true);
    other.kill('SIGKILL');
  });
});
