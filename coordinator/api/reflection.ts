import {readFileSync} from 'node:fs';
import * as path from 'node:path';
import type {Server} from 'nice-grpc';
import {ServerReflection, ServerReflectionService} from 'nice-grpc-server-reflection';
import {packageRoot} from '../../shared/packageRoot.js';

/**
 * Server reflection, so that grpcurl and its like need no .proto files. Many clients still ask for v1alpha only: its messages are those
 * of v1 byte for byte, so that the same implementation serves both names.
 */
export function addReflection(server: Pick<Server, 'add'>, serviceNames: readonly string[]): void {
  const descriptors = readFileSync(path.join(packageRoot, 'shared/gen/descriptor.binpb'));
  const implementation = ServerReflection(descriptors, serviceNames);
  const v1 = ServerReflectionService;
  const {serverReflectionInfo} = v1;
  server.add(v1, implementation);
  server.add(
    {serverReflectionInfo: {...serverReflectionInfo, path: serverReflectionInfo.path.replace('.v1.', '.v1alpha.')}},
    implementation,
  );
}
