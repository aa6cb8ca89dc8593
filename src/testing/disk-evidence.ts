/** What the ledgers on the disks of a simulated cluster prove, as a power loss at this instant would leave them (KER-3, KER-4). */
import type { ClusterId, NodeId, PartitionId } from '../base/ids.ts';
import type { JournalKeys } from '../storage/journal-keys.ts';
import { LedgerEvidence } from './ledger-evidence.ts';
import type { SimDisk } from './sim-disk.ts';

/** What the evidence needs of its cluster. */
export interface DiskEvidenceSource {
  readonly clusterId: ClusterId;
  readonly disk: (nodeId: NodeId) => SimDisk;
  /** Keys of a node that is up. */
  readonly keys: (nodeId: NodeId) => JournalKeys | undefined;
}

const ledgerPath = '/data/wal/durability.log';

/** See the file comment. */
export class DiskEvidence {
  readonly #source: DiskEvidenceSource;
  readonly #ledgers = new Map<NodeId, LedgerEvidence>();

  constructor(source: DiskEvidenceSource) {
    this.#source = source;
  }

  /** The index up to which a node's ledger covers a partition; 0 where it says nothing. */
  coveredIndex(nodeId: NodeId, partitionId: PartitionId): number {
    const file = this.#source.disk(nodeId).findSynced(ledgerPath);
    if (file === undefined) return 0;
    const durability = this.#ledger(nodeId).read(file)?.partitions.get(partitionId)?.durability;
    return durability?.index ?? 0;
  }

  #ledger(nodeId: NodeId): LedgerEvidence {
    const known = this.#ledgers.get(nodeId);
    if (known !== undefined) return known;
    const { clusterId, keys } = this.#source;
    const ledger = new LedgerEvidence({
      clusterId,
      nodeId,
      // Those of a node that is down, or stops, are gone from its memory.
      get keys() {
        const found = keys(nodeId);
        return found?.ring?.keysOf(found.ring.newestEpoch) === undefined ? undefined : found;
      },
    });
    this.#ledgers.set(nodeId, ledger);
    return ledger;
  }
}
