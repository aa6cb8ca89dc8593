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
import { activeConfiguration, walCommittedIndex, type Role } from '../raft/index.ts';
import type { LogStoreStatistics } from '../storage/log-store-types.ts';
import type { Replica } from './replica.ts';

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
  readonly applyFault: string | undefined;
  readonly proposalsWaiting: number;
  readonly proposalsAppended: number;
  readonly readsWaiting: number;
  readonly localAppendsPending: number;
  readonly idempotencyRows: number;
  readonly tailBytes: number;
  readonly members: readonly MemberStatus[];
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
  readonly journal: LogStoreStatistics;
  readonly partitions: readonly PartitionStatus[];
}

/** Status of a replica. */
export function partitionStatus(replica: Replica, localAppendsPending: number): PartitionStatus {
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
    applyFault: replica.apply.fault?.message,
    proposalsWaiting: replica.proposalCounts.waiting,
    proposalsAppended: replica.proposalCounts.appended,
    readsWaiting: replica.reads.waitingCount,
    localAppendsPending,
    idempotencyRows: replica.apply.table.size,
    tailBytes: replica.tail.bytesHeld,
    members: configuration.members.map((member) => {
      const row = state.leader?.progress.find(
        (progress) => progress.member.replicaId === member.replicaId,
      );
      const isSelf = member.replicaId === replica.replicaId;
      return {
        replicaId: member.replicaId,
        nodeId: member.nodeId,
        incarnation: member.incarnation,
        role: member.role,
        addresses: member.addresses,
        matchIndex: isSelf ? state.durableIndex : row?.matchIndex,
        progress: row?.state,
        inDoubt: isSelf ? state.inDoubt : (row?.inDoubt ?? false),
      };
    }),
  };
}
