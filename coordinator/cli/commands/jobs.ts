import type {Command} from 'commander';
import {invalid} from '../../../shared/errors.js';
import {Job, JobState} from '../../../shared/gen/tenfold/v1/job.js';
import {isFinal, jobStateName} from '../../../shared/wire/job.js';
import type {Cli, Clients} from '../cli.js';
import {describeFailure} from '../failure.js';
import {type Format, itemLines, listLines, outputOption} from '../output.js';
import {showClock, showDate} from '../render/figures.js';
import {jobLines, jobListing} from '../render/jobs.js';
import {printable} from '../render/style.js';
import {untilEnded} from '../watch/untilEnded.js';
import {command, resourceName, withConnection, withExamples} from './shared.js';

/** `ps`, `get`, `explain`, `cancel`. */
export function jobCommands(cli: Cli): Command[] {
  return [ps(cli), get(cli), explain(cli), cancel(cli)];
}

const RECENT_MS = 24 * 3_600_000;

function ps(cli: Cli): Command {
  const ps = command('ps', 'list jobs: those that wait or run, and those that ended in the last 24 hours (`get` has their figures)')
    .option('-a, --all', 'those that ended earlier too')
    .option('--state <states>', 'only these, separated by commas: queued,running,failed,…')
    .addOption(outputOption());
  withExamples(
    ps,
    ['tenfold ps', 'what runs, and what waits for what'],
    ['tenfold ps --state running -o name', 'names alone, for scripts'],
  );
  return withConnection(ps).action(async (flags: {all?: boolean; state?: string; output: Format}) => {
    const states = flags.state === undefined ? [] : flags.state.split(',').map(stateNamed);
    const clients = cli.connect(flags);
    const now = Date.now();
    const endedAfter = flags.all || states.length > 0 ? undefined : new Date(now - RECENT_MS);
    const jobs = await allJobs(clients, {states, endedAfter});
    cli.print(...listLines(flags.output, jobs, jobListing(now, cli.style), cli.style));
    if (jobs.length === 0 && flags.output === 'table') {
      const anyJobs = endedAfter !== undefined && (await clients.jobs.listJobs({pageSize: 1})).jobs.length > 0;
      cli.note(
        anyJobs ? 'no current jobs; `tenfold ps --all` shows older ones' : 'no jobs yet; `tenfold submit --help` shows how to start one',
      );
    }
  });
}

function stateNamed(name: string): JobState {
  const state = JobState[`JOB_STATE_${name.trim().toUpperCase()}` as keyof typeof JobState];
  if (state !== undefined && state > 0) return state;
  const known = Object.keys(JobState).filter(key => key.startsWith('JOB_STATE_') && !key.endsWith('UNSPECIFIED'));
  throw invalid({
    path: '--state',
    message: `${name} is not a state; known are ${known.map(key => key.replace('JOB_STATE_', '').toLowerCase()).join(', ')}`,
  });
}

/** Every page of the list. */
async function allJobs({jobs}: Clients, wanted: {states: JobState[]; endedAfter: Date | undefined}): Promise<Job[]> {
  const all: Job[] = [];
  let pageToken = '';
  do {
    const page = await jobs.listJobs({pageSize: 500, pageToken, ...wanted});
    all.push(...page.jobs);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

function get(cli: Cli): Command {
  const get = command('get', 'show a job: its spec, state, figures, and attempts').argument('<job>').addOption(outputOption());
  withExamples(get, ['tenfold get defects-s-7f3a', ''], ['tenfold get defects-s-7f3a -o json', 'all of it, as the API has it']);
  return withConnection(get).action(async (name: string, flags: {output: Format}) => {
    const job = await cli.connect(flags).jobs.getJob({name: resourceName('jobs', name)});
    const lines = (item: Job, wide: boolean): string[] => jobLines(item, {now: Date.now(), wide, style: cli.style});
    cli.print(...itemLines(flags.output, job, {nameOf: ({name}) => name, toJson: Job.toJSON, lines}));
  });
}

function explain(cli: Cli): Command {
  const explain = command('explain', 'tell what a job waits for, and what was decided about it and why')
    .argument('<job>')
    .addOption(outputOption());
  withExamples(explain, ['tenfold explain defects-s-7f3a', 'why does it not start? why was it restarted?']);
  return withConnection(explain).action(async (name: string, flags: {output: Format}) => {
    const {job, summary, history} = await cli.connect(flags).jobs.explainJob({name: resourceName('jobs', name)});
    if (job === undefined) return;
    const entries = history.map(({time, text}) => ({time: time?.toISOString(), text}));
    const toJson = (): unknown => ({job: Job.toJSON(job), summary, history: entries});
    const lines = (): string[] => [
      cli.style.bold(printable(summary)),
      ...(job.waitingFor.length > 1 ? job.waitingFor.map(({message}) => `  ${cli.style.glyphs.dot} ${printable(message)}`) : []),
      '',
      ...history.map(({time, text}) => `  ${cli.style.dim(time === undefined ? '' : showMoment(time))}  ${printable(text)}`),
    ];
    cli.print(...itemLines(flags.output, job, {nameOf: ({name}) => name, toJson, lines}));
  });
}

/** The time of day alone for today's moments. */
function showMoment(time: Date): string {
  return time.toDateString() === new Date().toDateString() ? showClock(time) : showDate(time);
}

function cancel(cli: Cli): Command {
  const cancel = command('cancel', 'end jobs; their checkpoints are kept')
    .argument('<jobs...>')
    .option('--wait', 'until no process of them is left');
  withExamples(cancel, ['tenfold cancel defects-s-7f3a --wait', '']);
  return withConnection(cancel).action(async (names: string[], flags: {wait?: boolean}) => {
    const clients = cli.connect(flags);
    const jobs: Job[] = [];
    for (const given of names) {
      try {
        jobs.push(await clients.jobs.cancelJob({name: resourceName('jobs', given)}));
      } catch (error) {
        if (cli.signal.aborted) throw error;
        // The others are meant all the same; the worst is how the command ends.
        const {lines, exitCode} = describeFailure(error, cli.address, cli.errStyle);
        cli.note(...lines);
        if (exitCode > cli.exitCode) cli.exitCode = exitCode;
      }
    }
    for (const {name, state} of jobs) {
      if (flags.wait && !isFinal(state)) await untilEnded(cli, clients, name);
      cli.note(
        isFinal(state)
          ? `${name} had ended already (${jobStateName(state)})`
          : flags.wait
            ? `${name} has ended`
            : `${name} is being cancelled`,
      );
      cli.print(name);
    }
  });
}
