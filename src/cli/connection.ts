/** How commands reach a cluster: through the folder of a local one, or through addresses and certificate files. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ClustorError, messageOf } from '../base/errors.ts';
import type { ConnectOptions } from '../client/index.ts';
import { ClusterDirectory } from './cluster-directory.ts';

/** Options that every command of a client has. */
export interface ConnectionOptions {
  readonly dir: string;
  readonly addresses?: string;
  readonly certificate?: string;
  readonly privateKey?: string;
  readonly trustBundle?: string;
}

/** What a command connects with. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`, `CLUSTOR_NOT_INITIALIZED`. */
export async function connectionOf(
  options: ConnectionOptions,
  role: 'client' | 'operator',
): Promise<ConnectOptions> {
  const { addresses, certificate, privateKey, trustBundle } = options;
  const given = [addresses, certificate, privateKey, trustBundle];
  if (given.every((value) => value === undefined))
    return localConnection(new ClusterDirectory(resolve(options.dir)), role);
  if (
    addresses === undefined ||
    certificate === undefined ||
    privateKey === undefined ||
    trustBundle === undefined
  ) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      '--addresses, --certificate, --private-key and --trust-bundle go together',
    );
  }
  return {
    addresses: addresses.split(','),
    ...(await texts({ certificate, privateKey, trustBundle })),
  };
}

async function localConnection(
  directory: ClusterDirectory,
  role: 'client' | 'operator',
): Promise<ConnectOptions> {
  const cluster = await directory.read();
  if (cluster === undefined) {
    throw new ClustorError(
      'CLUSTOR_NOT_INITIALIZED',
      `there is no cluster in ${directory.path}; start one with \`clustor up\`, or name another with --dir or --addresses`,
    );
  }
  return {
    addresses: cluster.nodes.map((node) => node.address),
    ...(await texts(directory.clientPaths(role))),
  };
}

async function texts(paths: {
  readonly certificate: string;
  readonly privateKey: string;
  readonly trustBundle: string;
}): Promise<Omit<ConnectOptions, 'addresses'>> {
  return {
    certificate: await text(paths.certificate),
    privateKey: await text(paths.privateKey),
    trustBundle: await text(paths.trustBundle),
  };
}

async function text(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `${path} cannot be read: ${messageOf(error)}`,
      { cause: error },
    );
  }
}
