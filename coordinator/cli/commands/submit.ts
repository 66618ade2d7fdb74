import {randomUUID} from 'node:crypto';
import {isAbsolute} from 'node:path';
import type {Command} from 'commander';
import {stringify} from 'yaml';
import {DomainError, invalid} from '../../../shared/errors.js';
import {Job} from '../../../shared/gen/tenfold/v1/job.js';
import {type JobSpec, parseJobSpec} from '../../../shared/jobSpec.js';
import {jobSpecCandidate, jobSpecToProto, jobStateName} from '../../../shared/wire/job.js';
import type {Cli} from '../cli.js';
import {usageFailure} from '../failure.js';
import {assembleSpec} from '../jobFile.js';
import {type Format, itemLines, outputOption} from '../output.js';
import {registering} from '../registration.js';
import {printable} from '../render/style.js';
import {watchJob} from '../watch/watchJob.js';
import {command, withConnection, withExamples} from './shared.js';

interface SubmitFlags {
  readonly file?: string;
  readonly watch?: boolean;
  readonly dryRun?: boolean;
  readonly requestId?: string;
  readonly output: Format;
}

export function submitCommand(cli: Cli): Command {
  const submit = command('submit', 'submit a training; its name goes to stdout')
    .argument('[key=value...]', 'parts of the spec; they win over the file')
    .option('-f, --file <job.yaml>', 'the spec, in YAML or JSON')
    .option('-w, --watch', 'show it until it ends; the exit code is 0 when it succeeds and 5 when it does not')
    .option('--dry-run', 'only check the spec, and print it whole with its defaults, as YAML (or JSON with -o json)')
    .option('--request-id <id>', 'for scripts that repeat a submission: the same id never makes a second job')
    .addOption(outputOption());
  withExamples(
    submit,
    ['tenfold submit data=coco8/data.yaml model=yolov8n epochs=50', 'train on a data set of your own'],
    ['tenfold submit -f job.yaml batch=64 gpus=4 --watch', 'a file, with changes, and the live view'],
    ['tenfold submit data=datasets/defects model=yolov8s --dry-run', 'what would be trained?'],
  );
  submit.addHelpText('after', SPEC_HELP);
  return withConnection(submit).action((words: string[], flags: SubmitFlags) => run(cli, words, flags));
}

const SPEC_HELP = `
Keys:
  data      a registered data set (datasets/ID), or a data.yaml on the coordinator's machine, or its folder (./datasets/X
            for one in a folder datasets)
  model     yolov5, yolov8 (n, s, m, l, x) or yolov10 (n, s, m, b, l, x), as yolov8n; or a model yaml of your own
  gpus      devices to train on (GPUs, or CPU slots where there are none)
  name, project, priority (0 to 100, 50 unless set)
  epochs, batch (of all devices together), imgsz, lr0, patience, seed, cos_lr, mosaic, ...
            the training arguments by the names that YOLO users know
  a.b.c     any other part of the spec, such as checkpoint.every.steps=500

The same in a file:
  data: datasets/defects
  model: {arch: yolov8s}
  train: {epochs: 100, batch: 64, imgsz: 640}
  resources: {gpus: 4}
`;

async function run(cli: Cli, words: readonly string[], flags: SubmitFlags): Promise<void> {
  if (flags.dryRun && flags.output === 'name') throw usageFailure('a dry run makes no job, and has no name to print');
  const spec = readSpec(cli, words, flags.file);
  const clients = cli.connect({...flags});
  if (flags.dryRun) {
    const checked = await clients.jobs.createJob({spec: jobSpecToProto(spec), validateOnly: true});
    return dryRun(cli, flags.output, checked.spec === undefined ? spec : jobSpecCandidate(checked.spec));
  }
  const requestId = flags.requestId ?? randomUUID();
  const job = await registering(cli, {
    source: isAbsolute(spec.data) ? spec.data : undefined,
    call: options => clients.jobs.createJob({spec: jobSpecToProto(spec), requestId}, options),
    ifUnknown: `the job may exist all the same: \`tenfold ps\` shows it; the same command with --request-id ${requestId} never makes a second one`,
  });
  const lines = (item: Job): string[] => [item.name];
  cli.print(...itemLines(flags.output, job, {nameOf: ({name}) => name, toJson: Job.toJSON, lines}));
  if (flags.watch) {
    cli.exitCode = await watchJob(cli, clients, job.name, {output: cli.around.err, style: cli.errStyle});
    return;
  }
  const id = job.name.replace('jobs/', '');
  const why = job.waitingFor.map(({message}) => printable(message)).join('; ');
  cli.note(cli.errStyle.dim(`${jobStateName(job.state)}${why === '' ? '' : `: ${why}`}. \`tenfold watch ${id}\` shows it live.`));
}

/** The whole spec, or an error with everything that is wrong with it, before anything was sent. */
function readSpec(cli: Cli, words: readonly string[], file: string | undefined): JobSpec {
  if (file === undefined && words.length === 0)
    throw usageFailure(
      'nothing to submit',
      'give a file with -f job.yaml, or at least data=… and model=…; `tenfold submit --help` has examples',
    );
  const assembled = assembleSpec({file, words, cwd: cli.around.cwd});
  if (!assembled.ok) throw invalid(...assembled.problems);
  const parsed = parseJobSpec(assembled.spec);
  if (!parsed.ok) throw new DomainError({kind: 'invalid', message: 'the spec is wrong', fields: parsed.problems});
  return parsed.spec;
}

/** In the form of a job file: YAML, or JSON when that is asked for. */
function dryRun(cli: Cli, format: Format, spec: object): void {
  cli.print(format === 'json' ? JSON.stringify(spec, undefined, 2) : stringify(spec).trimEnd());
  cli.note(cli.errStyle.dim('the spec is fine; nothing was submitted'));
}
