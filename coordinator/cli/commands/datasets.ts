import {randomUUID} from 'node:crypto';
import type {Command} from 'commander';
import {systemClock} from '../../../shared/clock.js';
import {Dataset, DatasetState, VerifyDatasetResponse} from '../../../shared/gen/tenfold/v1/dataset.js';
import type {Cli, Clients} from '../cli.js';
import {EXIT} from '../exitCodes.js';
import {CommandFailure} from '../failure.js';
import {dataYamlAt} from '../jobFile.js';
import {type Format, itemLines, listLines, outputOption} from '../output.js';
import {registering} from '../registration.js';
import {datasetLines, datasetListing} from '../render/datasets.js';
import {plural} from '../render/figures.js';
import {LivePainter} from '../render/livePainter.js';
import {progressBar} from '../watch/view.js';
import {command, resourceName, withConnection, withExamples} from './shared.js';

/** `dataset add|ls|get|verify`. */
export function datasetCommand(cli: Cli): Command {
  const dataset = command('dataset', 'data sets: register, list, show and verify them');
  return dataset.addCommand(add(cli)).addCommand(ls(cli)).addCommand(get(cli)).addCommand(verify(cli));
}

interface AddFlags {
  readonly name?: string;
  readonly skipBadSamples?: boolean;
  readonly wait: boolean;
  readonly output: Format;
}

function add(cli: Cli): Command {
  const add = command('add', 'scan, check and shard the data set of a data.yaml, once for all trainings on it')
    .argument('<data.yaml>', "on the coordinator's machine; or the folder that it lies in")
    .option('--name <id>', "what to call it (default: made from the folder's name)")
    .option('--skip-bad-samples', 'leave images and labels out that are broken, instead of failing')
    .option('--no-wait', 'do not wait until it is ready')
    .addOption(outputOption());
  withExamples(add, ['tenfold dataset add /data/defects/data.yaml', ''], ['tenfold dataset add bccd --name bccd --skip-bad-samples', '']);
  return withConnection(add).action(async (given: string, flags: AddFlags) => {
    const source = dataYamlAt(given, cli.around.cwd);
    const clients = cli.connect({...flags});
    const request = {datasetId: flags.name ?? '', source, requestId: randomUUID(), skipBadSamples: flags.skipBadSamples ?? false};
    const created = await registering(cli, {
      source,
      call: options => clients.datasets.createDataset(request, options),
      ifUnknown: 'it may be registered all the same: `tenfold dataset ls` shows it; the same command again never registers it twice',
    });
    const dataset = flags.wait ? await untilRegistered(cli, clients, created) : created;
    show(cli, flags.output, dataset);
    if (dataset.state === DatasetState.DATASET_STATE_FAILED) cli.exitCode = EXIT.failed;
  });
}

const POLL_MS = 200;

async function untilRegistered(cli: Cli, {datasets}: Clients, created: Dataset): Promise<Dataset> {
  const painter = cli.around.err.isTTY ? new LivePainter(cli.around.err) : undefined;
  try {
    for (let dataset = created; ; dataset = await datasets.getDataset({name: created.name})) {
      if (dataset.state !== DatasetState.DATASET_STATE_REGISTERING) {
        painter?.paint([], []);
        return dataset;
      }
      painter?.paint([], [scanLine(cli, dataset)]);
      await systemClock.sleep(POLL_MS, cli.signal);
      cli.signal.throwIfAborted();
    }
  } catch (error) {
    if (!cli.signal.aborted) throw error;
    const next = `${created.name} is registered without you; \`tenfold dataset get ${created.name}\` shows how far it is`;
    throw new CommandFailure(EXIT.interrupted, '', next);
  } finally {
    painter?.close();
  }
}

function scanLine(cli: Cli, {name, imagesScanned, imagesTotal}: Dataset): string {
  const share = imagesTotal > 0n ? Number(imagesScanned) / Number(imagesTotal) : 0;
  return `  ${name}  ${progressBar(share, 30, cli.errStyle)}  ${imagesScanned}/${imagesTotal} images`;
}

function ls(cli: Cli): Command {
  const ls = command('ls', 'list the data sets').addOption(outputOption());
  return withConnection(ls).action(async (flags: {output: Format}) => {
    const all: Dataset[] = [];
    const {datasets} = cli.connect(flags);
    let pageToken = '';
    do {
      const page = await datasets.listDatasets({pageSize: 500, pageToken});
      all.push(...page.datasets);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    cli.print(...listLines(flags.output, all, datasetListing(Date.now(), cli.style), cli.style));
    if (all.length === 0) cli.note('no data sets yet; `tenfold dataset add path/to/data.yaml` registers one');
  });
}

function get(cli: Cli): Command {
  const get = command('get', 'show a data set: its splits, classes, and what is wrong with it')
    .argument('<dataset>')
    .addOption(outputOption());
  return withConnection(get).action(async (name: string, flags: {output: Format}) => {
    show(cli, flags.output, await cli.connect(flags).datasets.getDataset({name: resourceName('datasets', name)}));
  });
}

function show(cli: Cli, format: Format, dataset: Dataset): void {
  const lines = (item: Dataset, wide: boolean): string[] => datasetLines(item, {now: Date.now(), wide, style: cli.style});
  cli.print(...itemLines(format, dataset, {nameOf: ({name}) => name, toJson: Dataset.toJSON, lines}));
}

function verify(cli: Cli): Command {
  const verify = command('verify', 'read every shard again and compare it with its digest; the exit code is 1 when one is damaged')
    .argument('<dataset>')
    .addOption(outputOption());
  return withConnection(verify).action(async (given: string, flags: {output: Format}) => {
    const name = resourceName('datasets', given);
    const {datasets} = cli.connect(flags);
    const painter = cli.around.err.isTTY ? new LivePainter(cli.around.err) : undefined;
    let last = VerifyDatasetResponse.fromPartial({});
    try {
      for await (const response of datasets.verifyDataset({name}, {signal: cli.signal})) {
        last = response;
        painter?.paint(
          [],
          [
            `  ${name}  ${progressBar(last.shardsDone / Math.max(1, last.shardsTotal), 30, cli.errStyle)}  ${last.shardsDone}/${last.shardsTotal} shards`,
          ],
        );
      }
      painter?.paint([], []);
    } finally {
      painter?.close();
    }
    if (cli.signal.aborted) throw new CommandFailure(EXIT.interrupted);
    const lines = (): string[] =>
      last.damaged.length === 0
        ? [`${name}: all ${plural(last.shardsTotal, 'shard')} are as they were`]
        : [
            `${name}: ${last.damaged.length} of ${plural(last.shardsTotal, 'shard')} missing or damaged`,
            ...last.damaged.map(digest => `  ${digest}`),
          ];
    cli.print(...itemLines(flags.output, last, {nameOf: () => name, toJson: VerifyDatasetResponse.toJSON, lines}));
    if (last.damaged.length > 0) cli.exitCode = EXIT.failed;
  });
}
