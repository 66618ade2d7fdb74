import {isIPv4, isIPv6} from 'node:net';
import {noop} from 'cockatiel';
import {Etcd3, type IOptions} from 'etcd3';
import {noServiceConfigByDns} from '../../shared/grpc.js';

export interface EtcdConfig {
  /** `host:port` of each member, with `https://` in front where TLS is used. */
  readonly endpoints: readonly string[];
  readonly tls?: {readonly rootCertificate: Buffer; readonly privateKey?: Buffer; readonly certChain?: Buffer};
  /** Name and password, where etcd asks for them. */
  readonly auth?: {readonly username: string; readonly password: string};
}

/** No call to etcd waits longer; streams have no deadline. */
export const CALL_DEADLINE_MS = 3000;

/**
 * A client of which only the plain calls are used (`kv`, `leaseClient`, `watchClient`): its watchers, leases and elections do not hold in
 * outages. Retries and the circuit breaker, which all calls would share, are off: whoever calls knows whether to try again. Every unary call
 * has a deadline, for a link that swallows packets would else hang it for ever.
 */
export function etcdClient({endpoints, tls, auth}: EtcdConfig): Etcd3 {
  const together = tls === undefined ? oneTarget(endpoints) : undefined;
  const options: IOptions = {
    hosts: together ?? [...endpoints],
    credentials: tls,
    auth,
    faultHandling: {host: () => noop, global: noop},
    defaultCallOptions: ({isStream}) => (isStream ? {} : {deadline: Date.now() + CALL_DEADLINE_MS}),
    grpcOptions: {
      ...noServiceConfigByDns,
      ...(together !== undefined && takingTurns),
      // Not below etcd's own minimum of 5 s, which it answers by hanging up.
      'grpc.keepalive_time_ms': 6000,
      'grpc.keepalive_timeout_ms': 2000,
      'grpc.keepalive_permit_without_calls': 1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      // A watch that catches up gets many revisions in one message.
      'grpc.max_receive_message_length': 64 * 1024 * 1024,
    },
  };
  return new Etcd3(options);
}

/** Calls go to each connected endpoint in turn. */
const takingTurns = {'grpc.service_config': JSON.stringify({loadBalancingConfig: [{round_robin: {}}]})};

/**
 * Several endpoints as one target of gRPC, which calls only those that it is connected to. etcd3 by itself draws one at random for each call, be
 * it away or not: with one of two silent, leadership lapsed half of the time. Undefined where gRPC has no such target: for names, and for IPs
 * of both families. With TLS it would hold each certificate against the first address.
 */
function oneTarget(endpoints: readonly string[]): string | undefined {
  if (endpoints.length < 2 || endpoints.some(endpoint => endpoint.startsWith('https://'))) return undefined;
  const addresses = endpoints.map(endpoint => endpoint.replace(/^http:\/\//, ''));
  const hosts = addresses.map(address => address.slice(0, address.lastIndexOf(':')).replace(/^\[(.*)\]$/, '$1'));
  if (hosts.every(host => isIPv4(host))) return `ipv4:${addresses.join(',')}`;
  return hosts.every(host => isIPv6(host)) ? `ipv6:${addresses.join(',')}` : undefined;
}

/** The keys that begin with `prefix`, as etcd states a range. */
export function prefixRange(prefix: string): {key: Buffer; range_end: Buffer} {
  const key = Buffer.from(prefix);
  const end = Buffer.from(prefix);
  // Prefixes end in '/', so the last byte has a successor.
  end[end.length - 1]! += 1;
  return {key, range_end: end};
}
