import type {CallContext, ServerMiddleware, ServerMiddlewareCall} from 'nice-grpc';
import {unavailable} from '../../shared/errors.js';
import {ClusterServiceDefinition} from '../../shared/gen/tenfold/v1/cluster.js';
import {JobServiceDefinition} from '../../shared/gen/tenfold/v1/job.js';
import type {Leadership} from '../ports.js';

/** Calls whose answers need sessions with the nodes, or journals of what ranks say: the leader's alone. */
const LEADERS: ReadonlySet<string> = new Set([
  ...pathsOf(ClusterServiceDefinition, ['listNodes', 'getNode']),
  ...pathsOf(JobServiceDefinition, ['getJob', 'listJobs', 'explainJob', 'watchJob', 'streamLogs']),
]);

/**
 * Sends callers on to the coordinator that leads, where any other would tell of nodes that are lost and of jobs that stand still. What the
 * records and the object store hold is answered by all, and while nobody leads everything is, as far as it is known.
 */
export function answeredByLeader(leadership: Leadership): ServerMiddleware {
  return async function* answeredByLeader<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
    // People see this only where they named a single coordinator: through a name of several, the call goes on to the next one.
    if (LEADERS.has(call.method.path) && leadership.ledByAnother())
      throw unavailable('another coordinator leads now; name that one, or a DNS name that stands for all of them');
    return yield* call.next(call.request, context);
  };
}

interface ServiceOf<Method extends string> {
  readonly fullName: string;
  readonly methods: Readonly<Record<Method, {readonly name: string}>>;
}

function pathsOf<Method extends string>({fullName, methods}: ServiceOf<Method>, chosen: readonly NoInfer<Method>[]): string[] {
  return chosen.map(method => `/${fullName}/${methods[method].name}`);
}
