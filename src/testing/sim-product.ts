/**
 * What the nodes of a simulated run replicate, how clients load it, and how it is judged: the part of a run that is not
 * Clustor's own. The registers of Clustor's own runs are one product; a user's state machine is another.
 */
import type { PartitionId } from '../base/ids.ts';
import type { PrngState } from '../base/prng.ts';
import type { ClustorClient } from '../client/client-core.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { MachineParts, SimCluster } from './sim-cluster.ts';

/** What a load works with. */
export interface SimLoadParts {
  readonly cluster: SimCluster;
  readonly clients: readonly ClustorClient[];
  readonly random: PrngState;
  /** Called for things that must never be; throws. */
  readonly violated: (message: string) => void;
}

/** Workers that operate on a product, one operation at a time each. */
export interface SimLoad {
  /** Operations started. */
  readonly operations: number;
  /** Operations under way. */
  readonly running: number;
  /** Changes that were acknowledged. */
  readonly acknowledged: number;
  startWorker(worker: number): void;
  /** No worker begins another operation. */
  stop(): void;
}

/** One product in one run. */
export interface SimProduct {
  /** One for a product that is not made of many groups; otherwise up to three. */
  readonly partitionsMax: number;
  createStateMachine(parts: MachineParts): StateMachine;
  /** Called whenever no microtask is left: what waits now does not wait for promises of this process alone. */
  drained(): void;
  createLoad(parts: SimLoadParts): SimLoad;
  /** Changes and reads something when all is healed. Resolves with what is wrong, if anything is; rejects when there was no answer in time. */
  mustWork(
    client: ClustorClient,
    partitionId: PartitionId,
    remainingMs: () => number,
  ): Promise<string | undefined>;
  /** Looks at everything when the load is over and every replica has applied all. Resolves with what is wrong, if anything is. */
  judge(cluster: SimCluster): Promise<string | undefined>;
}
