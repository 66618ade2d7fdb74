import {createSocket} from 'node:dgram';
import {lookup} from 'node:dns/promises';
import {isIP} from 'node:net';
import {type NetworkInterfaceInfo, networkInterfaces} from 'node:os';
import {KNOWN_NAMES_ADVICE, nameNotKnown} from '../../shared/hostNames.js';
import type {Log} from '../../shared/log.js';
import {isLoopback} from '../../shared/loopback.js';
import type {HostPort} from '../../shared/settings.js';

/** What a machine has, as `os.networkInterfaces` tells it. */
type Interfaces = Readonly<
  Record<string, readonly Pick<NetworkInterfaceInfo, 'address' | 'family' | 'internal' | 'scopeid'>[] | undefined>
>;

/**
 * Where ranks of other nodes reach this one's: the address by which it reaches the coordinator. On the coordinator's own host that is often a
 * loopback address, since Debian gives a host's name 127.0.1.1; other hosts find somebody else there, so an address of the network stands in.
 * A coordinator that is itself given as loopback has its agents on this machine, and needs no network, unless its TLS says otherwise.
 */
export async function addressOfNode(
  coordinator: HostPort,
  hasTls: boolean,
  log: Log,
  interfaces: Interfaces = networkInterfaces(),
): Promise<string> {
  const found = await addressTowards(coordinator);
  if (!isLoopback(found)) return found;
  const isGivenAsLoopback = isLoopback(coordinator.host);
  const instead = isGivenAsLoopback ? undefined : globalAddress(interfaces);
  if (instead !== undefined)
    log.info(
      "the coordinator is on this machine, so ranks of other hosts reach this node's at an address of the network (--node-address)",
      {
        address: instead,
      },
    );
  else if (hasTls || !isGivenAsLoopback)
    log.warn("ranks of other hosts cannot reach this node's: if there are other hosts, give --node-address", {address: found});
  return instead ?? found;
}

/** What a name stands for on this machine; rejects when it is not known. */
type Lookup = (name: string, options: {all: true}) => Promise<readonly {address: string; family: number}[]>;

/**
 * The address that is given for this node; a name is looked up here, since other hosts may not know it, or another machine by it. Where it is
 * this host's own by 127.0.1.1, as on Debian, an address of the network stands in. Throws when nobody knows the name.
 */
export async function givenAddress(
  given: string,
  log: Log,
  interfaces: Interfaces = networkInterfaces(),
  lookUp: Lookup = lookup,
): Promise<string> {
  if (isIP(given) !== 0) return given;
  const found = await lookUp(given, {all: true}).catch(error => {
    throw new Error(`${nameNotKnown(given)}; --node-address: ${KNOWN_NAMES_ADVICE}`, {cause: error});
  });
  const forOthers = found.filter(({address}) => !isLoopback(address));
  const {address} = forOthers.find(({family}) => family === 4) ?? forOthers[0] ?? found[0]!;
  if (!isLoopback(address) || isLoopback(given)) return address;
  const instead = globalAddress(interfaces) ?? address;
  log.info('the name of --node-address stands for loopback on this machine, so an address of the network is told to other hosts', {
    name: given,
    address: instead,
  });
  return instead;
}

/** The first address that others may reach, IPv4 before IPv6; undefined when there is none. */
export function globalAddress(interfaces: Interfaces): string | undefined {
  const addresses = Object.values(interfaces)
    .flatMap(each => each ?? [])
    .filter(({internal, scopeid}) => !internal && !scopeid);
  const ofFamily = (family: string): string | undefined => addresses.find(each => each.family === family)?.address;
  return ofFamily('IPv4') ?? ofFamily('IPv6');
}

/** The address by which this machine reaches a peer, as its routes say; nothing is sent. */
export function addressTowards({host, port}: HostPort): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const fail = (error: NodeJS.ErrnoException): void => {
      socket.close();
      reject(
        isUnresolved(error)
          ? unknownName(host, error)
          : new Error(`finding the address that reaches ${host}; give it with --node-address`, {cause: error}),
      );
    };
    socket.once('error', fail);
    socket.connect(port || 1, host, (error?: Error) => {
      if (error) return fail(error);
      const {address} = socket.address();
      socket.close();
      resolve(address);
    });
  });
}

function isUnresolved({syscall}: NodeJS.ErrnoException): boolean {
  return syscall === 'getaddrinfo';
}

function unknownName(name: string, cause: Error): Error {
  return new Error(`${nameNotKnown(name)}; ${KNOWN_NAMES_ADVICE}`, {cause});
}
