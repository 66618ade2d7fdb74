import {BinaryReader} from '@bufbuild/protobuf/wire';
import type * as grpc from '@grpc/grpc-js';
import {ServerReflectionService} from 'nice-grpc-server-reflection';
import pb from 'nice-grpc-server-reflection/lib/proto/grpc/reflection/v1/reflection_pb.js';

export interface ReflectionAnswer {
  readonly services: string[];
  /** Names of the .proto files of the answer. */
  readonly files: string[];
}

/** Asks server reflection as grpcurl does. The messages of both versions are the same; only the service's name differs. */
export function askReflection(
  client: grpc.Client,
  version: 'v1' | 'v1alpha',
  question: {readonly listServices: true} | {readonly symbol: string},
): Promise<ReflectionAnswer> {
  const {requestSerialize, responseDeserialize} = ServerReflectionService.serverReflectionInfo;
  const call = client.makeBidiStreamRequest(
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    requestSerialize,
    responseDeserialize,
  );
  const request = new pb.ServerReflectionRequest();
  if ('symbol' in question) request.setFileContainingSymbol(question.symbol);
  else request.setListServices('');
  return new Promise((resolve, reject) => {
    call.on('error', reject);
    call.on('data', response => {
      call.end();
      const files = response.getFileDescriptorResponse()?.getFileDescriptorProtoList_asU8() ?? [];
      const services = response.getListServicesResponse()?.getServiceList() ?? [];
      resolve({services: services.map((service: {getName(): string}) => service.getName()).sort(), files: files.map(fileName)});
    });
    call.write(request);
  });
}

/** The first field of a FileDescriptorProto. */
function fileName(descriptor: Uint8Array): string {
  const reader = new BinaryReader(descriptor);
  reader.uint32();
  return reader.string();
}
