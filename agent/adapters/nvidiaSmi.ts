/** Reading what `nvidia-smi` prints. */

export interface Gpu {
  readonly index: number;
  readonly uuid: string;
  readonly name: string;
  readonly memoryBytes: number;
}

export const GPU_QUERY = ['--query-gpu=index,uuid,name,memory.total', '--format=csv,noheader,nounits'];
export const TOPOLOGY_QUERY = ['topo', '-m'];

const MIB = 1024 * 1024;

/** Output that this version cannot read. */
export class NvidiaSmiOutputError extends Error {
  override readonly name = 'NvidiaSmiOutputError';
}

/** The GPUs in the output of `GPU_QUERY`, a line each: `0, GPU-6a1c…, NVIDIA A100-SXM4-80GB, 81920`. */
export function parseGpus(output: string): Gpu[] {
  return output
    .split('\n')
    .filter(line => line.trim() !== '')
    .map(line => {
      const [index, uuid, name, memoryMib] = line.split(',').map(field => field.trim());
      if (!/^\d+$/.test(index ?? '') || !/^(GPU|MIG)-[0-9a-f-]+$/i.test(uuid ?? '') || !/^\d+$/.test(memoryMib ?? ''))
        throw new NvidiaSmiOutputError(`nvidia-smi printed a GPU that is not understood: ${line}`);
      return {index: Number(index), uuid: uuid!, name: name!, memoryBytes: Number(memoryMib) * MIB};
    });
}

/**
 * How each GPU reaches each other one, by their indexes, from the matrix of `topo -m`: `links.get(0)?.get(1)` is `NV12`. Columns that are
 * no GPUs (network cards, CPU affinity, NUMA nodes) and the legend are passed over.
 */
export function parseTopology(output: string): Map<number, Map<number, string>> {
  const rows = output.split('\n').map(line =>
    withoutColours(line)
      .split('\t')
      .map(cell => cell.trim()),
  );
  const header = rows.find(row => row[0] === '' && row.some(cell => GPU_CELL.test(cell)));
  const links = new Map<number, Map<number, string>>();
  if (header === undefined) return links;
  for (const row of rows) {
    const from = gpuIndex(row[0]);
    if (from !== undefined) links.set(from, linksOfRow(row, header, from));
  }
  return links;
}

const GPU_CELL = /^GPU(\d+)$/;

function linksOfRow(row: readonly string[], header: readonly string[], from: number): Map<number, string> {
  const links = new Map<number, string>();
  for (const [column, cell] of row.entries()) {
    const to = gpuIndex(header[column]);
    if (column > 0 && to !== undefined && to !== from && cell !== '' && cell !== 'X') links.set(to, cell);
  }
  return links;
}

function gpuIndex(cell: string | undefined): number | undefined {
  const match = GPU_CELL.exec(cell ?? '');
  return match === null ? undefined : Number(match[1]);
}

/** The header is underlined by escape codes, even when it is not printed on a terminal. */
function withoutColours(line: string): string {
  const ESC = String.fromCharCode(27);
  return line
    .split(ESC)
    .map((part, index) => (index === 0 ? part : part.replace(/^\[[0-9;]*m/, '')))
    .join('');
}
