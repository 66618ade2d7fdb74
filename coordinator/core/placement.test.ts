import {describe, expect, test} from 'vitest';
import type {Device} from '../../shared/observation.js';
import {type Offer, placeGang, withoutGang} from './placement.js';

/** Devices of a host whose links are given as `nvidia-smi topo -m` prints them: one row a GPU, `X` for itself. */
function devices(model: string, topology: string): Device[] {
  const rows = topology
    .trim()
    .split('\n')
    .map(row => row.trim().split(/\s+/));
  return rows.map((row, index) => ({
    id: `gpu-${index}`,
    kind: 'cuda',
    index,
    model,
    memoryBytes: 24 * 2 ** 30,
    threads: 8,
    links: Object.fromEntries(row.flatMap((link, other) => (link === 'X' ? [] : [[`gpu-${other}`, link]]))),
  }));
}

function offer(nodeId: string, free: readonly Device[], ports: readonly number[] = [7001]): Offer {
  return {nodeId, hostname: `host-${nodeId}`, address: `10.0.0.${nodeId}`, devices: free, ports};
}

/** `node: device device; node: …` in the order of rank, or what else came of it. */
function place(count: number, offers: readonly Offer[]): string {
  const placing = placeGang(count, offers);
  if (placing.kind === 'noRoom') return `no room, ${placing.free} free`;
  if (placing.kind === 'unreachable') return `${placing.nodeId} cannot be reached at ${placing.address}`;
  if (placing.kind === 'noPort') return `no port on ${placing.nodeId}`;
  const byNode = new Map<string, string[]>();
  for (const {nodeId, deviceId} of placing.gang.ranks) byNode.set(nodeId, [...(byNode.get(nodeId) ?? []), deviceId.replace('gpu-', '')]);
  return [...byNode].map(([nodeId, ids]) => `${nodeId}: ${ids.join(' ')}`).join('; ');
}

const only = (all: readonly Device[], ...indexes: number[]): Device[] => all.filter(device => indexes.includes(device.index));

/** Every GPU reaches every other through NVSwitch. */
const a100x8 = devices(
  'A100',
  Array.from({length: 8}, (_, i) => Array.from({length: 8}, (_, j) => (i === j ? 'X' : 'NV12')).join(' ')).join('\n'),
);

/** Two of them without NVLink, on two sockets. */
const rtx4090x2 = devices('RTX 4090', 'X SYS\nSYS X');

/** Four GPUs in two pairs, each pair bridged. */
const bridgedPairs = devices('A6000', 'X NV4 SYS SYS\nNV4 X SYS SYS\nSYS SYS X NV4\nSYS SYS NV4 X');

describe('an 8-GPU NVLink host beside a host with two RTX 4090', () => {
  const cluster = [offer('1', a100x8), offer('2', rtx4090x2)];

  test('two fit the small host exactly, so that the big hole stays', () => {
    expect(
      place(2, [
        offer(
          '1',
          a100x8.map(device => ({...device, model: 'RTX 4090'})),
        ),
        offer('2', rtx4090x2),
      ]),
    ).toBe('2: 0 1');
  });

  test('a whole host is taken in the order of its devices, and the reason names the link', () => {
    const placing = placeGang(8, cluster);
    expect(place(8, cluster)).toBe('1: 0 1 2 3 4 5 6 7');
    expect(placing.kind === 'fits' && placing.gang.reason).toBe('8 GPUs on one node, 1, linked by NV12');
  });

  test('one model is preferred to a mixture', () => {
    expect(place(3, [offer('1', only(a100x8, 4)), offer('2', rtx4090x2), offer('3', only(a100x8, 0, 1))])).toBe('3: 0 1; 1: 4');
  });

  test('a mixture is better than waiting', () => {
    expect(place(10, cluster)).toBe('1: 0 1 2 3 4 5 6 7; 2: 0 1');
  });

  test('whole or not at all', () => {
    expect(place(11, cluster)).toBe('no room, 10 free');
  });
});

describe('links within a host', () => {
  test('a pair goes on a bridge', () => {
    expect(place(2, [offer('1', only(bridgedPairs, 1, 2, 3))])).toBe('1: 2 3');
  });

  test('a single one does not tear a pair', () => {
    expect(place(1, [offer('1', only(bridgedPairs, 0, 1, 2))])).toBe('1: 2');
  });

  test('three take a whole pair and one more', () => {
    expect(place(3, [offer('1', bridgedPairs)])).toBe('1: 0 1 2');
  });

  test('the nearest PCIe path is taken where there is no NVLink', () => {
    const pcie = devices('L4', 'X SYS SYS PHB\nSYS X PIX SYS\nSYS PIX X SYS\nPHB SYS SYS X');
    expect(place(2, [offer('1', pcie)])).toBe('1: 1 2');
    expect(place(2, [offer('1', only(pcie, 0, 1, 3))])).toBe('1: 0 3');
  });
});

describe('ranks and rendezvous', () => {
  const three = [offer('1', only(a100x8, 0), [7001]), offer('2', only(a100x8, 0, 1), []), offer('3', only(a100x8, 0), [7009, 7005])];

  test('rank 0 is on a node that holds a port, on the lowest one', () => {
    const placing = placeGang(4, three);
    expect(place(4, three)).toBe('1: 0; 2: 0 1; 3: 0');
    expect(placing.kind === 'fits' && placing.gang.rendezvous).toEqual({host: '10.0.0.1', port: 7001});
  });

  test('without any port the gang waits', () => {
    expect(place(2, [offer('2', only(a100x8, 0, 1), [])])).toBe('no port on 2');
  });

  test('local ranks count from 0 on each node', () => {
    const placing = placeGang(4, three);
    expect(placing.kind === 'fits' && placing.gang.ranks.map(({rank, localRank}) => [rank, localRank])).toEqual([
      [0, 0],
      [1, 0],
      [2, 1],
      [3, 0],
    ]);
  });

  test('what a gang takes is not offered again', () => {
    const offers = [offer('1', rtx4090x2, [7001, 7002])];
    const placing = placeGang(1, offers);
    const [left] = placing.kind === 'fits' ? withoutGang(offers, placing.gang) : [];
    expect(left?.devices.map(device => device.id)).toEqual(['gpu-1']);
    expect(left?.ports).toEqual([7002]);
  });

  test('the order in which nodes are listed does not matter', () => {
    expect(place(3, [...three].reverse())).toBe(place(3, three));
  });
});

describe('addresses that only their own host can reach', () => {
  const reachable = [offer('1', only(a100x8, 0)), offer('2', only(a100x8, 0))];
  const shutIn: Offer = {...offer('3', only(a100x8, 0, 1)), address: '127.0.0.1'};
  const neighbour: Offer = {...offer('4', only(a100x8, 2)), hostname: 'host-3', address: '127.0.1.1'};

  test.each([
    ['a gang on that host alone may be there', 2, [reachable[0]!, shutIn], '3: 0 1'],
    ['so may one over agents of one host', 3, [...reachable, shutIn, neighbour], '3: 0 1; 4: 2'],
    ['one over several hosts keeps away from it', 2, [...reachable, {...shutIn, devices: only(a100x8, 0)}], '1: 0; 2: 0'],
    ['where that will not do, the gang waits, and the node is named', 4, [...reachable, shutIn], '3 cannot be reached at 127.0.0.1'],
    ['too few devices are too few', 5, [...reachable, shutIn], 'no room, 4 free'],
  ])('%s', (_, count, offers, placed) => {
    expect(place(count, offers)).toBe(placed);
  });
});
