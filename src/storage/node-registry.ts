/**
 * `node.json`: whose data directory this is, and which replicas it hosts (specification §1 Identity).
 *
 * A row is written last, after the replica's ledger records and files: a replica exists when its row does. A listed replica
 * whose files are gone is refused, never begun afresh.
 *
 * JSON with `crc32c` (eight hexadecimal digits) over the text that the file has without it: a digit of an incarnation that
 * rotted would make the replica another one, without the doubts and quarantines that the ledger knows of it. A file of an
 * earlier version has none and is taken as it is.
 */
import { utf8Decode, utf8Encode } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import { ClustorError, messageOf } from '../base/errors.ts';
import {
  clusterId,
  incarnation,
  nodeId,
  partitionId,
  replicaId,
  type ClusterId,
  type Incarnation,
  type NodeId,
  type PartitionId,
  type ReplicaId,
} from '../base/ids.ts';
import type { FileSystem } from '../ports/file-system.ts';

/** A hosted replica. */
export interface RegisteredReplica {
  readonly partitionId: PartitionId;
  readonly replicaId: ReplicaId;
  readonly incarnation: Incarnation;
}

/** The content of `node.json`. */
export interface NodeRegistry {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly replicas: readonly RegisteredReplica[];
}

const formatVersion = 1;

/** Path of the registry. */
export function registryPath(directory: string): string {
  return `${directory}/node.json`;
}

/** Reads the registry; `undefined` when the directory has none. @throws ClustorError `CLUSTOR_INTEGRITY`, `CLUSTOR_FORMAT_UNSUPPORTED`. */
export async function readRegistry(
  fileSystem: FileSystem,
  directory: string,
): Promise<NodeRegistry | undefined> {
  const bytes = await fileSystem.readFile(registryPath(directory));
  return bytes === undefined ? undefined : registryOf(bytes, directory);
}

/** What the bytes of a registry say. @throws ClustorError as {@link readRegistry}. */
export function registryOf(bytes: Uint8Array, directory: string): NodeRegistry {
  const path = registryPath(directory);
  let parsed: unknown;
  try {
    parsed = JSON.parse(utf8Decode(bytes));
  } catch (error) {
    throw new ClustorError('CLUSTOR_INTEGRITY', `${path} is not readable: ${messageOf(error)}`, {
      cause: error,
    });
  }
  return registryOfJson(parsed, path);
}

/** Replaces the registry durably. */
export async function writeRegistry(
  fileSystem: FileSystem,
  directory: string,
  registry: NodeRegistry,
): Promise<void> {
  await fileSystem.replaceFile(registryPath(directory), registryBytes(registry));
}

/** A registry as it is written. */
export function registryBytes(registry: NodeRegistry): Uint8Array {
  const content = contentOf(registry);
  return textOf({ ...content, crc32c: checksumOf(content) });
}

function contentOf(registry: NodeRegistry): Readonly<Record<string, unknown>> {
  const rows = registry.replicas.map((row) => ({
    partitionId: row.partitionId,
    replicaId: row.replicaId.toString(),
    incarnation: row.incarnation,
  }));
  return {
    format: formatVersion,
    clusterId: registry.clusterId,
    nodeId: registry.nodeId.toString(),
    replicas: rows,
  };
}

function textOf(content: Readonly<Record<string, unknown>>): Uint8Array {
  return utf8Encode(`${JSON.stringify(content, undefined, 2)}\n`);
}

function checksumOf(content: Readonly<Record<string, unknown>>): string {
  return crc32c(textOf(content)).toString(16).padStart(8, '0');
}

function registryOfJson(parsed: unknown, path: string): NodeRegistry {
  const broken = (what: string): ClustorError =>
    new ClustorError('CLUSTOR_INTEGRITY', `${path}: ${what}`);
  if (!isRecord(parsed)) throw broken('not an object');
  if (parsed['format'] !== formatVersion) {
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      `${path} has format ${String(parsed['format'])}, this version reads ${formatVersion}`,
    );
  }
  const rows = parsed['replicas'];
  if (!Array.isArray(rows)) throw broken('no list of replicas');
  const registry = readRows(parsed, rows, broken);
  const checksum = parsed['crc32c'];
  if (checksum !== undefined && checksum !== checksumOf(contentOf(registry)))
    throw broken('its CRC does not fit what it says');
  return registry;
}

function readRows(
  parsed: Readonly<Record<string, unknown>>,
  rows: readonly unknown[],
  broken: (what: string) => ClustorError,
): NodeRegistry {
  try {
    return {
      clusterId: clusterId(String(parsed['clusterId'])),
      nodeId: nodeId(Number(parsed['nodeId'])),
      replicas: rows.map((row: unknown) => {
        if (!isRecord(row)) throw broken('a replica is not an object');
        return {
          partitionId: partitionId(String(row['partitionId'])),
          replicaId: replicaId(Number(row['replicaId'])),
          incarnation: incarnation(String(row['incarnation'])),
        };
      }),
    };
  } catch (error) {
    throw broken(messageOf(error));
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
