/** What a replica is made of. */
import type { LogIndex, NodeId, PartitionId, Term } from '../base/ids.ts';
import type { LeafHashes } from '../codec/entry-frame.ts';
import type { DurabilityTransition } from '../codec/system-entry.ts';
import { campaignsLast } from '../policy/quarantine.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { Input, RaftSettings, RaftStart } from '../raft/index.ts';
import type { RecoveredPartition } from '../storage/log-store-types.ts';
import type { PartitionLog } from '../storage/partition-log.ts';
import type { ApplyListener } from './apply-types.ts';
import type { MerkleLeaves } from './leaf-gate.ts';
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
  readonly ticks: {
    readonly now: number;
    /** What the clock shows at this very moment, milliseconds since tick 0; `now` may be long past after a stall. */
    readonly clockMs: () => number;
  };
  readonly ledgerSeq: number;
  /** What Merkle leaves entries framed here are to carry. */
  readonly leaves: MerkleLeaves;
  readonly leafHashes: LeafHashes | undefined;
  readonly listener: ReplicaListener;
}

/** What a replica needs besides: who is told that its machine failed, and that it needs a snapshot. */
export interface ReplicaParts extends ReplicaOptions {
  readonly faulted: ApplyListener['faulted'];
  /** Its leader no longer has what its log lacks; told with each step while it is so. */
  readonly snapshotWanted: () => void;
}

/** Inputs that need no more than the core. */
export type ReplicaInput = Extract<
  Input,
  {
    kind:
      | 'stalled'
      | 'peerConnected'
      | 'nodeUnreachable'
      | 'nodeDown'
      | 'linkRtt'
      | 'streamed'
      | 'leaderCommit'
      | 'clockAlarm'
      | 'changeConfiguration'
      | 'rollBack'
      | 'transferLeadership'
      | 'stepDown'
      | 'quarantine'
      | 'repaired'
      | 'termSeen'
      | 'hold';
  }
>;

/** What a replica tells its node. */
export interface ReplicaListener {
  roleChanged(replica: { readonly partitionId: PartitionId }): void;
  /** It fell asleep or woke (specification §2.5). */
  hibernationChanged(replica: Replica): void;
  /** A committed entry changes how batches go to the disk (specification §5.2). */
  durabilityChanged(
    replica: { readonly partitionId: PartitionId },
    transition: DurabilityTransition,
    place: { readonly term: Term; readonly index: LogIndex },
  ): void;
  /** Another configuration is in force, or it was committed, or a transfer was given up. */
  configurationChanged(replica: { readonly partitionId: PartitionId }): void;
}

/** What the core of a recovered replica begins with. */
export function raftStart(options: ReplicaOptions): RaftStart {
  const { recovered } = options;
  return {
    selfNode: options.nodeId,
    selfReplica: recovered.replicaId,
    selfIncarnation: recovered.incarnation,
    settings: options.settings,
    term: recovered.hardState.term,
    votedFor: recovered.hardState.votedFor,
    baseIndex: recovered.baseIndex,
    baseTerm: recovered.baseTerm,
    termRuns: recovered.termRuns,
    lastIndex: recovered.lastIndex,
    recordedCommitIndex: recovered.recordedCommitIndex,
    configurations: recovered.configurations,
    ledgerSeq: options.ledgerSeq,
    inDoubt: recovered.doubt !== undefined,
    isQuarantined: recovered.quarantine !== undefined,
    isHeld: campaignsLast(new Set(options.log.holds.map(({ reason }) => reason))),
    now: options.ticks.now,
    seed: options.seed,
  };
}
