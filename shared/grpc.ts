import type * as http2 from 'node:http2';
import {type ChannelOptions, Server} from '@grpc/grpc-js';
import {
  type Channel,
  type ChannelCredentials,
  ClientError,
  type ClientMiddleware,
  createChannel,
  createClientFactory,
  Status,
} from 'nice-grpc';
import {type DeadlineOptions, deadlineMiddleware} from 'nice-grpc-client-middleware-deadline';
import {errorDetailsClientMiddleware} from 'nice-grpc-error-details';
import {systemClock} from './clock.js';
import {wasAnswered} from './errors.js';

/** Settings of gRPC that both ends share, each for a reason that was measured. */

/** Larger messages are refused, whatever they unpack to. Bulk goes in chunks. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Of bulk streams; the fastest size on loopback. */
export const CHUNK_BYTES = 256 * 1024;
/** How much of an upload may be under way; 64 KiB, the default, allows 2.7 MB/s over a link of 10 ms round trip. */
const RECEIVE_WINDOW_BYTES = 8 * 1024 * 1024;

/** A peer that vanished without a word is noticed after the sum of these. */
const KEEPALIVE_INTERVAL_MS = 2000;
const KEEPALIVE_TIMEOUT_MS = 1000;

export const serverOptions: ChannelOptions = {
  'grpc.keepalive_time_ms': KEEPALIVE_INTERVAL_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.max_concurrent_streams': 100,
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
};

/**
 * Else grpc-js asks for a TXT record of every name, /etc/hosts' own too, and where no name server answers, the query keeps the process for
 * seconds after its last call. A service config that is given in the options stays in force.
 */
export const noServiceConfigByDns: ChannelOptions = {'grpc.service_config_disable_resolution': 1};

export const channelOptions: ChannelOptions = {
  'grpc.keepalive_time_ms': KEEPALIVE_INTERVAL_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc-node.flow_control_window': RECEIVE_WINDOW_BYTES,
  // A coordinator that restarts is back within a second or two; do not sleep for minutes once it was away.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  // Where a name stands for several coordinators, calls take turns. Else a connection to one that does not lead would be kept for ever:
  // that a coordinator refuses a call is no reason for gRPC to try another address.
  'grpc.service_config': JSON.stringify({loadBalancingConfig: [{round_robin: {}}]}),
  ...noServiceConfigByDns,
};

interface Http2ServerFactory {
  commonServerOptions: {settings?: http2.Settings};
  createHttp2Server(...rest: readonly unknown[]): http2.Http2Server;
}

let windowsEnlarged = false;

/**
 * Lets every gRPC server of this process receive `RECEIVE_WINDOW_BYTES` ahead. grpc-js (1.14) heeds `grpc-node.flow_control_window` on
 * the client side only, so the HTTP/2 server that it makes for itself is told here.
 */
export function enlargeReceiveWindows(): void {
  if (windowsEnlarged) return;
  const prototype = Server.prototype as unknown as Http2ServerFactory;
  const original = prototype.createHttp2Server;
  if (typeof original !== 'function')
    throw new Error('this version of @grpc/grpc-js makes its HTTP/2 server in another way; see shared/grpc.ts');
  prototype.createHttp2Server = function createHttp2Server(this: Http2ServerFactory, ...rest) {
    this.commonServerOptions.settings = {...this.commonServerOptions.settings, initialWindowSize: RECEIVE_WINDOW_BYTES};
    const server = original.apply(this, rest as []);
    server.on('session', session => session.setLocalWindowSize(RECEIVE_WINDOW_BYTES));
    return server;
  };
  windowsEnlarged = true;
}

/** `host:port`; the connection is made at the first call and again whenever it breaks. */
export function openChannel(address: string, credentials: ChannelCredentials): Channel {
  return createChannel(address, credentials, channelOptions);
}

interface PatienceOptions {
  /** How long a call is tried again while it is not taken. */
  readonly patienceMs?: number;
  /** It is tried again: people may want to know what takes so long. */
  readonly onRetry?: (error: ClientError) => void;
}

/** What a caller may say about one call. */
export type ClientCallOptions = PatienceOptions & {readonly deadline?: Date | number};

/** No unary call waits longer than this for its answer, unless its caller knows that it takes longer. */
export const UNARY_DEADLINE_MS = 15_000;
/** How long a call is tried again while it is not taken: longer than a coordinator takes to restart. */
const UNAVAILABLE_PATIENCE_MS = 4000;

/**
 * Gives every unary call a deadline, and tries it again while nobody answers. Every unary call of Tenfold may be repeated: reads by
 * nature, creations by their `request_id`, changes because they ask for a state and not for a step. A stream of responses is tried again
 * where it was refused before it began, by a coordinator that does not lead: the next one may.
 */
const patientCalls: ClientMiddleware<PatienceOptions, DeadlineOptions> = async function* patientCalls(call, options) {
  if (call.requestStream) return yield* call.next(call.request, options);
  const {patienceMs = UNAVAILABLE_PATIENCE_MS, onRetry, ...rest} = options;
  let hasBegun = false;
  let awaySince: number | undefined;
  for (let waitMs = 100; ; waitMs = Math.min(2 * waitMs, 1000)) {
    try {
      if (!call.responseStream) return yield* call.next(call.request, {deadline: UNARY_DEADLINE_MS, ...rest});
      for await (const response of call.next(call.request, rest)) {
        hasBegun = true;
        yield response;
      }
      return;
    } catch (error) {
      const isAway = error instanceof ClientError && error.code === Status.UNAVAILABLE;
      const mayBeRepeated = !call.responseStream || (!hasBegun && wasAnswered(error));
      awaySince ??= performance.now();
      if (!isAway || !mayBeRepeated || performance.now() - awaySince + waitMs > patienceMs) throw error;
      onRetry?.(error);
      await systemClock.sleep(waitMs, options.signal);
    }
  }
};

/** Clients whose errors carry their details (`problemOf` reads them), and whose unary calls have deadlines. */
export const clientFactory = createClientFactory().use(errorDetailsClientMiddleware).use(deadlineMiddleware).use(patientCalls);
