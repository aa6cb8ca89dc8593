/** The files of one replica besides journal and ledger, and what a replica is that has just been created. */
import { utf8Encode } from '../base/bytes.ts';
import type { Incarnation, LogIndex, PartitionId, ReplicaId, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import type { FileSystem } from '../ports/file-system.ts';
import type { HardState, RecoveredPartition } from './log-store-types.ts';
import { metadataPath } from './recovery.ts';

/** A replica to be created by `init` or as a learner. */
export interface ReplicaToCreate {
  readonly partitionId: PartitionId;
  readonly replicaId: ReplicaId;
  readonly incarnation: Incarnation;
  readonly configuration: Configuration;
}

/** Writes a replica's folder and `metadata.json`; its row in the registry follows. */
export async function writeReplicaFiles(
  fileSystem: FileSystem,
  directory: string,
  { partitionId, replicaId, incarnation }: ReplicaToCreate,
): Promise<void> {
  await fileSystem.makeDirectory(`${directory}/partitions/${partitionId}`);
  const metadata = { format: 1, partitionId, replicaId: replicaId.toString(), incarnation };
  await fileSystem.replaceFile(
    metadataPath(directory, partitionId),
    utf8Encode(`${JSON.stringify(metadata, undefined, 2)}\n`),
  );
}

/** A replica with an empty log. */
export function newbornPartition(
  { partitionId, replicaId, incarnation, configuration }: ReplicaToCreate,
  hardState: HardState,
): RecoveredPartition {
  return {
    partitionId,
    replicaId,
    incarnation,
    hardState,
    baseIndex: 0 as LogIndex,
    baseTerm: 0 as Term,
    lastIndex: 0 as LogIndex,
    termRuns: [],
    recordedCommitIndex: 0 as LogIndex,
    configurations: [configuration],
    doubt: undefined,
    quarantine: undefined,
  };
}
