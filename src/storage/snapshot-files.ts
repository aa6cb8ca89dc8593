/**
 * Where the files of snapshots lie, and reading and removing them (specification §7, §8).
 *
 * ```
 * partitions/<partition>/snapshot/<term>-<index>/manifest.json
 *                                               /chunks/000001, 000002, …                  plain
 *                                               /chunks/000001.sealed, 000002.sealed, …    encrypted
 * ```
 * Plain and sealed parts have different names, so that a snapshot can be sealed where it lies: the manifest says which count.
 */
import { ClustorError, isClustorError } from '../base/errors.ts';
import { logIndex, term, type PartitionId } from '../base/ids.ts';
import {
  decodeManifest,
  manifestFileName,
  snapshotPartBytes,
  type Sha256,
  type SnapshotManifest,
  type SnapshotPlace,
} from '../codec/snapshot-manifest.ts';
import { blockBytes } from '../codec/segment-format.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { isBadSector, readBlocks } from './block-reads.ts';
import { partSealBytes } from './snapshot-seal.ts';

const chunksName = 'chunks';
const placeName = /^(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})$/;
/** Bytes of a part's file at most. */
const partFileBytesMax = snapshotPartBytes + partSealBytes;

/** The folder of all snapshots of a partition. */
export function snapshotsPath(directory: string, partitionId: PartitionId): string {
  return `${directory}/partitions/${partitionId}/snapshot`;
}

/** Name of a snapshot's folder among those of its partition. */
export function snapshotName(place: SnapshotPlace): string {
  return `${place.term}-${place.index}`;
}

/** The place that a folder's name tells, if it is one of a snapshot. */
export function placeOfSnapshotName(name: string): SnapshotPlace | undefined {
  const [, ofTerm, ofIndex] = placeName.exec(name) ?? [];
  const numbers = [Number(ofTerm), Number(ofIndex)] as const;
  if (!numbers.every((number) => Number.isSafeInteger(number))) return undefined;
  return { term: term(numbers[0]), index: logIndex(numbers[1]) };
}

/** The manifest in a snapshot's folder. */
export function manifestPath(snapshot: string): string {
  return `${snapshot}/${manifestFileName}`;
}

/** The folder of the parts in a snapshot's folder. */
export function chunksPath(snapshot: string): string {
  return `${snapshot}/${chunksName}`;
}

/** The file of a part, counted from 1. */
export function partPath(snapshot: string, number: number, isSealed: boolean): string {
  return `${chunksPath(snapshot)}/${number.toString().padStart(6, '0')}${isSealed ? '.sealed' : ''}`;
}

/** Reads the file of a part past the page cache. @throws ClustorError `CLUSTOR_INTEGRITY` when it is gone, too large, or the disk does not give it back. */
export async function readPartFile(fileSystem: FileSystem, path: string): Promise<Uint8Array> {
  return readWhole(fileSystem, path, partFileBytesMax);
}

/** Reads a manifest past the page cache, of at most so many bytes. @throws ClustorError as {@link readPartFile}. */
export async function readManifestFile(
  fileSystem: FileSystem,
  snapshot: string,
  bytesMax: number,
): Promise<Uint8Array> {
  return readWhole(fileSystem, manifestPath(snapshot), bytesMax);
}

async function readWhole(
  fileSystem: FileSystem,
  path: string,
  bytesMax: number,
): Promise<Uint8Array> {
  const broken = (what: string, cause?: unknown): ClustorError =>
    new ClustorError('CLUSTOR_INTEGRITY', `${path} ${what}`, { cause, details: { path } });
  try {
    const file = await fileSystem.open(path, { access: 'durableWrite' });
    try {
      const size = await fileSystem.size(file);
      if (size > bytesMax) throw broken(`has ${size} bytes, ${bytesMax} at most make sense`);
      const length = Math.ceil(size / blockBytes) * blockBytes;
      if (length === 0) return new Uint8Array(0);
      const read = await readBlocks({ fileSystem, file }, { position: 0, length });
      const [first] = read.unreadable;
      if (first !== undefined) throw broken(`cannot be read at offset ${first}: the disk refuses`);
      return read.bytes.subarray(0, size);
    } finally {
      await fileSystem.close(file);
    }
  } catch (error) {
    if (isBadSector(error)) throw broken('cannot be read: the disk refuses', error);
    if (isMissing(error)) throw broken('is gone', error);
    throw error;
  }
}

/** Whether the file system says that a file or directory is not there. */
export function isMissing(error: unknown): boolean {
  if (!isClustorError(error, 'CLUSTOR_STORAGE_FAILED')) return false;
  const { systemCode } = error.details;
  return systemCode === 'ENOENT' || systemCode === 'ENOTDIR';
}

/**
 * Removes a snapshot's folder. Without its manifest it is none, so that goes first and for good; what a crash leaves is
 * removed at the next opening.
 */
export async function removeSnapshotFiles(fileSystem: FileSystem, snapshot: string): Promise<void> {
  const names = await fileSystem.listDirectory(snapshot);
  if (names.includes(manifestFileName)) {
    await fileSystem.remove(manifestPath(snapshot));
    await fileSystem.syncDirectory(snapshot);
  }
  const chunks = chunksPath(snapshot);
  // One after the other: a disk that serves entries is not flooded.
  for (const name of await fileSystem.listDirectory(chunks))
    await fileSystem.remove(`${chunks}/${name}`);
  await fileSystem.removeDirectory(chunks);
  for (const name of names)
    if (name !== chunksName && name !== manifestFileName)
      await fileSystem.remove(`${snapshot}/${name}`);
  await fileSystem.removeDirectory(snapshot);
  await fileSystem.syncDirectory(snapshot.slice(0, snapshot.lastIndexOf('/')));
}

/** Removes what lies in the folder of a whole snapshot and is not part of it. */
export async function removeStrayParts(
  fileSystem: FileSystem,
  snapshot: string,
  { parts, encryption }: SnapshotManifest,
): Promise<void> {
  const own = new Set(parts.map((_, at) => partPath(snapshot, at + 1, encryption !== undefined)));
  const chunks = chunksPath(snapshot);
  for (const name of await fileSystem.listDirectory(chunks))
    if (!own.has(`${chunks}/${name}`)) await fileSystem.remove(`${chunks}/${name}`);
}

/**
 * The key epochs that the manifests of a data directory name, by path; 0 for a snapshot without encryption. A manifest that
 * cannot be read names nothing. An epoch may be destroyed only when none of them, nor of any journal, needs it.
 */
export async function snapshotKeyEpochs(
  fileSystem: FileSystem,
  directory: string,
  sha256: Sha256,
): Promise<ReadonlyMap<string, number>> {
  const epochs = new Map<string, number>();
  for (const partition of await fileSystem.listDirectory(`${directory}/partitions`)) {
    const folder = `${directory}/partitions/${partition}/snapshot`;
    for (const name of await fileSystem.listDirectory(folder)) {
      if (placeOfSnapshotName(name) === undefined) continue;
      const path = manifestPath(`${folder}/${name}`);
      const bytes = await fileSystem.readFile(path);
      if (bytes === undefined) continue;
      try {
        const { encryption } = decodeManifest(bytes, { path, sha256 });
        epochs.set(path, encryption?.dekEpoch ?? 0);
      } catch (error) {
        if (!(error instanceof ClustorError)) throw error;
      }
    }
  }
  return epochs;
}
