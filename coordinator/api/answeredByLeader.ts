import type {CallContext, ServerMiddleware, ServerMiddlewareCall} from 'nice-grpc';
import {unavailable} from '../../shared/errors.js';
import type {Leadership} from '../ports.js';

/**
 * Sends callers on to the coordinator that leads: it alone has sessions with the nodes and journals of what ranks say, so that another would
 * tell of nodes that are lost and of jobs that stand still. While nobody leads, what is known of the records is answered.
 */
export function answeredByLeader(leadership: Leadership): ServerMiddleware {
  return async function* answeredByLeader<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    if (leadership.ledByAnother()) throw unavailable('another coordinator leads now');
    return yield* call.next(call.request, context);
  };
}
