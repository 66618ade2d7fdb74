/** Completion scripts. Names of jobs, nodes and data sets are asked for when needed; where nobody answers there are none. */

export type Vocabulary = readonly {
  readonly words: readonly string[];
  readonly summary: string;
  readonly options: readonly string[];
  readonly completes: 'jobs' | 'nodes' | 'datasets' | undefined;
  readonly choices: readonly string[];
}[];

const ASK = {
  jobs: 'tenfold ps --all -o name 2>/dev/null | sed s,^jobs/,,',
  nodes: 'tenfold node ls -o name 2>/dev/null | sed s,^nodes/,,',
  datasets: 'tenfold dataset ls -o name 2>/dev/null | sed s,^datasets/,,',
} as const;

/** The words that may follow a command, its subcommands and choices. */
function followers(vocabulary: Vocabulary, words: readonly string[]): string[] {
  const path = words.join(' ');
  const subcommands = vocabulary.filter(({words: own}) => own.length === words.length + 1 && own.slice(0, -1).join(' ') === path);
  const choices = vocabulary.find(({words: own}) => own.join(' ') === path)?.choices ?? [];
  return [...subcommands.map(({words: own}) => own.at(-1)!), ...choices];
}

export function bashScript(vocabulary: Vocabulary): string {
  const cases = vocabulary.map(({words, options, completes}) => {
    const plain = [...followers(vocabulary, words), ...options].join(' ');
    const names = completes === undefined ? '' : ` $(${ASK[completes]})`;
    return `    "${words.join(' ')}") words="${plain}${names}" ;;`;
  });
  return `# bash completion of tenfold
_tenfold() {
  local current=\${COMP_WORDS[COMP_CWORD]} path="" words="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case " ${vocabulary.map(({words}) => words.join('/')).join(' ')} " in
      *" \${path:+\${path// //}/}$word "*) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
    "") words="${followers(vocabulary, []).join(' ')} --help --version" ;;
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ \${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _tenfold tenfold
`;
}

export function zshScript(vocabulary: Vocabulary): string {
  return `#compdef tenfold
autoload -U +X bashcompinit && bashcompinit
${bashScript(vocabulary)}`;
}

export function fishScript(vocabulary: Vocabulary): string {
  const quote = (text: string): string => `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`;
  const lines = vocabulary.flatMap(({words, summary, options, completes, choices}) => {
    const parent = words.slice(0, -1);
    const here = `__tenfold_at ${words.join(' ')}`;
    const before = parent.length === 0 ? '__tenfold_at' : `__tenfold_at ${parent.join(' ')}`;
    return [
      `complete -c tenfold -f -n ${quote(before)} -a ${words.at(-1)} -d ${quote(summary)}`,
      ...options.filter(option => option.startsWith('--')).map(option => `complete -c tenfold -n ${quote(here)} -l ${option.slice(2)}`),
      ...choices.map(choice => `complete -c tenfold -f -n ${quote(here)} -a ${choice}`),
      ...(completes === undefined ? [] : [`complete -c tenfold -f -n ${quote(here)} -a ${quote(`(${ASK[completes]})`)}`]),
    ];
  });
  return `# fish completion of tenfold
function __tenfold_at
  set -l words (commandline -opc | string match -v -- '-*')
  test "$words" = "tenfold $argv" -o "$words" = "tenfold" -a (count $argv) -eq 0
end
${lines.join('\n')}
`;
}
