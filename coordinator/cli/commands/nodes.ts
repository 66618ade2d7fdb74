import type {Command} from 'commander';
import {Node} from '../../../shared/gen/tenfold/v1/cluster.js';
import type {Cli, Clients} from '../cli.js';
import {type Format, itemLines, listLines, outputOption} from '../output.js';
import {nodeLines, nodeListing} from '../render/nodes.js';
import {command, resourceName, withConnection, withExamples} from './shared.js';

/** `node ls|get`. */
export function nodeCommand(cli: Cli): Command {
  const node = command('node', 'hosts that offer devices: list and show them');
  return node.addCommand(ls(cli)).addCommand(get(cli));
}

function ls(cli: Cli): Command {
  const ls = command('ls', 'list the nodes, their devices, and what holds them').addOption(outputOption());
  withExamples(ls, ['tenfold node ls', ''], ['tenfold node ls -o wide', 'with addresses and versions']);
  return withConnection(ls).action(async (flags: {output: Format}) => {
    const nodes = await allNodes(cli.connect(flags));
    cli.print(...listLines(flags.output, nodes, nodeListing(Date.now(), cli.style), cli.style));
    if (nodes.length === 0) cli.note('no node yet; `tenfold agent --coordinator HOST:PORT` on a host makes it one');
  });
}

async function allNodes({cluster}: Clients): Promise<Node[]> {
  const all: Node[] = [];
  let pageToken = '';
  do {
    const page = await cluster.listNodes({pageSize: 500, pageToken});
    all.push(...page.nodes);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return all;
}

function get(cli: Cli): Command {
  const get = command('get', 'show a node and each of its devices').argument('<node>').addOption(outputOption());
  return withConnection(get).action(async (name: string, flags: {output: Format}) => {
    const node = await cli.connect(flags).cluster.getNode({name: resourceName('nodes', name)});
    const lines = (item: Node): string[] => nodeLines(item, Date.now(), cli.style);
    cli.print(...itemLines(flags.output, node, {nameOf: item => item.name, toJson: Node.toJSON, lines}));
  });
}
