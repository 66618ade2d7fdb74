import {Command, Option} from 'commander';
import {flagOf} from '../../../shared/config.js';
import {invalid} from '../../../shared/errors.js';
import {isValidId} from '../../../shared/ids.js';
import {duration} from '../../../shared/settings.js';
import {clientSettings} from '../clientConfig.js';

/** Adds the options that say where the coordinator is; after the command's own, so that help shows those first. */
export function withConnection(command: Command, isHidden = false): Command {
  command.optionsGroup('Connection:');
  const add = (flags: string, summary: string): Command => command.addOption(new Option(flags, summary).hideHelp(isHidden));
  for (const [name, {summary, placeholder}] of Object.entries(clientSettings)) add(`${flagOf(name)} <${placeholder ?? 'value'}>`, summary);
  return add('--config <file>', 'settings (default: config.yaml in the XDG config folder, or /etc/tenfold)');
}

/** Help that teaches: what the command is for, then examples. */
export function withExamples(command: Command, ...examples: readonly (readonly [line: string, what: string])[]): Command {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, what]) => `  ${line.padEnd(width)}  ${what}`.trimEnd());
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}

/** `jobs/{id}` for a name that a user gave with or without its collection. */
export function resourceName(collection: 'jobs' | 'nodes' | 'datasets', given: string): string {
  const id = given.startsWith(`${collection}/`) ? given.slice(collection.length + 1) : given;
  if (!isValidId(id))
    throw invalid({path: given, message: `is not a name; ${collection}/ have names of lower-case letters, digits, "-" and "."`});
  return `${collection}/${id}`;
}

/** For arguments and options that are whole numbers. */
export function wholeNumberOf(option: string, least: number): (text: string) => number {
  return text => {
    const value = Number(text);
    if (!/^[0-9]+$/.test(text) || value < least || value > Number.MAX_SAFE_INTEGER)
      throw invalid({path: option, message: `must be a whole number, at least ${least}, not ${JSON.stringify(text)}`});
    return value;
  };
}

/** For options that are durations, in milliseconds. */
export function durationOf(option: string, longestMs: number): (text: string) => number {
  return text => {
    const parsed = duration(1, longestMs).safeParse(text);
    if (!parsed.success) throw invalid({path: option, message: `${parsed.error.issues[0]!.message}, not ${JSON.stringify(text)}`});
    return parsed.data;
  };
}

export const command = (name: string, summary: string): Command => new Command(name).description(summary);
