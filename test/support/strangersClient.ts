import {join} from 'node:path';
import * as grpc from '@grpc/grpc-js';
import * as protoLoader from '@grpc/proto-loader';
import {packageRoot} from '../../shared/packageRoot.js';

/**
 * What somebody has who was given nothing but the .proto files: `@grpc/grpc-js` and `@grpc/proto-loader`, none of our code. Messages are
 * plain objects with the fields' names as in the files.
 */
export interface StrangersClient {
  // biome-ignore lint/suspicious/noExplicitAny: what a .proto file loaded at run time gives has no types.
  call(method: string, request: object): Promise<any>;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  stream(method: string, request: object): grpc.ClientReadableStream<any>;
  close(): void;
}

export function strangersClient(address: string, service: string, credentials = grpc.credentials.createInsecure()): StrangersClient {
  const definition = protoLoader.loadSync(`tenfold/v1/${FILES[service]}.proto`, {
    includeDirs: [join(packageRoot, 'proto')],
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  });
  const Service = grpc.loadPackageDefinition(definition).tenfold as unknown as {v1: Record<string, grpc.ServiceClientConstructor>};
  const client = new Service.v1[service]!(address, credentials);
  const method = (name: string): ((...args: unknown[]) => unknown) => (client[name] as (...args: unknown[]) => unknown).bind(client);
  return {
    call: (name, request) =>
      new Promise((resolve, reject) => {
        const done = (error: grpc.ServiceError | null, response: unknown): void => (error === null ? resolve(response) : reject(error));
        method(name)(request, {deadline: Date.now() + 20_000}, done);
      }),
    stream: (name, request) => method(name)(request) as ReturnType<StrangersClient['stream']>,
    close: () => client.close(),
  };
}

const FILES: Readonly<Record<string, string>> = {JobService: 'job', ClusterService: 'cluster', DatasetService: 'dataset'};
