/**
 * The snapshots in a data directory that is only read: which there are, whether they are good, and which of them the log of
 * their partition goes on from (specification §7).
 *
 * A start takes the newest good one that stands at an entry of the log or at the one that the log begins behind. What ends above
 * the log was fetched and never put in its place; what ends below its beginning is no help to it.
 */
import { InvariantError } from '../base/assert.ts';
import type { PartitionId } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileSystem } from '../ports/file-system.ts';
import type { LiveLog, OpenedDirectory } from './journal-walk.ts';
import {
  chunksPath,
  isMissing,
  manifestPath,
  placeOfSnapshotName,
  snapshotsPath,
} from './snapshot-files.ts';
import { SnapshotFolder, type SnapshotManifest, type SnapshotPlace } from './snapshot-folder.ts';

/** Snapshots of one partition as they lie there. */
export interface SnapshotListing {
  readonly folder: SnapshotFolder;
  /** Where attempts left something; the next start removes it. */
  readonly rests: readonly SnapshotPlace[];
}

/** What a snapshot is to the log of its partition. */
export type SnapshotUse = 'goesOn' | 'behindLog' | 'beforeLog';

const readOnly = (): never => {
  throw new InvariantError('a directory that is only read is not written');
};
const noEntropy: Entropy = { bytes: readOnly, uint32: readOnly };
const noClock: Clock = {
  monotonicMs: readOnly,
  wallMs: readOnly,
  setTimer: readOnly,
  endOfTurn: readOnly,
};

/** Lists the snapshots of a partition; nothing is changed. */
export async function listSnapshots(
  { fileSystem, directory, registry, keys }: OpenedDirectory,
  { partitionId, cryptography }: SnapshotOwner,
): Promise<SnapshotListing> {
  const { clusterId, nodeId } = registry;
  const folder = new SnapshotFolder({
    fileSystem,
    directory,
    partitionId,
    clusterId,
    nodeId,
    keys,
    cryptography,
    entropy: noEntropy,
    clock: noClock,
  });
  const rests = await folder.look();
  return { folder, rests };
}

/** Whose snapshots, and what they are hashed and opened with. */
export interface SnapshotOwner {
  readonly partitionId: PartitionId;
  readonly cryptography: Cryptography;
}

/** What a snapshot is to a log; `undefined` where the log has another entry at its place, or none that can be read. */
export function useOf(
  { index, term }: SnapshotPlace,
  log: Pick<LiveLog, 'baseIndex' | 'lastIndex' | 'termAt'>,
): SnapshotUse | undefined {
  if (index < log.baseIndex) return 'beforeLog';
  if (index > log.lastIndex) return 'behindLog';
  return log.termAt(index) === term ? 'goesOn' : undefined;
}

/** The newest good snapshot that the log goes on from, and why newer ones are not. */
export async function goodSnapshot(
  { folder }: SnapshotListing,
  log: LiveLog,
  pace?: () => Promise<boolean>,
): Promise<{ readonly manifest: SnapshotManifest | undefined; readonly faults: string[] }> {
  const faults = folder.damaged.map(({ reason }) => reason);
  for (const manifest of folder.published.toReversed()) {
    if (useOf(manifest, log) !== 'goesOn') continue;
    const fault = await folder.verify(manifest, pace);
    if (fault === undefined) return { manifest, faults };
    faults.push(fault);
  }
  return { manifest: undefined, faults };
}

/** Makes what is read of snapshots durable first (KER-11). */
export async function syncSnapshots(fileSystem: FileSystem, directory: string): Promise<void> {
  const partitions = `${directory}/partitions`;
  for (const partition of await fileSystem.listDirectory(partitions)) {
    const folder = snapshotsPath(directory, partition as PartitionId);
    const names = await fileSystem.listDirectory(folder);
    const snapshots = names.filter((name) => placeOfSnapshotName(name) !== undefined);
    for (const name of snapshots) await syncSnapshot(fileSystem, `${folder}/${name}`);
    if (snapshots.length > 0) await unlessGone(fileSystem.syncDirectory(folder));
  }
}

/** Makes the names in all folders of snapshots durable: what was removed there, or replaced, stays so. */
export async function syncSnapshotNames(fileSystem: FileSystem, directory: string): Promise<void> {
  const partitions = `${directory}/partitions`;
  for (const partition of await fileSystem.listDirectory(partitions)) {
    const folder = snapshotsPath(directory, partition as PartitionId);
    for (const name of await fileSystem.listDirectory(folder))
      await unlessGone(fileSystem.syncDirectory(`${folder}/${name}`));
    await unlessGone(fileSystem.syncDirectory(folder));
  }
}

async function syncSnapshot(fileSystem: FileSystem, snapshot: string): Promise<void> {
  const chunks = chunksPath(snapshot);
  for (const part of await fileSystem.listDirectory(chunks))
    await unlessGone(fileSystem.syncFile(`${chunks}/${part}`));
  await unlessGone(fileSystem.syncFile(manifestPath(snapshot)));
  await unlessGone(fileSystem.syncDirectory(chunks));
  await unlessGone(fileSystem.syncDirectory(snapshot));
}

/** A node that runs gives segments and snapshots back while they are looked at: `undefined` then. */
export function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  return work.catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
}
