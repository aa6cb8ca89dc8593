/** What a node says of itself: plain JSON-able data for the admin service, the CLI and tests. */
import type {
  ClusterId,
  Incarnation,
  LogIndex,
  NodeId,
  PartitionId,
  ReplicaId,
  Term,
} from '../base/ids.ts';
import { isSameLife, type Configuration, type Member } from '../base/membership.ts';
import {
  activeConfiguration,
  isJoint,
  jointStatus,
  selfLife,
  tickMs,
  walCommittedIndex,
  type LeaseStatus,
  type RaftState,
  type Role,
} from '../raft/index.ts';
import type { DiskStatus } from '../storage/disk-guard.ts';
import type { LogStoreStatistics } from '../storage/log-store-types.ts';
import type { DurabilityStatus } from './durability-desk.ts';
import type { LeafStatus } from './leaf-gate.ts';
import type { HoldStatus } from './hold-desk.ts';
import type { QuarantineStatus } from './quarantine-desk.ts';
import type { Replica } from './replica.ts';
import type { SnapshotStatus } from './snapshot-desk.ts';

/** A member as seen from one replica. @public */
export interface MemberStatus {
  readonly replicaId: ReplicaId;
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly role: string;
  readonly addresses: readonly string[];
  /** At a leader: what the member has acknowledged as durable. */
  readonly matchIndex: LogIndex | undefined;
  /** At a leader: how it is being sent entries. */
  readonly progress: string | undefined;
  /** At a leader: it lost what it had acknowledged. */
  readonly inDoubt: boolean;
  /** At a leader: since when the member has not been heard. */
  readonly silentMs: number | undefined;
}

/** A change of voters under way; everything needs a majority of both lists. @public */
export interface JointPhaseStatus {
  readonly outgoingMembers: readonly MemberStatus[];
  /** At the leader: own-term entries that both majorities have committed, of those needed. */
  readonly committed: number;
  readonly needed: number;
  /** At the leader: for how long it has seen the phase. */
  readonly sinceMs: number;
  /** At the leader: why the old list is wanted back. */
  readonly rollbackReason: string | undefined;
}

/** One replica. @public */
export interface PartitionStatus {
  readonly partitionId: PartitionId;
  readonly replicaId: ReplicaId;
  readonly incarnation: Incarnation;
  readonly role: Role;
  readonly roleSinceMs: number;
  readonly roleReason: string;
  readonly term: Term;
  readonly leaderNodeId: NodeId | undefined;
  /** Address of the leader's TLS port. */
  readonly leaderAddress: string | undefined;
  readonly lastIndex: LogIndex;
  readonly durableIndex: LogIndex;
  readonly verifiedIndex: LogIndex;
  readonly commitIndex: LogIndex;
  readonly walCommittedIndex: LogIndex;
  readonly appliedIndex: LogIndex;
  readonly baseIndex: LogIndex;
  readonly inDoubt: boolean;
  /** Quarantines of this replica that are in force, the gravest first (specification §5.6). */
  readonly quarantines: readonly QuarantineStatus[];
  readonly applyFault: string | undefined;
  /** Why this replica's log takes no large entry of a client, if so. */
  readonly logRefusal: string | undefined;
  readonly proposalsWaiting: number;
  readonly proposalsAppended: number;
  readonly readsWaiting: number;
  readonly localAppendsPending: number;
  readonly idempotencyRows: number;
  readonly tailBytes: number;
  readonly members: readonly MemberStatus[];
  /** Set while a change of voters is under way; then `members` is the new list. */
  readonly joint: JointPhaseStatus | undefined;
  /** Set while leadership is being handed over. */
  readonly transferToNodeId: NodeId | undefined;
  /** Index of the entry that brought the configuration in force. */
  readonly configurationIndex: LogIndex;
  readonly configurationCommitted: boolean;
  /** Whether the configuration in force names this life of the replica. */
  readonly isMember: boolean;
  /** Neither heartbeats nor timers run, because nobody uses the partition. */
  readonly isHibernating: boolean;
  /** How batches go to the disk. */
  readonly durability: DurabilityStatus;
  /** Whether it serves reads without a round, and what stands in the way. */
  readonly lease: LeaseStatus;
  /** Which Merkle leaves entries get that are framed here, and what stands in the way of others. */
  readonly leaves: LeafStatus;
  /** Snapshots on this node, and what is done about them; `undefined` on a node that takes none. */
  readonly snapshots: SnapshotStatus | undefined;
}

