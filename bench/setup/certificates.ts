/**
 * A throw-away certificate authority with one server and one client certificate (ECDSA P-256, SHA-256),
 * made by the `openssl` program into the folder of the bench.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where one identity lies and what its files hold. */
export interface Identity {
  readonly certificatePath: string;
  readonly keyPath: string;
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca: Buffer;
}

/** Everything a mutually authenticated link needs. */
export interface Certificates {
  readonly authorityPath: string;
  readonly server: Identity;
  readonly client: Identity;
}

const validDays = '2';

/** Makes the authority and both identities, or reads them again where an earlier call made them. */
export function makeCertificates(directory: string): Certificates {
  mkdirSync(directory, { recursive: true });
  const openssl = (...words: string[]): void => {
    execFileSync('openssl', words, { cwd: directory, stdio: 'pipe' });
  };
  const makeKey = (name: string): void => {
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
  };
  makeKey('ca');
  openssl(
    ...['req', '-x509', '-new', '-sha256', '-key', 'ca.key', '-out', 'ca.crt'],
    ...['-subj', '/CN=bench authority', '-days', validDays],
  );
  writeFileSync(
    join(directory, 'extensions'),
    'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n',
  );
  for (const name of ['server', 'client']) {
    makeKey(name);
    openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
    openssl(
      ...['x509', '-req', '-sha256', '-in', `${name}.csr`, '-CA', 'ca.crt', '-CAkey', 'ca.key'],
      ...['-CAcreateserial', '-days', validDays, '-extfile', 'extensions', '-out', `${name}.crt`],
    );
  }
  return readCertificates(directory);
}

/** Reads what {@link makeCertificates} left in a folder. */
export function readCertificates(directory: string): Certificates {
  const authorityPath = join(directory, 'ca.crt');
  const ca = readFileSync(authorityPath);
  const identity = (name: string): Identity => {
    const certificatePath = join(directory, `${name}.crt`);
    const keyPath = join(directory, `${name}.key`);
    return {
      certificatePath,
      keyPath,
      cert: readFileSync(certificatePath),
      key: readFileSync(keyPath),
      ca,
    };
  };
  return { authorityPath, server: identity('server'), client: identity('client') };
}
