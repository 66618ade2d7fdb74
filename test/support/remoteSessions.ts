import type {Channel} from 'nice-grpc';
import type {Sessions} from '../../coordinator/sessions.js';
import {AgentServiceDefinition} from '../../shared/gen/tenfold/v1/agent.js';
import {clientFactory} from '../../shared/grpc.js';
import {agentMessageToProto, coordinatorMessageFromProto} from '../../shared/wire/agent.js';

/** A coordinator's sessions as an agent reaches them: over gRPC. For `ScriptedAgent`. */
export function remoteSessions(channel: Channel): Pick<Sessions, 'serve'> {
  const client = clientFactory.create(AgentServiceDefinition, channel);
  return {
    async *serve(messages, signal) {
      for await (const response of client.session(mapped(messages, agentMessageToProto), {signal}))
        yield coordinatorMessageFromProto(response);
    },
  };
}

async function* mapped<A, B>(items: AsyncIterable<A>, change: (item: A) => B): AsyncGenerator<B> {
  for await (const item of items) yield change(item);
}
