/** Data directories that offline commands read: locked against a start meanwhile, or read as they are under a living node. */
import { resolve } from 'node:path';
import { ClustorError, isClustorError } from '../base/errors.ts';
import { partitionId, type PartitionId } from '../base/ids.ts';
import { journalEncryption } from '../open-node.ts';
import { openNodeFileSystem } from '../platform/node-file-system.ts';
import type { FileSystem } from '../ports/file-system.ts';
import type { DirectoryPlace } from '../storage/journal-walk.ts';
import { readRegistry, registryPath } from '../storage/node-registry.ts';
import { keyProviderOf, type KeyOptions } from './key-options.ts';

/** A directory that may be read. */
export interface OfflineDirectory extends DirectoryPlace {
  /** The process that uses it; what is read may change under the reader then. */
  readonly usedByPid: number | undefined;
}

/** Runs `use` on a directory; nothing is created or changed in it but its lock. @throws ClustorError `CLUSTOR_NOT_INITIALIZED`. */
export async function withOfflineDirectory<T>(
  { directory, options }: { readonly directory: string; readonly options: KeyOptions },
  use: (opened: OfflineDirectory) => Promise<T>,
): Promise<T> {
  const keyProvider = await keyProviderOf(options);
  const encryption = journalEncryption(keyProvider === undefined ? 'none' : { keyProvider });
  const fileSystem = await openNodeFileSystem({});
  try {
    const path = resolve(directory);
    if ((await readRegistry(fileSystem, path)) === undefined)
      throw new ClustorError('CLUSTOR_NOT_INITIALIZED', `there is no ${registryPath(path)}`);
    const lock = await lockUnlessUsed(fileSystem, path);
    try {
      return await use({
        fileSystem,
        directory: path,
        encryption,
        usedByPid: lock.usedByPid,
      });
    } finally {
      await lock.release();
    }
  } finally {
    await fileSystem.shutDown();
  }
}

/** What people are told of a directory that was not locked. */
export function asReadText({ directory, usedByPid }: OfflineDirectory): string {
  return `${directory} is in use by process ${usedByPid ?? 0}; shown as read, it may have changed meanwhile`;
}

/** The partition that an option names, or the only one of a directory. @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`. */
export async function partitionOf(
  { fileSystem, directory }: OfflineDirectory,
  option: string | undefined,
): Promise<PartitionId> {
  if (option !== undefined) return partitionId(option);
  const replicas = (await readRegistry(fileSystem, directory))?.replicas ?? [];
  const [only] = replicas;
  if (only !== undefined && replicas.length === 1) return only.partitionId;
  throw new ClustorError(
    'CLUSTOR_INVALID_ARGUMENT',
    `${directory} hosts ${replicas.length} partitions; name one with --partition`,
  );
}

async function lockUnlessUsed(
  fileSystem: FileSystem,
  path: string,
): Promise<{ readonly usedByPid: number | undefined; release(): Promise<void> }> {
  try {
    const lock = await fileSystem.lockDirectory(path);
    return { usedByPid: undefined, release: () => lock.release() };
  } catch (error) {
    if (!isClustorError(error) || error.code !== 'CLUSTOR_DATA_DIRECTORY_LOCKED') throw error;
    const pid = Number(error.details['pid'] ?? 0);
    return { usedByPid: pid, release: () => Promise.resolve() };
  }
}
