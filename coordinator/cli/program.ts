import {Command} from 'commander';
import {packageVersion} from '../../shared/packageRoot.js';
import type {Cli} from './cli.js';
import {completionCommand} from './commands/completion.js';
import {datasetCommand} from './commands/datasets.js';
import {fileCommands} from './commands/files.js';
import {jobCommands} from './commands/jobs.js';
import {logCommands} from './commands/logs.js';
import {nodeCommand} from './commands/nodes.js';
import {serverCommands} from './commands/servers.js';
import {withConnection} from './commands/shared.js';
import {submitCommand} from './commands/submit.js';
import {upCommand} from './commands/up.js';
import {watchingCommands} from './commands/watching.js';

/** The command `tenfold` with all its subcommands. */
export async function createProgram(cli: Cli): Promise<Command> {
  const program = new Command('tenfold')
    .description('Trains YOLO detectors on the GPUs that a team already has.')
    .version(packageVersion, '-V, --version')
    .helpCommand('help [command]', 'show what a command does')
    .showSuggestionAfterError()
    // Before the subcommand, options of the connection; after it, the subcommand's own.
    .enablePositionalOptions()
    .hook('preAction', () => {
      cli.globalFlags = program.opts();
    })
    .configureHelp({sortSubcommands: false, showGlobalOptions: false});
  withConnection(program, true);
  const group = (heading: string, ...commands: readonly Command[]): void => {
    program.commandsGroup(heading);
    for (const command of commands) program.addCommand(command);
  };
  group('Trainings:', submitCommand(cli), ...jobCommands(cli), ...watchingCommands(cli), ...logCommands(cli));
  group('Results and data:', ...fileCommands(cli), datasetCommand(cli));
  group('Machines:', nodeCommand(cli), upCommand(cli), ...(await serverCommands(cli)));
  group('Shell:', completionCommand(cli, program));
  program.addHelpText('after', FOOTER);
  for (const command of withSubcommands(program)) quiet(cli, command);
  return program;
}

const FOOTER = `
Start here:
  tenfold up                                          a coordinator and agents on this machine
  tenfold submit data=path/to/data.yaml model=yolov8n epochs=50 --watch

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 coordinator unavailable, 5 the job failed, 6 denied, 130 and 143 on signals.`;

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

/** Errors are told at one place, with the exit codes of this program; help goes where data goes. */
function quiet(cli: Cli, command: Command): void {
  command.exitOverride().configureOutput({
    writeOut: text => void cli.around.out.write(text),
    writeErr: text => void cli.around.err.write(text),
    getOutHelpWidth: () => Math.min(100, cli.around.out.columns ?? 100),
    getErrHelpWidth: () => Math.min(100, cli.around.err.columns ?? 100),
    getOutHasColors: () => false,
    getErrHasColors: () => false,
    outputError: (text, write) => {
      write(`${cli.errStyle.bad('error:')} ${text.replace(/^error: /, '')}`);
      write(cli.errStyle.dim(`  \`${fullName(command)} --help\` shows how it is used\n`));
    },
  });
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}
