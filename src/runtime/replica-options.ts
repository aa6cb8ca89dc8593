/** What a replica is made of. */
import type { NodeId, PartitionId } from '../base/ids.ts';
import type { LeafHash } from '../codec/entry-frame.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { RaftSettings } from '../raft/index.ts';
import type { RecoveredPartition } from '../storage/log-store-types.ts';
import type { PartitionLog } from '../storage/partition-log.ts';
import type { NodeLimits } from './limits.ts';
import type { PeerLinks } from './peer-links.ts';
import type { Replica } from './replica.ts';
import type { TurnScheduler } from './turn.ts';

/** What a replica needs from its node. */
export interface ReplicaOptions {
  readonly nodeId: NodeId;
  readonly recovered: RecoveredPartition;
  readonly log: PartitionLog;
  readonly machine: StateMachine;
  readonly settings: RaftSettings;
  readonly limits: NodeLimits;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly turn: TurnScheduler;
  readonly links: PeerLinks;
  readonly seed: number;
  /** The node's time in ticks; it passes for all replicas at once. */
  readonly ticks: { readonly now: number };
  readonly ledgerSeq: number;
  /** Hashes the Merkle leaves of entries framed here; none are written without it. */
  readonly leafHash: LeafHash | undefined;
  readonly listener: ReplicaListener;
}

/** What a replica tells its node. */
export interface ReplicaListener {
  roleChanged(replica: { readonly partitionId: PartitionId }): void;
  /** It fell asleep or woke (specification §2.5). */
  hibernationChanged(replica: Replica): void;
  /** Another configuration is in force, or it was committed, or a transfer was given up. */
  configurationChanged(replica: { readonly partitionId: PartitionId }): void;
}
