import {readFile} from 'node:fs/promises';
import {createServer, type Server} from 'node:net';
import type {RendezvousPorts} from '../ports.js';

/**
 * Ports for the rendezvous of attempts to come.
 *
 * A port is held by its name, not by listening on it: a rank of another node that comes before rank 0 must find nobody there and try
 * again, whereas a placeholder would take its connection and drop it. The holder is a listener in Linux's abstract socket namespace, which has the
 * same scope as the ports, vanishes with the process, and excludes all other agents of this machine. The kernel gives no such port to anybody
 * unasked, since they lie outside of its range for outgoing connections.
 */
export interface PortRange {
  readonly low: number;
  readonly high: number;
}

const HELD_PORTS = 3;

export class HeldRendezvousPorts implements RendezvousPorts {
  private readonly holders = new Map<number, Server>();
  private lastTried: number;

  private constructor(
    private readonly address: string,
    private readonly range: PortRange,
  ) {
    // Agents of one machine, and successive attempts, begin at different places.
    this.lastTried = range.low + Math.floor(Math.random() * (range.high - range.low + 1));
  }

  /** Holds its first ports. `range` undefined: outside of what the kernel uses for outgoing connections. */
  static async open(address: string, range?: PortRange): Promise<HeldRendezvousPorts> {
    const ports = new HeldRendezvousPorts(address, range ?? (await unassignedRange()));
    await ports.refill();
    return ports;
  }

  held(): readonly number[] {
    return [...this.holders.keys()];
  }

  async release(port: number): Promise<void> {
    const holder = this.holders.get(port);
    if (holder === undefined) return;
    this.holders.delete(port);
    await this.refill();
    await closed(holder);
  }

  async close(): Promise<void> {
    const holders = [...this.holders.values()];
    this.holders.clear();
    await Promise.all(holders.map(closed));
  }

  private async refill(): Promise<void> {
    const {low, high} = this.range;
    const size = high - low + 1;
    for (let tries = 0; tries < size && this.holders.size < HELD_PORTS; tries++) {
      this.lastTried = low + ((this.lastTried - low + 1) % size);
      if (this.holders.has(this.lastTried)) continue;
      const holder = await holdPort(this.address, this.lastTried);
      if (holder !== undefined) this.holders.set(this.lastTried, holder);
    }
    if (this.holders.size === 0) throw new Error(`no port from ${low} to ${high} is free on ${this.address} for ranks to meet at`);
  }
}

/** The name's holder, when both the name and the port are free. */
async function holdPort(address: string, port: number): Promise<Server | undefined> {
  const holder = await listening({path: `\0tenfold-rendezvous-${port}`});
  if (holder === undefined) return undefined;
  const probe = await listening({host: address, port});
  if (probe !== undefined) await closed(probe);
  if (probe !== undefined) return holder;
  await closed(holder);
  return undefined;
}

/** Undefined when it is taken. */
function listening(where: {path: string} | {host: string; port: number}): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer(socket => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(undefined);
      else reject(new Error(`looking for free ports on ${JSON.stringify(where)}`, {cause: error}));
    });
    server.listen(where, () => resolve(server));
    server.unref();
  });
}

function closed(server: Server): Promise<void> {
  return new Promise(resolve => server.close(() => resolve()));
}

/** Ports that the kernel does not give to outgoing connections. */
async function unassignedRange(): Promise<PortRange> {
  const text = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '32768 60999');
  const [low, high] = text.trim().split(/\s+/).map(Number);
  if (high! <= 65_000) return {low: high! + 1, high: 65_535};
  return {low: Math.max(1024, low! - 4096), high: Math.max(1536, low! - 1)};
}
