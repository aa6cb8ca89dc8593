/**
 * Creates replicas on a running store: their first ledger records, their files, then their rows in the registry
 * (specification §1 Identity). Until the registry names a replica it does not exist, and creating it may be repeated.
 */
import { present } from '../base/assert.ts';
import type { LogIndex, PartitionId } from '../base/ids.ts';
import type { LedgerRecord } from '../codec/ledger-records.ts';
import { asDiskHard } from './full-disk.ts';
import type { HardState, RecoveredPartition } from './log-store-types.ts';
import type { JournalPosition } from './ledger-image.ts';
import type { PartitionLog, PartitionLogStart } from './partition-log.ts';
import { newbornPartition, type ReplicaToCreate } from './replica-files.ts';
import type { ReplicaRegistry } from './replica-registry.ts';

/** What births need of their store. */
export interface ReplicaBirthsOwner {
  readonly registry: ReplicaRegistry;
  readonly durabilityModeEpoch: (partitionId: PartitionId) => number;
  /** Hands a record to the next ledger flush; `done` is called when it is durable. */
  readonly record: (record: LedgerRecord, done: (() => void) | undefined) => void;
  /** Starts something that calls back once it is durable; rejects when that will never be. */
  readonly settled: (start: (done: () => void) => void) => Promise<void>;
  /** The replica exists now. */
  readonly adopt: (start: PartitionLogStart) => void;
}

/** See the file comment. */
export class ReplicaBirths {
  readonly #owner: ReplicaBirthsOwner;

  constructor(owner: ReplicaBirthsOwner) {
    this.#owner = owner;
  }

  /** Creates replicas, all or none; `retire` hands over what ends earlier lives, in the same flush as the first records. */
  async create(
    replicas: readonly ReplicaToCreate[],
    hardState: HardState,
    retire?: () => void,
  ): Promise<readonly RecoveredPartition[]> {
    try {
      await this.#owner.registry.add(replicas, (together) =>
        this.#record(together, hardState, retire),
      );
    } catch (error) {
      throw asDiskHard(error);
    }
    return replicas.map((replica) => {
      const created = newbornPartition(replica, hardState);
      const commitIndex = created.recordedCommitIndex;
      this.#owner.adopt({
        ...created,
        commitIndex,
        frameBytes: 0,
        quarantine: undefined,
        holds: [],
      });
      return created;
    });
  }

  /**
   * Puts a new life in the place of an old one, whose entries are dead: they stand before what `end` says when the records
   * are made. The configurations of the old life go with its entries, so those of the new one come in the same flush:
   * whoever starts in between knows members.
   */
  async replace(
    old: PartitionLog,
    replica: ReplicaToCreate,
    end: () => JournalPosition,
  ): Promise<RecoveredPartition> {
    const { partitionId, incarnation } = replica;
    const reason = `replaced by incarnation ${incarnation}`;
    const [created] = await this.create([replica], old.hardState, () => {
      const { segmentSeq, endOffset: offset } = end();
      const fromIndex = 1 as LogIndex;
      this.#owner.record(
        { kind: 'doubt', partitionId, incarnation: old.incarnation, reason },
        undefined,
      );
      this.#owner.record(
        { kind: 'truncated', partitionId, fromIndex, segmentSeq, offset },
        undefined,
      );
    });
    return present(created, 'a replaced replica');
  }

  /** Resolves when the first records of the replicas are durable. */
  #record(
    replicas: readonly ReplicaToCreate[],
    hardState: HardState,
    retire: (() => void) | undefined,
  ): Promise<void> {
    return this.#owner.settled((done) => {
      retire?.();
      for (const [at, { partitionId, configuration }] of replicas.entries()) {
        const durabilityModeEpoch = this.#owner.durabilityModeEpoch(partitionId);
        this.#owner.record(
          { kind: 'hardState', partitionId, ...hardState, durabilityModeEpoch },
          undefined,
        );
        // Records become durable in order: the last one speaks for all.
        const isLast = at === replicas.length - 1;
        this.#owner.record(
          { kind: 'configuration', partitionId, configuration },
          isLast ? done : undefined,
        );
      }
    });
  }
}
