import {type CallContext, ServerError, type ServerMiddleware, type ServerMiddlewareCall} from 'nice-grpc';
import {DomainError, type Problem, toStatusError} from '../../shared/errors.js';
import {errorChain, type Log} from '../../shared/log.js';

/**
 * The only place where errors become gRPC statuses. What callers can do something about is told with its details; what they cannot is
 * logged here, once and whole, and told as INTERNAL without its innards.
 */
export function errorStatuses(log: Log): ServerMiddleware {
  return async function* errorStatuses<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    try {
      return yield* call.next(call.request, context);
    } catch (error) {
      if (error instanceof ServerError || isAbort(error)) throw error;
      const problem = problemBehind(error);
      if (problem.kind === 'internal') log.error('a call failed', {call: call.method.path, peer: context.peer, error});
      else if (problem.kind === 'unavailable') log.debug('a call cannot be served now', {call: call.method.path, error: errorChain(error)});
      throw toStatusError(problem);
    }
  };
}

function problemBehind(error: unknown): Problem {
  if (error instanceof DomainError) return error.problem;
  return {kind: 'internal', message: "this is a bug of Tenfold's; the coordinator's log has the details"};
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}
