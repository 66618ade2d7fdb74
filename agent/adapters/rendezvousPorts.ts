import {readFile} from 'node:fs/promises';
import {createServer, type Server} from 'node:net';
import type {Log} from '../../shared/log.js';
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
/** While fewer are held: how long until it looks again whether others have given theirs back. */
const LOOK_AGAIN_MS = 1000;

export class HeldRendezvousPorts implements RendezvousPorts {
  private readonly holders = new Map<number, Server>();
  /** Given to ranks, which may not listen yet: looking whether one is free would be in their way. */
  private readonly given = new Set<number>();
  private lastTried: number;
  private refilling: Promise<void> | undefined;
  private lookAgain: NodeJS.Timeout | undefined;
  private isClosed = false;

  private constructor(
    private readonly address: string,
    private readonly range: PortRange,
    private readonly log: Log,
  ) {
    // Agents of one machine, and successive attempts, begin at different places.
    this.lastTried = range.low + Math.floor(Math.random() * (range.high - range.low + 1));
  }

  /** Holds its first ports. `range` undefined: outside of what the kernel uses for outgoing connections. Throws when none is free. */
  static async open(address: string, log: Log, range?: PortRange): Promise<HeldRendezvousPorts> {
    const ports = new HeldRendezvousPorts(address, range ?? (await unassignedRange(log)), log);
    await ports.holdMissing();
    const {low, high} = ports.range;
    if (ports.holders.size === 0)
      throw new Error(`no port from ${low} to ${high} is free on ${address} for ranks to meet at; name others with --rendezvous-ports`);
    ports.lookAgainIfShort();
    return ports;
  }

  held(): readonly number[] {
    return [...this.holders.keys()];
  }

  async release(port: number): Promise<void> {
    const holder = this.holders.get(port);
    if (holder === undefined) return;
    this.holders.delete(port);
    this.given.add(port);
    await this.refill();
    await closed(holder);
  }

  reclaim(port: number): void {
    if (this.given.delete(port)) void this.refill();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.lookAgain);
    await this.refilling;
    const holders = [...this.holders.values()];
    this.holders.clear();
    await Promise.all(holders.map(closed));
  }

  /** Holds what is missing, as far as it can, and goes on later. */
  private refill(): Promise<void> {
    this.refilling ??= this.holdMissing()
      .catch(error => this.log.warn('ports for ranks to meet at could not be held; trying again', {error}))
      .finally(() => {
        this.refilling = undefined;
        this.lookAgainIfShort();
      });
    return this.refilling;
  }

  private lookAgainIfShort(): void {
    clearTimeout(this.lookAgain);
    if (this.isClosed || this.holders.size >= this.wanted) return;
    this.lookAgain = setTimeout(() => void this.refill(), LOOK_AGAIN_MS).unref();
  }

  private get wanted(): number {
    return Math.min(HELD_PORTS, this.range.high - this.range.low + 1);
  }

  private async holdMissing(): Promise<void> {
    const {low, high} = this.range;
    const size = high - low + 1;
    for (let tries = 0; tries < size && this.holders.size < this.wanted && !this.isClosed; tries++) {
      this.lastTried = low + ((this.lastTried - low + 1) % size);
      if (this.holders.has(this.lastTried) || this.given.has(this.lastTried)) continue;
      const holder = await holdPort(this.address, this.lastTried);
      if (holder !== undefined) this.holders.set(this.lastTried, holder);
    }
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

/** As many as make it unlikely that all of them are taken. */
const FEWEST_PORTS = 64;
/** torchrun's, and some after it. */
const USUAL_RANGE: PortRange = {low: 29_400, high: 29_911};

async function unassignedRange(log: Log): Promise<PortRange> {
  const text = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '32768 60999');
  const [low, high] = text.trim().split(/\s+/).map(Number);
  const range = rangeOutside({low: low!, high: high!});
  if (range !== undefined) return range;
  log.warn(
    'the kernel gives nearly every port to outgoing connections, which may take one before ranks meet there; keep some from it with ' +
      'net.ipv4.ip_local_reserved_ports, and name them with --rendezvous-ports',
    {kernel: `${low}-${high}`, taken: `${USUAL_RANGE.low}-${USUAL_RANGE.high}`},
  );
  return USUAL_RANGE;
}

/** Ports that the kernel does not give to outgoing connections, which get those of `kernel`; undefined when next to none are left. */
export function rangeOutside(kernel: PortRange): PortRange | undefined {
  const above = {low: kernel.high + 1, high: 65_535};
  const below = {low: Math.max(1024, kernel.low - 4096), high: kernel.low - 1};
  return [above, below].find(({low, high}) => high - low + 1 >= FEWEST_PORTS);
}
