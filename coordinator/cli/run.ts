import {CommanderError} from 'commander';
import {Cli, type Surroundings} from './cli.js';
import {EXIT, type ExitCode} from './exitCodes.js';
import {describeFailure} from './failure.js';
import {createProgram} from './program.js';

/** Runs one command, and returns how the process shall end. Never throws: what is wrong is told on stderr. */
export function run(args: readonly string[], around: Surroundings): Promise<ExitCode> {
  return runCommand(args, new Cli(around));
}

export async function runCommand(args: readonly string[], cli: Cli): Promise<ExitCode> {
  try {
    const program = await createProgram(cli);
    await program.parseAsync([...args], {from: 'user'});
    return cli.exitCode;
  } catch (error) {
    // Commander has told what is wrong with the words of the command already.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    if (cli.signal.aborted && isAbort(error)) return EXIT.interrupted;
    const {lines, exitCode} = describeFailure(error, cli.address, cli.errStyle);
    cli.note(...lines);
    return exitCode;
  } finally {
    cli.close();
  }
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || /cancel/i.test(error.message));
}
