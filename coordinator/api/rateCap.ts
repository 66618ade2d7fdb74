import type {CallContext, ServerMiddleware, ServerMiddlewareCall} from 'nice-grpc';
import {exhausted} from '../../shared/errors.js';

/** How many calls a peer may make: `burst` at once, and `perSecond` in the long run. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

/** A token bucket a peer. Pure but for its own memory: time is an argument. */
export class RateCap {
  private readonly buckets = new Map<string, {tokens: number; at: number}>();

  constructor(private readonly limit: RateLimit) {}

  /** 0 when the call may go ahead; else after how many milliseconds it may. `now` is monotonic, in milliseconds. */
  take(peer: string, now: number): number {
    const {perSecond, burst} = this.limit;
    const before = this.buckets.get(peer) ?? {tokens: burst, at: now};
    const tokens = Math.min(burst, before.tokens + ((now - before.at) / 1000) * perSecond);
    const granted = tokens >= 1;
    this.buckets.delete(peer);
    this.buckets.set(peer, {tokens: granted ? tokens - 1 : tokens, at: now});
    if (this.buckets.size > MAX_PEERS) this.forgetOldest();
    return granted ? 0 : Math.ceil(((1 - tokens) / perSecond) * 1000);
  }

  private forgetOldest(): void {
    const oldest = this.buckets.keys().next();
    if (!oldest.done) this.buckets.delete(oldest.value);
  }
}

/** Memory is bounded however many addresses somebody calls from. */
const MAX_PEERS = 10_000;

/** Refuses unary calls of a peer that makes too many. Streams have a cap of their own (a number a connection). */
export function rateCapped(cap: RateCap, monotonic: () => number): ServerMiddleware {
  return async function* rateCapped<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    if (!call.requestStream && !call.responseStream) {
      const waitMs = cap.take(hostOf(context.peer), monotonic());
      if (waitMs > 0) throw exhausted(`too many calls from ${hostOf(context.peer)}`, waitMs);
    }
    return yield* call.next(call.request, context);
  };
}

/** `10.0.0.7:41234` and `[::1]:41234` without the port: another connection is no other peer. */
function hostOf(peer: string): string {
  return peer.replace(/:\d+$/, '');
}
