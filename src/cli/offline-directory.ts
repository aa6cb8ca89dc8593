/** Data directories that offline commands read: locked against a start meanwhile, or read as they are under a living node. */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import { partitionId, type PartitionId } from '../base/ids.ts';
import { journalEncryption } from '../open-node.ts';
import { openNodeFileSystem } from '../platform/node-file-system.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { loadBlake3 } from '../security/blake3.ts';
import type { DirectoryPlace } from '../storage/journal-walk.ts';
import { readRegistry, registryPath } from '../storage/node-registry.ts';
import { keyProviderOf, type KeyOptions } from './key-options.ts';

/** A directory that may be read. */
export interface OfflineDirectory extends DirectoryPlace {
  /** The process that uses it; what is read may change under the reader then. */
  readonly usedByPid: number | undefined;
}

/** Which directory, with what of its key. */
export interface OfflineRequest {
  readonly directory: string;
  readonly options: KeyOptions;
  /** A directory in use is refused instead of being read as it is. */
  readonly mustBeFree?: boolean;
}

/**
 * Runs `use` on a directory; nothing is created or changed in it but its lock, and that only where it is a data directory.
 * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT`, `CLUSTOR_NOT_INITIALIZED`, `CLUSTOR_DATA_DIRECTORY_LOCKED`.
 */
export async function withOfflineDirectory<T>(
  { directory, options, mustBeFree = false }: OfflineRequest,
  use: (opened: OfflineDirectory) => Promise<T>,
): Promise<T> {
  const path = resolve(directory);
  await demandDirectory(path);
  const keyProvider = await keyProviderOf(options);
  const encryption = journalEncryption(keyProvider === undefined ? 'none' : { keyProvider });
  await loadBlake3();
  const fileSystem = await openNodeFileSystem({});
  try {
    if ((await readRegistry(fileSystem, path)) === undefined)
      throw new ClustorError('CLUSTOR_NOT_INITIALIZED', `there is no ${registryPath(path)}`);
    const lock = await (mustBeFree ? lockFree : lockUnlessUsed)(fileSystem, path);
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

async function demandDirectory(path: string): Promise<void> {
  let isDirectory: boolean;
  try {
    isDirectory = (await stat(path)).isDirectory();
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw new ClustorError(
      isMissing ? 'CLUSTOR_NOT_INITIALIZED' : 'CLUSTOR_INVALID_ARGUMENT',
      isMissing ? `there is no ${path}` : `${path} cannot be read: ${messageOf(error)}`,
      { cause: error },
    );
  }
  if (!isDirectory) throw new ClustorError('CLUSTOR_INVALID_ARGUMENT', `${path} is no directory`);
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

interface TakenLock {
  readonly usedByPid: number | undefined;
  release(): Promise<void>;
}

async function lockFree(fileSystem: FileSystem, path: string): Promise<TakenLock> {
  const lock = await fileSystem.lockDirectory(path);
  return { usedByPid: undefined, release: () => lock.release() };
}

async function lockUnlessUsed(fileSystem: FileSystem, path: string): Promise<TakenLock> {
  try {
    return await lockFree(fileSystem, path);
  } catch (error) {
    if (!isClustorError(error) || error.code !== 'CLUSTOR_DATA_DIRECTORY_LOCKED') throw error;
    const pid = Number(error.details['pid'] ?? 0);
    return { usedByPid: pid, release: () => Promise.resolve() };
  }
}
