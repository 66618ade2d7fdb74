import {readFileSync} from 'node:fs';
import {ConfigError, type ConfigProblem} from '../shared/config.js';
import type {EtcdConfig} from './config.js';

/** The PEM files towards etcd, read. Throws `ConfigError` with every file that cannot be. */
export function readEtcdTls(files: EtcdConfig['tls']): {rootCertificate: Buffer; privateKey?: Buffer; certChain?: Buffer} | undefined {
  if (files === undefined) return undefined;
  const problems: ConfigProblem[] = [];
  const read = (file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (error) {
      problems.push({where: file, message: `cannot be read (${(error as NodeJS.ErrnoException).code})`});
      return Buffer.alloc(0);
    }
  };
  const rootCertificate = read(files.ca);
  const identity = files.identity && {privateKey: read(files.identity.key), certChain: read(files.identity.cert)};
  if (problems.length > 0) throw new ConfigError(problems);
  return {rootCertificate, ...identity};
}
