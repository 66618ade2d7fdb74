import {Argument, type Command} from 'commander';
import type {Cli} from '../cli.js';
import {bashScript, fishScript, type Vocabulary, zshScript} from '../completionScripts.js';
import {command, withExamples} from './shared.js';

const SCRIPTS = {bash: bashScript, zsh: zshScript, fish: fishScript} as const;

/** `completion bash|zsh|fish`: a script made from the very commands, so that it never lags behind them. */
export function completionCommand(cli: Cli, program: Command): Command {
  const completion = command('completion', 'print a script that completes commands, options and names in a shell').addArgument(
    new Argument('<shell>').choices(Object.keys(SCRIPTS)),
  );
  withExamples(
    completion,
    ['source <(tenfold completion bash)', 'in ~/.bashrc'],
    ['tenfold completion zsh > ~/.zfunc/_tenfold', 'once; ~/.zfunc must be in fpath'],
    ['tenfold completion fish > ~/.config/fish/completions/tenfold.fish', 'once'],
  );
  return completion.action((shell: keyof typeof SCRIPTS) => cli.print(SCRIPTS[shell](vocabularyOf(program)).trimEnd()));
}

/** Every command by its words (`ckpt get`), with its options and what its first argument names. */
function vocabularyOf(program: Command, words: readonly string[] = []): Vocabulary {
  return program.commands.flatMap(sub => {
    const path = [...words, sub.name()];
    const options = sub.options.map(option => option.long ?? option.short ?? '').filter(option => option !== '');
    const argument = sub.registeredArguments[0]?.name();
    const own = {
      words: path,
      summary: sub.description(),
      options,
      completes: COMPLETES[argument ?? ''],
      choices: sub.registeredArguments[0]?.argChoices ?? [],
    };
    return [own, ...vocabularyOf(sub, path)];
  });
}

const COMPLETES: Readonly<Record<string, Vocabulary[number]['completes']>> = {
  job: 'jobs',
  jobs: 'jobs',
  node: 'nodes',
  dataset: 'datasets',
};
