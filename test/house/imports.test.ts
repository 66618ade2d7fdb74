import {readdirSync, readFileSync} from 'node:fs';
import {dirname, join, relative} from 'node:path';
import {fileURLToPath} from 'node:url';
import {describe, expect, it} from 'vitest';

/** The form of the house: imports point inward, and the cores are pure. */

const root = fileURLToPath(new URL('../../', import.meta.url));

interface SourceFile {
  /** From the root of the repository, with `/`. */
  readonly path: string;
  readonly text: string;
  /** What it imports: a package's or `node:` name, or a path from the root. */
  readonly imports: readonly string[];
}

function sourcesBelow(folder: string): SourceFile[] {
  const names = readdirSync(join(root, folder), {recursive: true, encoding: 'utf8'});
  const paths = names.filter(name => name.endsWith('.ts') && !name.includes('trainer/')).map(name => join(folder, name));
  return paths.map(readSource);
}

function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8');
  const fromRoot = (name: string): string => (name.startsWith('.') ? relative(root, join(root, dirname(path), name)) : name);
  return {path, text, imports: importsOf(text).map(fromRoot)};
}

function importsOf(text: string): string[] {
  const forms = /(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g;
  return [...text.matchAll(forms)].map(match => match[1] ?? match[2] ?? match[3]!);
}

const isTest = ({path}: SourceFile): boolean => path.endsWith('.test.ts');
const sources = ['shared', 'coordinator', 'agent'].flatMap(sourcesBelow);
const production = sources.filter(source => !isTest(source));

/** Offending `file -> import` pairs, so that a failure names them. */
function offences(files: readonly SourceFile[], isForbidden: (imported: string, file: SourceFile) => boolean): string[] {
  return files.flatMap(file => file.imports.filter(imported => isForbidden(imported, file)).map(imported => `${file.path} -> ${imported}`));
}

const below = (folder: string) => (file: SourceFile) => file.path.startsWith(`${folder}/`);

it('sees imports of every form', () => {
  const text =
    "import a from 'a';\nimport {\n  b,\n} from 'b';\nexport * from 'c';\nimport type {d} from 'd';\nimport 'e';\nawait import('f');\n";
  expect(importsOf(text)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
});

describe('imports point inward', () => {
  it('something is checked at all', () => {
    expect(production.length).toBeGreaterThan(30);
    expect(production.filter(below('coordinator/core')).length).toBeGreaterThan(10);
    expect(production.flatMap(file => file.imports).length).toBeGreaterThan(100);
  });

  it('shared/ knows neither side', () => {
    expect(offences(production.filter(below('shared')), imported => /^(coordinator|agent)\//.test(imported))).toEqual([]);
  });

  it('agent and coordinator never import each other', () => {
    expect(offences(production.filter(below('agent')), imported => imported.startsWith('coordinator/'))).toEqual([]);
    // The package has one bin, whose `agent` command starts the agent.
    const isTheBin = (imported: string, {path}: SourceFile): boolean =>
      path.startsWith('coordinator/cli/') && /^agent\/(main|config)\.js$/.test(imported);
    const fromCoordinator = production.filter(below('coordinator'));
    expect(offences(fromCoordinator, (imported, file) => imported.startsWith('agent/') && !isTheBin(imported, file))).toEqual([]);
  });

  it('a core imports itself and shared/ only', () => {
    for (const core of ['coordinator/core', 'agent/core'])
      expect(
        offences(production.filter(below(core)), imported => !imported.startsWith(`${core}/`) && !imported.startsWith('shared/')),
      ).toEqual([]);
  });

  it('adapters know nothing of api, loop, sessions or main', () => {
    const outer = /^(coordinator|agent)\/(api\/|cli\/|loop|sessions?\.|main)/;
    expect(
      offences([...production.filter(below('coordinator/adapters')), ...production.filter(below('agent/adapters'))], imported =>
        outer.test(imported),
      ),
    ).toEqual([]);
  });

  it('ports import no adapter', () => {
    const ports = production.filter(({path}) => /^(coordinator|agent)\/ports\.ts$/.test(path));
    expect(ports).toHaveLength(2);
    expect(offences(ports, imported => imported.includes('/adapters/'))).toEqual([]);
  });

  it('generated code is met in shared/wire, where services are bound, and nowhere in a core', () => {
    const isCore = (file: SourceFile): boolean => below('coordinator/core')(file) || below('agent/core')(file);
    expect(
      offences(production.filter(isCore), imported => imported.startsWith('shared/gen/') || imported.startsWith('shared/wire/')),
    ).toEqual([]);
  });
});

describe('a core is pure', () => {
  const cores = production.filter(file => below('coordinator/core')(file) || below('agent/core')(file));
  /** What core files reach, in shared/ too: purity does not end at the folder. */
  const reached = reach(cores);

  it('neither it nor what it imports touches gRPC, etcd, the log, or a node: module', () => {
    const impure = /^(node:|nice-grpc|@grpc|etcd3|winston|sharp|commander|cockatiel)/;
    expect(offences(reached, imported => impure.test(imported))).toEqual([]);
  });

  it.each([
    ['the clock', /\bDate\b|\bperformance\.now\b|\bhrtime\b/],
    ['chance', /Math\.random|randomUUID|getRandomValues/],
    ['timers', /\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/],
    ['the process', /\bprocess\.(env|argv|exit|on|pid|cwd|hrtime)\b/],
    ['the console', /\bconsole\./],
    ['promises: a decision waits for nothing', /\basync\b|\bawait\b|\bPromise\b/],
  ])('it does not use %s', (_what, pattern) => {
    expect(cores.filter(({text}) => pattern.test(withoutComments(text))).map(({path}) => path)).toEqual([]);
  });
});

describe('files stay of a size to be read', () => {
  it('none is much over 400 lines', () => {
    const isGenerated = (path: string): boolean => path.startsWith('shared/gen/');
    const long = sources.filter(({path, text}) => !isGenerated(path) && text.split('\n').length > 440).map(({path}) => path);
    expect(long).toEqual([]);
  });

  it('none is called utils', () => {
    expect(
      sources.map(({path}) => path).filter(path => /\b(utils?|helpers?|misc|common)\.ts$/.test(path) && !path.startsWith('shared/wire/')),
    ).toEqual([]);
  });
});

function reach(files: readonly SourceFile[]): SourceFile[] {
  const byPath = new Map(production.map(file => [file.path, file]));
  const found = new Map(files.map(file => [file.path, file]));
  for (const file of found.values()) {
    for (const imported of file.imports) {
      const next = byPath.get(imported.replace(/\.js$/, '.ts'));
      if (next !== undefined) found.set(next.path, next);
    }
  }
  return [...found.values()];
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
}
