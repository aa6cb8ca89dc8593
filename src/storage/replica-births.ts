/**
 * Creates replicas on a running store: their first ledger records, their files, then their rows in the registry
 * (specification §1 Identity). Until the registry names a replica it does not exist, and creating it may be repeated.
 */
import type { ClustorError } from '../base/errors.ts';
import type { PartitionId } from '../base/ids.ts';
import type { LedgerRecord } from '../codec/ledger-format.ts';
import { asDiskHard } from './full-disk.ts';
import type { HardState, RecoveredPartition } from './log-store-types.ts';
import type { PartitionLogStart } from './partition-log.ts';
import { newbornPartition, type ReplicaToCreate } from './replica-files.ts';
import type { ReplicaRegistry } from './replica-registry.ts';

/** What births need of their store. */
export interface ReplicaBirthsOwner {
  readonly registry: ReplicaRegistry;
  readonly durabilityModeEpoch: (partitionId: PartitionId) => number;
  /** Hands a record to the next ledger flush; `done` is called when it is durable. */
  readonly record: (record: LedgerRecord, done: (() => void) | undefined) => void;
  readonly flush: () => void;
  readonly failure: () => ClustorError | undefined;
  /** The replica exists now. */
  readonly adopt: (start: PartitionLogStart) => void;
}

/** See the file comment. */
export class ReplicaBirths {
  readonly #owner: ReplicaBirthsOwner;
  /** Whoever waits for records to become durable, to be told that they will not. */
  readonly #failureWaiters = new Set<(error: ClustorError) => void>();

  constructor(owner: ReplicaBirthsOwner) {
    this.#owner = owner;
  }

  /** Creates replicas, all or none. */
  async create(
    replicas: readonly ReplicaToCreate[],
    hardState: HardState,
  ): Promise<readonly RecoveredPartition[]> {
    try {
      await this.#owner.registry.add(replicas, (together) => this.#record(together, hardState));
    } catch (error) {
      throw asDiskHard(error);
    }
    return replicas.map((replica) => {
      const created = newbornPartition(replica, hardState);
      this.#owner.adopt({ ...created, commitIndex: created.recordedCommitIndex, frameBytes: 0 });
      return created;
    });
  }

  /** Nothing becomes durable any more. */
  failed(error: ClustorError): void {
    for (const reject of this.#failureWaiters) reject(error);
  }

  /** Resolves when the first records of the replicas are durable. */
  #record(replicas: readonly ReplicaToCreate[], hardState: HardState): Promise<void> {
    return new Promise((resolve, reject) => {
      const failure = this.#owner.failure();
      if (failure !== undefined) {
        reject(failure);
        return;
      }
      this.#failureWaiters.add(reject);
      const done = (): void => {
        this.#failureWaiters.delete(reject);
        resolve();
      };
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
      this.#owner.flush();
    });
  }
}
