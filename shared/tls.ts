import {createPrivateKey, X509Certificate} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {ChannelCredentials, ServerCredentials} from '@grpc/grpc-js';
import {ConfigError, type ConfigProblem} from './config.js';

/** TLS by PEM files. Whatever is wrong with them is told at the start, with the file's name, rather than as a failed handshake later. */

/** Of a server. `clientCa`: only clients with a certificate of this authority are let in (mTLS). */
export interface ServerTlsFiles {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
}

/** Of a client. `ca`: the authority of the server's certificate; undefined: those that the system trusts. */
export interface ClientTlsFiles {
  readonly ca: string | undefined;
  readonly identity: {readonly cert: string; readonly key: string} | undefined;
}

/** A certificate with its private key, as two settings name them. Half a pair is a problem: without the other half it would be for nothing. */
export function pairOf(
  cert: string | undefined,
  key: string | undefined,
  certFlag: string,
  keyFlag: string,
  problems: ConfigProblem[],
): {cert: string; key: string} | undefined {
  if (cert !== undefined && key !== undefined) return {cert, key};
  if (cert !== undefined) problems.push({where: certFlag, message: `needs ${keyFlag}, its private key`});
  if (key !== undefined) problems.push({where: keyFlag, message: `needs ${certFlag}, its certificate`});
  return undefined;
}

/** Throws `ConfigError` when the files do not do. Without files the server speaks plain text. */
export function serverCredentials(files: ServerTlsFiles | undefined, now = new Date()): ServerCredentials {
  if (files === undefined) return ServerCredentials.createInsecure();
  const problems: ConfigProblem[] = [];
  const cert = readCertificate(files.cert, now, problems);
  const key = readKey(files.key, problems);
  const clientCa = files.clientCa === undefined ? undefined : readCertificate(files.clientCa, now, problems);
  checkPair(files.cert, cert, key, problems);
  if (problems.length > 0 || cert === undefined || key === undefined) throw new ConfigError(problems);
  return ServerCredentials.createSsl(clientCa ?? null, [{cert_chain: cert, private_key: key}], clientCa !== undefined);
}

/** Throws `ConfigError` when the files do not do. Without files the client speaks plain text. */
export function clientCredentials(files: ClientTlsFiles | undefined, now = new Date()): ChannelCredentials {
  if (files === undefined) return ChannelCredentials.createInsecure();
  const problems: ConfigProblem[] = [];
  const ca = files.ca === undefined ? undefined : readCertificate(files.ca, now, problems);
  const cert = files.identity && readCertificate(files.identity.cert, now, problems);
  const key = files.identity && readKey(files.identity.key, problems);
  if (files.identity) checkPair(files.identity.cert, cert, key, problems);
  if (problems.length > 0) throw new ConfigError(problems);
  return ChannelCredentials.createSsl(ca, key, cert);
}

function readCertificate(file: string, now: Date, problems: ConfigProblem[]): Buffer | undefined {
  const bytes = readPem(file, problems);
  if (bytes === undefined) return undefined;
  try {
    const certificate = new X509Certificate(bytes);
    if (new Date(certificate.validTo) < now) problems.push({where: file, message: `expired on ${certificate.validTo}; renew it`});
    if (new Date(certificate.validFrom) > now)
      problems.push({where: file, message: `is not valid before ${certificate.validFrom}; is this machine's clock right?`});
    return bytes;
  } catch {
    problems.push({where: file, message: 'is not a PEM certificate'});
    return undefined;
  }
}

function readKey(file: string, problems: ConfigProblem[]): Buffer | undefined {
  const bytes = readPem(file, problems);
  if (bytes === undefined) return undefined;
  try {
    createPrivateKey(bytes);
    return bytes;
  } catch {
    problems.push({where: file, message: 'is not a PEM private key (without a passphrase)'});
    return undefined;
  }
}

function readPem(file: string, problems: ConfigProblem[]): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    problems.push({where: file, message: `cannot be read (${(error as NodeJS.ErrnoException).code})`});
    return undefined;
  }
}

function checkPair(file: string, cert: Buffer | undefined, key: Buffer | undefined, problems: ConfigProblem[]): void {
  if (cert === undefined || key === undefined) return;
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
    problems.push({where: file, message: 'does not belong to the private key that was given with it'});
}
