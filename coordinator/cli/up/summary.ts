import type {Node} from '../../../shared/gen/tenfold/v1/cluster.js';
import {packageVersion} from '../../../shared/packageRoot.js';
import {devicesText} from '../render/nodes.js';
import {pad, type Style} from '../render/style.js';
import {renderPairs} from '../render/table.js';

export interface UpSummary {
  readonly address: string;
  readonly nodes: readonly Node[];
  readonly dataDir: string;
  readonly env: NodeJS.ProcessEnv;
}

/** What `tenfold up` says once everything runs: where, and what next. Pure. */
export function summaryLines({address, nodes, dataDir, env}: UpSummary, style: Style): string[] {
  const shownDir = env.HOME && dataDir.startsWith(`${env.HOME}/`) ? `~${dataDir.slice(env.HOME.length)}` : dataDir;
  const sorted = [...nodes].sort((a, b) => (a.name < b.name ? -1 : 1));
  const pairs = renderPairs(
    [
      ['coordinator', address],
      ...sorted.map((node, index) => [index === 0 ? 'nodes' : '', nodeText(node)] as const),
      ['data', `${shownDir}  ${style.dim('(logs in logs/)')}`],
    ],
    style,
  );
  const next: readonly (readonly [string, string])[] = [
    ['tenfold submit data=path/to/data.yaml model=yolov8n epochs=50 --watch', ''],
    ['tenfold ps', 'what runs, and what waits for what'],
    ['tenfold node ls', 'the nodes and their devices'],
  ];
  return [
    '',
    `  ${style.good(style.glyphs.tick)} ${style.bold('Tenfold is up')} ${style.dim(packageVersion)}`,
    '',
    ...pairs.map(line => `    ${line}`),
    '',
    `  ${style.dim('in another terminal')}`,
    ...next.map(([line, what]) => `    ${what === '' ? line : `${pad(line, 18)} ${style.dim(what)}`}`),
    '',
    `  ${style.dim('Ctrl-C stops everything; jobs stay, and go on at the next start.')}`,
  ];
}

function nodeText({name, devices}: Node): string {
  return `${name.replace('nodes/', '')}  ${devicesText(devices)}`;
}
