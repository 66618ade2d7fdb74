import {parseArgs} from 'node:util';

/** What was given of a benchmark's options, each by its name. */
export type Given = Readonly<Record<string, string | undefined>>;

/**
 * What `read` makes of the options on the command line. `--help` prints the help and ends the process; so does what is wrong with them, with
 * status 2. The options are those of which the help has a line or a column: two spaces, then `--name`.
 */
export function optionsOf<T>(help: string, read: (given: Given) => T): T {
  const names = [...help.matchAll(/ {2}--([a-z]+)/g)].map(([, name]) => name!);
  const options = {help: {type: 'boolean', short: 'h'}, ...Object.fromEntries(names.map(name => [name, {type: 'string'}]))} as const;
  try {
    const {help: asked, ...given} = parseArgs({options}).values as Given & {readonly help?: boolean};
    if (asked) {
      console.log(help);
      process.exit(0);
    }
    return read(given);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${help}`);
    return process.exit(2);
  }
}

/** Throws where the option is there and no whole number above 0. */
export function wholeNumber(given: Given, name: string, otherwise: number): number {
  const word = given[name] ?? String(otherwise);
  if (!/^[1-9]\d{0,8}$/.test(word)) throw new Error(`--${name} must be a whole number above 0, not ${word}`);
  return Number(word);
}