/** One node. @public */
export interface NodeStatus {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly bootId: string;
  readonly address: string;
  readonly uptimeMs: number;
  readonly linksUp: readonly NodeId[];
  readonly sessions: number;
  /** Wall clock and monotonic clock of the node disagree. */
  readonly clockAlarm: boolean;
  readonly journal: LogStoreStatistics;
  readonly disk: DiskStatus;
  readonly partitions: readonly PartitionStatus[];
}

/** A log that has no room for an entry of so many bytes counts as full. */
const largeEntryBytes = 1024 * 1024;

/** Status of a replica. */
export function partitionStatus(
  replica: Replica,
  around: Pick<PartitionStatus, 'localAppendsPending' | 'durability' | 'quarantines' | 'snapshots'>,
): PartitionStatus {
  const { state } = replica;
  const configuration = activeConfiguration(state);
  const leader = configuration.members.find((member) => member.nodeId === replica.leaderNodeId);
  return {
    partitionId: replica.partitionId,
    replicaId: replica.replicaId,
    incarnation: replica.incarnation,
    role: state.role,
    roleSinceMs: Math.round(replica.roleAgeMs()),
    roleReason: replica.roleReason,
    term: state.term,
    leaderNodeId: replica.leaderNodeId,
    leaderAddress: leader?.addresses[0],
    lastIndex: state.log.lastIndex,
    durableIndex: state.durableIndex,
    verifiedIndex: state.verifiedIndex,
    commitIndex: state.commitIndex,
    walCommittedIndex: walCommittedIndex(state),
    appliedIndex: replica.apply.appliedIndex,
    baseIndex: state.log.baseIndex,
    inDoubt: state.inDoubt,
    logRefusal: replica.log.refusal(largeEntryBytes),
    applyFault: around.quarantines.find(isApplyFault)?.detail,
    proposalsWaiting: replica.proposalCounts.waiting,
    proposalsAppended: replica.proposalCounts.appended,
    readsWaiting: replica.reads.waitingCount,
    ...around,
    idempotencyRows: replica.apply.table.size,
    tailBytes: replica.tail.bytesHeld,
    members: configuration.members.map((member) => memberStatus(state, member)),
    joint: jointPhase(state, configuration),
    transferToNodeId: transferTarget(state),
    configurationIndex: configuration.index,
    configurationCommitted: configuration.index <= state.commitIndex,
    isMember: replica.isMember,
    isHibernating: replica.isHibernating,
    lease: replica.lease,
    leaves: replica.leaves.status(),
  };
}

function isApplyFault(quarantine: QuarantineStatus): quarantine is HoldStatus {
  return quarantine.reason === 'ApplyFault';
}

function memberStatus(state: RaftState, member: Member): MemberStatus {
  const { replicaId, nodeId, incarnation, role, addresses } = member;
  const isSelf = isSameLife(member, selfLife(state));
  const row = state.leader?.progress.find((progress) => isSameLife(progress.member, member));
  return {
    replicaId,
    nodeId,
    incarnation,
    role,
    addresses,
    matchIndex: isSelf ? state.durableIndex : row?.matchIndex,
    progress: row?.state,
    inDoubt: isSelf ? state.inDoubt : (row?.inDoubt ?? false),
    silentMs: row === undefined ? undefined : (state.now - row.heardTick) * tickMs,
  };
}

function jointPhase(state: RaftState, configuration: Configuration): JointPhaseStatus | undefined {
  if (!isJoint(configuration)) return undefined;
  const progress = jointStatus(state);
  return {
    outgoingMembers: configuration.outgoingMembers.map((member) => memberStatus(state, member)),
    committed: progress?.committed ?? 0,
    needed: progress?.needed ?? state.settings.finalizeEntries,
    sinceMs: progress === undefined ? 0 : (state.now - progress.sinceTick) * tickMs,
    rollbackReason: progress?.rollbackReason,
  };
}

function transferTarget(state: RaftState): NodeId | undefined {
  const to = state.leader?.transfer?.to;
  if (to === undefined) return undefined;
  return activeConfiguration(state).members.find((member) => isSameLife(member, to))?.nodeId;
}
