import * as path from 'node:path';
import type {Command} from 'commander';
import {notFound} from '../../../shared/errors.js';
import {Artifact, Checkpoint, type FileDigest} from '../../../shared/gen/tenfold/v1/job.js';
import type {Cli, Clients} from '../cli.js';
import {download} from '../download.js';
import {type Format, listLines, outputOption} from '../output.js';
import {showAge, showBytes} from '../render/figures.js';
import {LivePainter} from '../render/livePainter.js';
import {truncate} from '../render/style.js';
import {command, resourceName, withConnection, withExamples} from './shared.js';

/** `ckpt` and `artifact`. */
export function fileCommands(cli: Cli): Command[] {
  const ckpt = command('ckpt', 'checkpoints: list and fetch them');
  ckpt.addCommand(ckptLs(cli)).addCommand(ckptGet(cli));
  const artifact = command('artifact', 'kept files of a run (weights, results.csv, plots): list and fetch them');
  artifact.addCommand(artifactLs(cli)).addCommand(artifactGet(cli));
  return [ckpt, artifact];
}

function ckptLs(cli: Cli): Command {
  const ls = command('ls', 'list the checkpoints of a job, newest first').argument('<job>').addOption(outputOption());
  return withConnection(ls).action(async (job: string, flags: {output: Format}) => {
    const {checkpoints} = await cli.connect(flags).jobs.listCheckpoints({parent: resourceName('jobs', job)});
    const now = Date.now();
    const lines = listLines(
      flags.output,
      checkpoints,
      {
        key: 'checkpoints',
        nameOf: ({name}) => name,
        toJson: Checkpoint.toJSON,
        columns: [
          {heading: 'STEP', right: true},
          {heading: 'EPOCH', right: true},
          {heading: 'SAMPLE', right: true},
          {heading: 'mAP50', right: true},
          {heading: '50-95', right: true},
          {heading: 'SIZE', right: true},
          {heading: 'ATTEMPT', right: true},
          {heading: 'AGE', right: true},
        ],
        cells: ({step, cursor, map50, map5095, files, attempt, commitTime}) => [
          String(step),
          String(cursor?.epoch ?? ''),
          String(cursor?.offset ?? ''),
          map50?.toFixed(3) ?? '-',
          map5095?.toFixed(3) ?? '-',
          showBytes(files.reduce((sum, {bytes}) => sum + Number(bytes), 0)),
          String(attempt),
          commitTime === undefined ? '' : showAge(now - commitTime.getTime()),
        ],
        wideColumns: [{heading: 'FILES'}],
        wideCells: ({files}) => [files.map(({name}) => name).join(' ')],
      },
      cli.style,
    );
    cli.print(...lines);
    if (checkpoints.length === 0) cli.note('no checkpoint yet; one is made at the end of each epoch unless the spec says otherwise');
  });
}

function ckptGet(cli: Cli): Command {
  const get = command('get', "fetch a checkpoint's files, verified")
    .argument('<job>')
    .argument('[step]', 'its step; the newest one unless given')
    .option('--out <folder>', 'where to (default: JOB-step-STEP)');
  withExamples(get, ['tenfold ckpt get defects-s-7f3a', 'the newest one'], ['tenfold ckpt get defects-s-7f3a 1200 --out ckpt', '']);
  return withConnection(get).action(async (job: string, step: string | undefined, flags: {out?: string}) => {
    const parent = resourceName('jobs', job);
    const clients = cli.connect(flags);
    const {checkpoints} = await clients.jobs.listCheckpoints({parent});
    const checkpoint = step === undefined ? checkpoints[0] : checkpoints.find(candidate => String(candidate.step) === step);
    if (checkpoint === undefined) throw notFound('checkpoint', `${parent}/checkpoints/${step ?? '(newest)'}`);
    const folder = path.resolve(cli.around.cwd, flags.out ?? `${parent.replace('jobs/', '')}-step-${checkpoint.step}`);
    const files = checkpoint.files.map(file => ({name: `${checkpoint.name}/${file.name}`, file}));
    await fetchAll(cli, clients, files, folder);
  });
}

function artifactLs(cli: Cli): Command {
  const ls = command('ls', 'list the kept files of a run').argument('<job>').addOption(outputOption());
  return withConnection(ls).action(async (job: string, flags: {output: Format}) => {
    const {artifacts} = await cli.connect(flags).jobs.listArtifacts({parent: resourceName('jobs', job)});
    const lines = listLines(
      flags.output,
      artifacts,
      {
        key: 'artifacts',
        nameOf: ({name}) => name,
        toJson: Artifact.toJSON,
        columns: [{heading: 'FILE'}, {heading: 'SIZE', right: true}, {heading: 'ATTEMPT', right: true}],
        cells: ({file, attempt}) => [file?.name ?? '', showBytes(Number(file?.bytes ?? 0)), String(attempt)],
        wideColumns: [{heading: 'SHA-256'}],
        wideCells: ({file}) => [file?.sha256 ?? ''],
      },
      cli.style,
    );
    cli.print(...lines);
    if (artifacts.length === 0) cli.note('no files yet; weights and plots come with each epoch and at the end');
  });
}

function artifactGet(cli: Cli): Command {
  const get = command('get', 'fetch kept files of a run, verified')
    .argument('<job>')
    .argument('[files...]', 'their names, or folders of them; all unless given')
    .option('--out <folder>', 'where to (default: JOB)');
  withExamples(
    get,
    ['tenfold artifact get defects-s-7f3a weights/best.safetensors', ''],
    ['tenfold artifact get defects-s-7f3a --out runs/defects', 'all of them'],
  );
  return withConnection(get).action(async (job: string, wanted: string[], flags: {out?: string}) => {
    const parent = resourceName('jobs', job);
    const clients = cli.connect(flags);
    const {artifacts} = await clients.jobs.listArtifacts({parent});
    const names = wanted.map(name => name.replace(`${parent}/artifacts/`, '').replace(/\/$/, ''));
    const all = artifacts.flatMap(({name, file}) => (file === undefined ? [] : [{name, file}]));
    for (const name of names) if (!all.some(({file}) => isWithin(file, name))) throw notFound('artifact', `${parent}/artifacts/${name}`);
    const chosen = names.length === 0 ? all : all.filter(({file}) => names.some(name => isWithin(file, name)));
    await fetchAll(cli, clients, chosen, path.resolve(cli.around.cwd, flags.out ?? parent.replace('jobs/', '')));
  });
}

/** Whether a file is the one of that name, or lies in the folder of that name. */
function isWithin(file: FileDigest, name: string): boolean {
  return file.name === name || file.name.startsWith(`${name}/`);
}

/** Fetches the files one after the other; their paths go to stdout, progress to a terminal. */
async function fetchAll(cli: Cli, {jobs}: Clients, files: readonly {name: string; file: FileDigest}[], folder: string): Promise<void> {
  const painter = cli.around.err.isTTY ? new LivePainter(cli.around.err) : undefined;
  try {
    for (const {name, file} of files) {
      const onProgress = (done: number, total: number): void => {
        const line = `  ${file.name}  ${showBytes(done)} of ${showBytes(total)}`;
        painter?.paint([], [truncate(line, painter.columns - 1)]);
      };
      const target = await download(jobs, {name, file, folder, signal: cli.signal, onProgress});
      painter?.paint([], []);
      cli.print(path.relative(cli.around.cwd, target) || target);
    }
  } finally {
    painter?.close();
  }
  if (files.length === 0) cli.note('there are no files yet');
}
