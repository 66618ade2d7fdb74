import {execFile} from 'node:child_process';
import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {promisify} from 'node:util';

/**
 * Certificates for tests, made by openssl in `folder`: `ca` with `server` (for 127.0.0.1 and localhost) and `client` of it, and `stranger`,
 * a client of another authority. Each as `NAME.pem` and `NAME.key`.
 */
export async function makeCertificates(folder: string): Promise<void> {
  await writeFile(join(folder, 'server.ext'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  for (const ca of ['ca', 'other-ca']) await openssl(folder, ['req', '-x509', ...newKey(ca), '-days', '2', '-out', `${ca}.pem`]);
  await issue(folder, 'server', 'ca', ['-extfile', 'server.ext']);
  await issue(folder, 'client', 'ca');
  await issue(folder, 'stranger', 'other-ca');
}

async function issue(folder: string, name: string, ca: string, more: readonly string[] = []): Promise<void> {
  await openssl(folder, ['req', ...newKey(name), '-out', `${name}.csr`]);
  const signing = ['x509', '-req', '-in', `${name}.csr`, '-CA', `${ca}.pem`, '-CAkey', `${ca}.key`, '-CAcreateserial', '-days', '2'];
  await openssl(folder, [...signing, '-out', `${name}.pem`, ...more]);
}

function newKey(name: string): string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', `/CN=${name}`, '-keyout', `${name}.key`];
}

async function openssl(cwd: string, args: readonly string[]): Promise<void> {
  await promisify(execFile)('openssl', [...args], {cwd});
}
