/** The folders of a node's snapshots, and what they say of a log that was recovered. */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import type { LogStore } from '../storage/log-store.ts';
import type { RecoveredPartition } from '../storage/log-store-types.ts';
import type { ScrubSources } from '../storage/scrubber.ts';
import { SnapshotFolder } from '../storage/snapshot-folder.ts';
import type { NodeParts } from './node-parts.ts';

/** Where the snapshots of a replica lie, and what hashes them. */
export interface SnapshotPlaceParts {
  readonly folder: SnapshotFolder;
  readonly cryptography: Cryptography;
  /** Reads them back now and then. */
  readonly scrub: ScrubSources;
}

/** A replica that was found or created, with the folder of its snapshots. */
export interface RecoveredReplica {
  readonly recovered: RecoveredPartition;
  readonly snapshots: SnapshotPlaceParts | undefined;
}

/** Folders that are opened at a time. */
const openedTogetherMax = 64;

/**
 * Opens the folder of each replica's snapshots.
 * @throws ClustorError `CLUSTOR_INVALID_ARGUMENT` where a log begins behind a snapshot and nothing here can read one.
 */
export async function openSnapshotFolders(
  parts: NodeParts,
  store: LogStore,
  replicas: readonly RecoveredPartition[] = store.recovered,
): Promise<readonly RecoveredReplica[]> {
  const cryptography = parts.cryptography ?? parts.encryption?.cryptography;
  const found: RecoveredReplica[] = [];
  for (let from = 0; from < replicas.length; from += openedTogetherMax) {
    const together = replicas.slice(from, from + openedTogetherMax).map(async (recovered) => {
      if (cryptography !== undefined) return openFolder({ parts, store, cryptography }, recovered);
      if (recovered.baseIndex > 0)
        throw new ClustorError(
          'CLUSTOR_INVALID_ARGUMENT',
          `the log of partition ${recovered.partitionId} begins behind a snapshot, which needs cryptography to be read`,
        );
      return { recovered, snapshots: undefined };
    });
    found.push(...(await Promise.all(together)));
  }
  return found;
}

async function openFolder(
  place: {
    readonly parts: NodeParts;
    readonly store: LogStore;
    readonly cryptography: Cryptography;
  },
  recovered: RecoveredPartition,
): Promise<RecoveredReplica> {
  const { parts, store, cryptography } = place;
  const { fileSystem, directory, clusterId, nodeId, entropy, clock } = parts;
  const { partitionId } = recovered;
  const folder = new SnapshotFolder({
    fileSystem,
    directory,
    partitionId,
    clusterId,
    nodeId,
    keys: store.keyDesk.keys,
    cryptography,
    entropy,
    clock,
  });
  await folder.open();
  return {
    recovered: withCommitOf(folder, recovered),
    snapshots: { folder, cryptography, scrub: store.scrub },
  };
}

/** A snapshot holds committed entries only: where the log has its last one, everything up to there is committed. */
function withCommitOf(folder: SnapshotFolder, recovered: RecoveredPartition): RecoveredPartition {
  const newest = folder.published.findLast(
    ({ index, term }) => termIn(recovered, index) === term,
  )?.index;
  const recordedCommitIndex = Math.max(recovered.recordedCommitIndex, newest ?? 0) as LogIndex;
  return { ...recovered, recordedCommitIndex };
}

function termIn(
  { baseIndex, baseTerm, lastIndex, termRuns }: RecoveredPartition,
  index: LogIndex,
): Term | undefined {
  if (index === baseIndex) return baseTerm;
  if (index < baseIndex || index > lastIndex) return undefined;
  return termRuns.findLast(({ firstIndex }) => firstIndex <= index)?.term;
}
