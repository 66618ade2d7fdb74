import type {Command} from 'commander';
import {JobEvent, type StreamLogsResponse} from '../../../shared/gen/tenfold/v1/job.js';
import type {Cli, Clients} from '../cli.js';
import {EXIT} from '../exitCodes.js';
import {CommandFailure} from '../failure.js';
import {type LineFormat, lineOutputOption} from '../output.js';
import {showClock} from '../render/figures.js';
import {printable} from '../render/style.js';
import {followJob} from '../watch/follow.js';
import {command, resourceName, wholeNumberOf, withConnection, withExamples} from './shared.js';

/** `logs` and `events`. */
export function logCommands(cli: Cli): Command[] {
  return [logs(cli), events(cli)];
}

interface LogFlags {
  readonly follow?: boolean;
  readonly rank?: number;
  readonly tail?: number;
  readonly timestamps?: boolean;
  readonly output: LineFormat;
}

function logs(cli: Cli): Command {
  const logs = command('logs', 'print what the ranks wrote to stdout and stderr')
    .argument('<job>')
    .option('-f, --follow', 'go on until the job ends')
    .option('--rank <n>', 'only this rank', wholeNumberOf('--rank', 0))
    .option('--tail <n>', 'only the last so many lines', wholeNumberOf('--tail', 1))
    .option('-t, --timestamps', 'begin each line with its time')
    .addOption(lineOutputOption());
  withExamples(logs, ['tenfold logs defects-s-7f3a -f --rank 0', ''], ['tenfold logs defects-s-7f3a --tail 50', 'why did it fail?']);
  return withConnection(logs).action(async (given: string, flags: LogFlags) => {
    const name = resourceName('jobs', given);
    const {jobs} = cli.connect({...flags});
    const request = {name, rank: flags.rank, follow: flags.follow ?? false, tail: flags.tail ?? 0};
    for await (const line of jobs.streamLogs(request, {signal: cli.signal})) cli.print(logLine(cli, line, flags));
  });
}

function logLine(cli: Cli, said: StreamLogsResponse, {output, rank, timestamps}: LogFlags): string {
  const {time, attempt, stream, line} = said;
  if (output === 'json') return JSON.stringify({time: time?.toISOString(), attempt, rank: said.rank, stream, line});
  const stamp = timestamps && time !== undefined ? `${cli.style.dim(time.toISOString())} ` : '';
  const origin = rank === undefined ? `${cli.style.dim(`[${attempt}/${said.rank < 0 ? 'agent' : said.rank}]`)} ` : '';
  return `${stamp}${origin}${cli.around.out.isTTY ? printable(line) : line}`;
}

interface EventFlags {
  readonly follow?: boolean;
  readonly type?: string;
  readonly output: LineFormat;
}

function events(cli: Cli): Command {
  const events = command('events', 'print what ranks and agents reported, in order')
    .argument('<job>')
    .option('-f, --follow', 'go on until the job ends')
    .option('--type <types>', 'only these, separated by commas, such as epoch,checkpoint; all but consumed and log unless set')
    .addOption(lineOutputOption());
  withExamples(
    events,
    ['tenfold events defects-s-7f3a --type epoch -o json', 'the figures of each epoch, one JSON object a line'],
    ['tenfold events defects-s-7f3a --type consumed', 'which samples went into which step'],
  );
  return withConnection(events).action(async (given: string, flags: EventFlags) => {
    const name = resourceName('jobs', given);
    const types = flags.type === undefined ? [] : flags.type.split(',').map(type => type.trim());
    for await (const event of eventsOf(cli, cli.connect({...flags}), name, types, flags.follow ?? false))
      cli.print(eventLine(cli, event, flags.output));
    if (cli.signal.aborted) throw new CommandFailure(EXIT.interrupted);
  });
}

async function* eventsOf(cli: Cli, {jobs}: Clients, name: string, types: string[], follow: boolean): AsyncGenerator<JobEvent> {
  const updates = follow
    ? followJob(jobs, name, {types, signal: cli.signal})
    : jobs.watchJob({name, types, resumeToken: '', noFollow: true}, {signal: cli.signal});
  for await (const {update} of updates) if (update?.$case === 'event') yield update.value;
}

function eventLine(cli: Cli, event: JobEvent, output: LineFormat): string {
  if (output === 'json') return JSON.stringify(JobEvent.toJSON(event));
  const {dim, bold} = cli.style;
  const who = event.rank < 0 ? event.node.replace('nodes/', '') : `rank ${event.rank}`;
  const fields = Object.entries(event.data ?? {}).map(
    ([key, value]) => `${dim(`${key}=`)}${printable(typeof value === 'string' ? value : JSON.stringify(value))}`,
  );
  return `${dim(event.time === undefined ? '' : showClock(event.time))} ${dim(`#${event.sequence} ${event.attempt}/${who}`)} ${bold(event.type)} ${fields.join(' ')}`;
}
