import type {Command} from 'commander';
import {Job, JobState, WatchJobResponse} from '../../../shared/gen/tenfold/v1/job.js';
import {isFinal} from '../../../shared/wire/job.js';
import type {Cli} from '../cli.js';
import {EXIT} from '../exitCodes.js';
import {CommandFailure, usageFailure} from '../failure.js';
import {type Format, itemLines, type LineFormat, lineOutputOption, outputOption} from '../output.js';
import {showDuration} from '../render/figures.js';
import {jobLines} from '../render/jobs.js';
import {followJob} from '../watch/follow.js';
import {untilEnded} from '../watch/untilEnded.js';
import {exitCodeOfJob, leftRunning, watchJob} from '../watch/watchJob.js';
import {command, durationOf, resourceName, withConnection, withExamples} from './shared.js';

/** Longer ones do not fit a timer of Node. */
const LONGEST_WAIT_MS = 24 * 24 * 3_600_000;

/** `watch` and `wait`. */
export function watchingCommands(cli: Cli): Command[] {
  return [watch(cli), wait(cli)];
}

function watch(cli: Cli): Command {
  const watch = command('watch', 'show a job live until it ends; Ctrl-C leaves it running').argument('<job>').addOption(lineOutputOption());
  withExamples(
    watch,
    ['tenfold watch defects-s-7f3a', 'a live view on a terminal, a line for each change in a pipe'],
    ['tenfold watch defects-s-7f3a -o json', 'every update as one JSON object a line'],
  );
  return withConnection(watch).action(async (given: string, flags: {output: LineFormat}) => {
    const name = resourceName('jobs', given);
    const clients = cli.connect(flags);
    if (flags.output !== 'json') {
      cli.exitCode = await watchJob(cli, clients, name, {output: cli.around.out, style: cli.style});
      return;
    }
    let last: Job | undefined;
    for await (const response of followJob(clients.jobs, name, {signal: cli.signal})) {
      cli.print(JSON.stringify(WatchJobResponse.toJSON(response)));
      if (response.update?.$case === 'job') last = response.update.value;
    }
    if (cli.signal.aborted) throw leftRunning(name);
    cli.exitCode = exitCodeOfJob(last);
  });
}

function wait(cli: Cli): Command {
  const wait = command('wait', 'wait until a job has ended, or runs; the exit code tells how it ended (0 or 5)')
    .argument('<job>')
    .option('--for <what>', 'end, or running', 'end')
    .option('--timeout <duration>', 'give up after this, such as 2h', durationOf('--timeout', LONGEST_WAIT_MS))
    .addOption(outputOption());
  withExamples(wait, ['tenfold wait defects-s-7f3a && tenfold artifact get defects-s-7f3a', 'fetch the weights when it succeeded']);
  return withConnection(wait).action(async (given: string, flags: {for: string; timeout?: number; output: Format}) => {
    if (flags.for !== 'end' && flags.for !== 'running')
      throw usageFailure(`--for must be end or running, not ${JSON.stringify(flags.for)}`);
    const name = resourceName('jobs', given);
    const running = (job: Job): boolean => flags.for === 'running' && job.state === JobState.JOB_STATE_RUNNING;
    const job = await bounded(flags.timeout, untilEnded(cli, cli.connect(flags), name, running), name);
    const lines = (item: Job, wide: boolean): string[] => jobLines(item, {now: Date.now(), wide, style: cli.style});
    cli.print(...itemLines(flags.output, job, {nameOf: item => item.name, toJson: Job.toJSON, lines}));
    if (isFinal(job.state)) cli.exitCode = exitCodeOfJob(job);
  });
}

async function bounded(timeoutMs: number | undefined, waiting: Promise<Job>, name: string): Promise<Job> {
  if (timeoutMs === undefined) return waiting;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `${name} has not come so far within ${showDuration(timeoutMs)}`;
    timer = setTimeout(() => reject(new CommandFailure(EXIT.failed, message, `\`tenfold explain ${name}\` tells why`)), timeoutMs);
  });
  try {
    return await Promise.race([waiting, late]);
  } finally {
    clearTimeout(timer);
  }
}
