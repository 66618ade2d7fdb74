import type {ChannelCredentials} from '@grpc/grpc-js';
import {type Channel, createChannel} from 'nice-grpc';
import {channelOptions} from '../../shared/grpc.js';

/**
 * A connection for shards and checkpoints alone. On a slow link seconds of them may wait in the socket: the session must not stand behind
 * them, and a ping that does must not be taken for a peer that vanished.
 */
export function openBulkChannel(address: string, credentials: ChannelCredentials): Channel {
  return createChannel(address, credentials, {
    ...channelOptions,
    // Else the connection of the session, which has the same target, would be shared.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.keepalive_time_ms': 10_000,
    'grpc.keepalive_timeout_ms': 20_000,
  });
}
