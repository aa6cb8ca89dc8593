/** The configuration file of a node: what may stand in it, of which type, and where its paths begin. */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ClustorError, messageOf } from '../base/errors.ts';
import { clusterId } from '../base/ids.ts';
import { defaultRaftSettings, type RaftSettings } from '../raft/index.ts';
import type { MerkleLeaves } from '../runtime/leaf-gate.ts';
import { defaultNodeLimits, type NodeLimits } from '../runtime/limits.ts';
import { parseAddress, portMax } from '../runtime/node-address.ts';
import { defaultLogStoreLimits, type LogStoreLimits } from '../storage/log-store-types.ts';
import { rotateAfterMsOf, type KeyConfig } from './key-options.ts';

/** A node's configuration file. */
export interface NodeConfig {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly listen: string;
  /** `host:port` at which other nodes reach this one; `listen` if that names one address. */
  readonly advertise?: string;
  readonly dataDirectory: string;
  readonly certificates: {
    readonly certificateFile: string;
    readonly privateKeyFile: string;
    readonly trustBundleFile: string;
  };
  /** A cluster for development: an unsafe disk is told and used. */
  readonly development?: boolean;
  readonly product?: string;
  readonly productPort?: number;
  readonly limits?: Partial<NodeLimits>;
  readonly storage?: Partial<LogStoreLimits>;
  readonly raft?: Partial<RaftSettings>;
  readonly encryption?: KeyConfig;
  readonly merkleLeaves?: MerkleLeaves;
}

/** Says what a field needs instead of its value, if that is wrong: `a string`, or the problem of a field of its own. */
type Check = (value: unknown, name: string) => string | undefined;

interface Field {
  readonly check: Check;
  readonly isRequired?: boolean;
}

const text: Field = { check: typed('string', 'a string') };
const flag: Field = { check: typed('boolean', 'true or false') };
const address: Field = { check: addressProblem };

const fields: Readonly<Record<keyof NodeConfig, Field>> = {
  clusterId: required({ check: clusterIdProblem }),
  listen: required(address),
  dataDirectory: required(text),
  nodeId: required({ check: nodeIdProblem }),
  certificates: required(
    object({
      certificateFile: required(text),
      privateKeyFile: required(text),
      trustBundleFile: required(text),
    }),
  ),
  advertise: address,
  development: flag,
  product: text,
  productPort: { check: portProblem },
  limits: numbers(defaultNodeLimits),
  storage: numbers(defaultLogStoreLimits),
  raft: numbers(defaultRaftSettings),
  encryption: object({
    kekFile: text,
    kekEnvironment: text,
    vault: object({
      address: required(text),
      key: required(text),
      mount: text,
      namespace: text,
      tokenFile: required(text),
      authorityFile: text,
    }),
    // Looked at where it is used; it has an error of its own.
    rotateAfterDays: { check: () => undefined },
  }),
  merkleLeaves: {
    check: (value, name) =>
      value === 'sha256' || value === 'blake3' || value === 'none'
        ? undefined
        : needs('sha256, blake3 or none', name),
  },
};

/** Reads a configuration; paths in it become absolute. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export async function readConfig(path: string): Promise<NodeConfig> {
  let content: string;
  try {
    content = await readFile(path, 'utf8');
  } catch (error) {
    throw unreadable(path, error);
  }
  return configOf(content, path);
}

/** The configuration in a text. @throws ClustorError as {@link readConfig}. */
export function configOf(content: string, path: string): NodeConfig {
  let parsed: unknown;
  try {
    parsed = JSON.parse(content);
  } catch (error) {
    throw unreadable(path, error);
  }
  const problem = objectProblem(isObject(parsed) ? parsed : {}, { fields, prefix: '' });
  if (problem !== undefined)
    throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', `the configuration ${path} ${problem}`);
  const config = parsed as NodeConfig;
  rotateAfterMsOf(config.encryption);
  const base = dirname(resolve(path));
  const { certificateFile, privateKeyFile, trustBundleFile } = config.certificates;
  const { product } = config;
  return {
    ...config,
    dataDirectory: resolve(base, config.dataDirectory),
    certificates: {
      certificateFile: resolve(base, certificateFile),
      privateKeyFile: resolve(base, privateKeyFile),
      trustBundleFile: resolve(base, trustBundleFile),
    },
    // Anything else is absolute, or the name of a package.
    ...(product?.startsWith('.') === true ? { product: resolve(base, product) } : {}),
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function objectProblem(
  value: Readonly<Record<string, unknown>>,
  {
    fields: known,
    prefix,
  }: { readonly fields: Readonly<Record<string, Field>>; readonly prefix: string },
): string | undefined {
  for (const [name, { check, isRequired }] of Object.entries(known)) {
    const given = value[name];
    const fullName = `${prefix}${name}`;
    const isMissing = given === undefined || (given === null && isRequired === true);
    if (isMissing && isRequired === true) return `lacks "${fullName}"`;
    const problem = isMissing ? undefined : check(given, fullName);
    if (problem !== undefined) return problem;
  }
  // A field that is passed over would be one that somebody relies on.
  const unknown = Object.keys(value).find((name) => !Object.hasOwn(known, name));
  return unknown === undefined ? undefined : `has the unknown field "${prefix}${unknown}"`;
}

function required(field: Field): Field {
  return { ...field, isRequired: true };
}

function object(known: Readonly<Record<string, Field>>): Field {
  return {
    check: (value, name) =>
      isObject(value)
        ? objectProblem(value, { fields: known, prefix: `${name}.` })
        : needs('an object', name),
  };
}

/** Numbers under the names of the defaults; their ranges are looked at by whoever uses them. */
function numbers(defaults: object): Field {
  const field: Field = { check: typed('number', 'a number') };
  return object(Object.fromEntries(Object.keys(defaults).map((name) => [name, field])));
}

function typed(type: 'string' | 'number' | 'boolean', what: string): Check {
  return (value, name) => (typeof value === type ? undefined : needs(what, name));
}

function clusterIdProblem(value: unknown, name: string): string | undefined {
  if (typeof value !== 'string') return needs('a string', name);
  return problemOf(() => clusterId(value), name);
}

function addressProblem(value: unknown, name: string): string | undefined {
  if (typeof value !== 'string') return needs('a string', name);
  if (/\s/.test(value)) return needs('host:port without spaces', name);
  return problemOf(() => parseAddress(value), name);
}

function nodeIdProblem(value: unknown, name: string): string | undefined {
  if (typeof value !== 'number') return needs('a number', name);
  // A larger number was rounded when it was read.
  return Number.isSafeInteger(value) && value >= 1
    ? undefined
    : needs('a whole number above 0', name);
}

function portProblem(value: unknown, name: string): string | undefined {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= portMax
    ? undefined
    : needs(`a port, 0 to ${portMax},`, name);
}

function problemOf(check: () => unknown, name: string): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    return `has a wrong "${name}": ${messageOf(error)}`;
  }
}

function needs(what: string, name: string): string {
  return `needs ${what} as "${name}"`;
}

function unreadable(path: string, cause: unknown): ClustorError {
  return new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `the configuration ${path} cannot be read: ${messageOf(cause)}`,
    { cause },
  );
}
