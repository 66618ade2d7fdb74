import {createSocket} from 'node:dgram';
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
