import {type Device, DeviceKind, Node, NodeState} from '../../../shared/gen/tenfold/v1/cluster.js';
import {nodeStateName} from '../../../shared/wire/cluster.js';
import type {Listing} from '../output.js';
import {plural, showAge, showBytes} from './figures.js';
import type {Style} from './style.js';
import {renderPairs, renderTable} from './table.js';

/** Nodes as tables and as single pages. Pure. */

export function nodeListing(now: number, style: Style): Listing<Node> {
  return {
    key: 'nodes',
    nameOf: ({name}) => name,
    toJson: Node.toJSON,
    columns: [
      {heading: 'NODE'},
      {heading: 'STATE'},
      {heading: 'DEVICES'},
      {heading: 'FREE', right: true},
      {heading: 'SEEN', right: true},
      {heading: 'JOBS'},
    ],
    cells: node => [
      node.name.replace('nodes/', ''),
      stateText(node.state, style),
      devicesText(node.devices),
      `${node.devices.filter(({job}) => job === '').length}/${node.devices.length}`,
      seenText(node, now),
      [...new Set(node.devices.map(({job}) => job.replace('jobs/', '')))].filter(job => job !== '').join(' '),
    ],
    wideColumns: [{heading: 'HOST'}, {heading: 'ADDRESS'}, {heading: 'VERSION'}],
    wideCells: ({hostname, address, agentVersion}) => [hostname, address, agentVersion],
  };
}

function stateText(state: NodeState, style: Style): string {
  const paint = state === NodeState.NODE_STATE_READY ? style.good : state === NodeState.NODE_STATE_SILENT ? style.wait : style.bad;
  return paint(nodeStateName(state));
}

function seenText({state, lastSeenTime}: Node, now: number): string {
  return state === NodeState.NODE_STATE_READY || lastSeenTime === undefined ? 'now' : showAge(now - lastSeenTime.getTime());
}

/** `8 x A100-SXM4-80GB`, `2 CPU slots`. */
export function devicesText(devices: readonly Device[]): string {
  const slots = devices.filter(({kind}) => kind === DeviceKind.DEVICE_KIND_CPU);
  const counts = new Map<string, number>();
  for (const {kind, model} of devices) if (kind !== DeviceKind.DEVICE_KIND_CPU) counts.set(model, (counts.get(model) ?? 0) + 1);
  const gpus = [...counts].map(([model, count]) => `${count} x ${model}`);
  return [...gpus, ...(slots.length > 0 ? [plural(slots.length, 'CPU slot')] : [])].join(', ');
}

export function nodeLines(node: Node, now: number, style: Style): string[] {
  const pairs = renderPairs(
    [
      ['host', node.hostname],
      ['address', node.address],
      ['agent', node.agentVersion],
      ['seen', seenText(node, now)],
    ],
    style,
  );
  const columns = [
    {heading: 'DEVICE'},
    {heading: 'MODEL'},
    {heading: 'MEMORY', right: true},
    {heading: 'THREADS', right: true},
    {heading: 'JOB'},
    {heading: 'LINKS'},
  ];
  const rows = node.devices.map(({id, model, memoryBytes, threads, job, links}) => [
    id,
    model,
    showBytes(Number(memoryBytes)),
    threads > 0 ? String(threads) : '-',
    job.replace('jobs/', '') || style.dim('free'),
    linksText(links),
  ]);
  return [
    `${style.bold(node.name.replace('nodes/', ''))}  ${stateText(node.state, style)}`,
    ...pairs.map(line => `  ${line}`),
    '',
    ...renderTable(columns, rows, style).map(line => `  ${line}`),
  ];
}

/** `NV12 x 7`: how many other devices are reached by which kind of link. */
function linksText(links: Readonly<Record<string, string>>): string {
  const counts = new Map<string, number>();
  for (const kind of Object.values(links)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return [...counts].map(([kind, count]) => `${kind} x ${count}`).join(', ');
}
