import type {Device} from '../../shared/observation.js';

/**
 * How fast two devices of a host reach each other, in no unit: only the order counts. The names are those of `nvidia-smi topo -m`:
 * NV# (a bonded set of # NVLinks), PIX (one PCIe bridge), PXB (several), PHB (a PCIe host bridge), NODE (within a NUMA node), SYS (between them).
 */
export function linkRank(link: string | undefined): number {
  const nvlinks = /^NV(\d+)$/.exec(link ?? '')?.[1];
  if (nvlinks !== undefined) return 100 * Number(nvlinks);
  return ['SYS', 'NODE', 'PHB', 'PXB', 'PIX'].indexOf(link ?? '') + 1;
}

export function linkBetween(a: Device, b: Device): string | undefined {
  return a.links[b.id] ?? b.links[a.id];
}

/** The slowest link within a set of devices, which is what an all-reduce over them runs at; undefined when none is known. */
export function slowestLink(devices: readonly Device[]): string | undefined {
  const links = devices.flatMap((a, i) => devices.slice(i + 1).map(b => linkBetween(a, b)));
  if (links.length === 0 || links.some(link => link === undefined)) return undefined;
  return links.reduce((slowest, link) => (linkRank(link) < linkRank(slowest) ? link : slowest));
}

/**
 * `count` of the `free` devices of one host that are linked best, in the order of their index. Grown greedily from each device in turn;
 * between equals the choice that tears the fewest links to what stays free, then the lowest indexes.
 */
export function bestLinked(free: readonly Device[], count: number): Device[] {
  const ordered = [...free].sort((a, b) => a.index - b.index);
  const choices = ordered.map(first => grow(first, ordered, count));
  return choices.reduce((best, next) => (isBetter(next, best, ordered) ? next : best));
}

function grow(first: Device, free: readonly Device[], count: number): Device[] {
  const chosen = [first];
  while (chosen.length < count) {
    const rest = free.filter(device => !chosen.includes(device));
    chosen.push(rest.reduce((best, next) => (linksTo(next, chosen) > linksTo(best, chosen) ? next : best)));
  }
  return chosen.sort((a, b) => a.index - b.index);
}

function isBetter(a: readonly Device[], b: readonly Device[], free: readonly Device[]): boolean {
  const inner = weakest(a) - weakest(b) || within(a) - within(b);
  return inner !== 0 ? inner > 0 : torn(a, free) < torn(b, free);
}

function weakest(devices: readonly Device[]): number {
  const ranks = devices.flatMap((a, i) => devices.slice(i + 1).map(b => linkRank(linkBetween(a, b))));
  return Math.min(Number.MAX_SAFE_INTEGER, ...ranks);
}

function within(devices: readonly Device[]): number {
  return devices.reduce((sum, device) => sum + linksTo(device, devices), 0) / 2;
}

function torn(chosen: readonly Device[], free: readonly Device[]): number {
  return free.filter(device => !chosen.includes(device)).reduce((sum, device) => sum + linksTo(device, chosen), 0);
}

function linksTo(device: Device, others: readonly Device[]): number {
  return others.reduce((sum, other) => (other === device ? sum : sum + linkRank(linkBetween(device, other))), 0);
}
