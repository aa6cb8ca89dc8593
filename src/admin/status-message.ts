/** A node's status as messages of the admin service, and back as plain numbers for callers. */
import { create } from '@bufbuild/protobuf';
import { textOf, type QuarantineStatus } from '../runtime/quarantine-desk.ts';
import type {
  JointPhaseStatus,
  MemberStatus,
  NodeStatus,
  PartitionStatus,
} from '../runtime/status.ts';
import { durabilityMessage } from './durability-routes.ts';
import { scrubMessage } from './scrub-routes.ts';
import { snapshotsMessage } from './snapshot-routes.ts';
import {
  DiskSchema,
  GetStatusResponseSchema,
  JointPhaseSchema,
  IoWriterSchema,
  JournalSchema,
  LatencyWindowSchema,
  LeaseSchema,
  LeavesSchema,
  MemberSchema,
  PartitionSchema,
  QuarantineSchema,
  type GetStatusResponse,
  type JointPhase,
  type Member,
  type Partition,
  type Quarantine,
} from './generated/clustor/admin/v1/admin_pb.ts';

/** Status of a node as a message. */
export function statusMessage(status: NodeStatus): GetStatusResponse {
  const { journal, disk } = status;
  return create(GetStatusResponseSchema, {
    clusterId: status.clusterId,
    nodeId: BigInt(status.nodeId),
    bootId: status.bootId,
    address: status.address,
    uptimeMs: BigInt(status.uptimeMs),
    linksUp: status.linksUp.map((nodeId) => BigInt(nodeId)),
    sessions: status.sessions,
    clockAlarm: status.clockAlarm,
    journal: create(JournalSchema, {
      flushes: BigInt(journal.flushes),
      dataFlushes: BigInt(journal.dataFlushes),
      entries: BigInt(journal.entries),
      entryBytes: BigInt(journal.entryBytes),
      journalBytesWritten: BigInt(journal.journalBytesWritten),
      journalBytes: BigInt(journal.journalBytes),
      segmentsRetired: BigInt(journal.segmentsRetired),
      segmentSeq: BigInt(journal.segmentSeq),
      endOffset: BigInt(journal.endOffset),
      ledgerSequence: BigInt(journal.ledgerSequence),
      ledgerGeneration: BigInt(journal.ledgerGeneration),
      ioWriterMode: journal.ioWriterMode,
      flushMsLast: journal.flushMsLast,
      flushMsP50: journal.flushMsP50,
      flushMsP99: journal.flushMsP99,
      nonceBlocksReserved: BigInt(journal.nonceBlocksReserved),
      nonceBlocksSpent: BigInt(journal.nonceBlocksSpent),
      nonceBlocksAbandoned: BigInt(journal.nonceBlocksAbandoned),
      ioWriter: create(IoWriterSchema, {
        ...journal.ioWriter,
        sinceMs: BigInt(journal.ioWriter.sinceMs),
        changes: BigInt(journal.ioWriter.changes),
        latency: journal.ioWriter.latency.map((window) =>
          create(LatencyWindowSchema, {
            ...window,
            windowMs: BigInt(window.windowMs),
            chains: BigInt(window.chains),
          }),
        ),
      }),
      scrub: scrubMessage(journal.scrub),
    }),
    partitions: status.partitions.map(partitionMessage),
    disk: create(DiskSchema, {
      ...disk,
      sinceMs: BigInt(disk.sinceMs),
      totalBytes: BigInt(disk.totalBytes),
      freeBytes: BigInt(disk.freeBytes),
      logBytes: BigInt(disk.logBytes),
      logBytesMax: BigInt(disk.logBytesMax),
      refusedWrites: BigInt(disk.refusedWrites),
    }),
  });
}

/** Status of a replica as a message. */
export function partitionMessage(row: PartitionStatus): Partition {
  return create(PartitionSchema, {
    partitionId: row.partitionId,
    replicaId: BigInt(row.replicaId),
    incarnation: row.incarnation,
    role: row.role,
    roleSinceMs: BigInt(row.roleSinceMs),
    roleReason: row.roleReason,
    term: BigInt(row.term),
    ...(row.leaderNodeId === undefined ? {} : { leaderNodeId: BigInt(row.leaderNodeId) }),
    ...(row.leaderAddress === undefined ? {} : { leaderAddress: row.leaderAddress }),
    lastIndex: BigInt(row.lastIndex),
    durableIndex: BigInt(row.durableIndex),
    verifiedIndex: BigInt(row.verifiedIndex),
    commitIndex: BigInt(row.commitIndex),
    walCommittedIndex: BigInt(row.walCommittedIndex),
    appliedIndex: BigInt(row.appliedIndex),
    baseIndex: BigInt(row.baseIndex),
    inDoubt: row.inDoubt,
    ...(row.applyFault === undefined ? {} : { applyFault: row.applyFault }),
    proposalsWaiting: row.proposalsWaiting,
    proposalsAppended: row.proposalsAppended,
    readsWaiting: row.readsWaiting,
    localAppendsPending: row.localAppendsPending,
    idempotencyRows: row.idempotencyRows,
    tailBytes: BigInt(row.tailBytes),
    members: row.members.map(memberMessage),
    ...(row.joint === undefined ? {} : { joint: jointMessage(row.joint) }),
    ...(row.transferToNodeId === undefined
      ? {}
      : { transferToNodeId: BigInt(row.transferToNodeId) }),
    configurationIndex: BigInt(row.configurationIndex),
    configurationCommitted: row.configurationCommitted,
    isMember: row.isMember,
    isHibernating: row.isHibernating,
    durability: durabilityMessage(row.durability),
    lease: create(LeaseSchema, row.lease),
    leaves: create(LeavesSchema, {
      ...row.leaves,
      nodeId: row.leaves.nodeId === undefined ? undefined : BigInt(row.leaves.nodeId),
    }),
    quarantines: row.quarantines.map(quarantineMessage),
    ...(row.snapshots === undefined ? {} : { snapshots: snapshotsMessage(row.snapshots) }),
  });
}

function quarantineMessage(quarantine: QuarantineStatus): Quarantine {
  const { reason, awaitsOperator } = quarantine;
  const sinceMs = BigInt(quarantine.sinceMs);
  if (quarantine.reason !== 'Integrity') {
    const { index, detail, ticket } = quarantine;
    return create(QuarantineSchema, {
      reason,
      sinceMs,
      index: BigInt(index),
      detail,
      ticket,
      awaitsOperator,
    });
  }
  const { missing, missingCount, repairedCount, attempts } = quarantine;
  return create(QuarantineSchema, {
    reason,
    sinceMs,
    missing: textOf(missing),
    missingCount: BigInt(missingCount),
    repairedCount: BigInt(repairedCount),
    attempts,
    ...(quarantine.askedNodeId === undefined
      ? {}
      : { askedNodeId: BigInt(quarantine.askedNodeId) }),
    awaitsOperator,
  });
}

function jointMessage(joint: JointPhaseStatus): JointPhase {
  const { outgoingMembers, committed, needed, sinceMs, rollbackReason } = joint;
  return create(JointPhaseSchema, {
    outgoingMembers: outgoingMembers.map(memberMessage),
    committed,
    needed,
    sinceMs: BigInt(sinceMs),
    ...(rollbackReason === undefined ? {} : { rollbackReason }),
  });
}

/** A member as a message, with what a leader knows of it. */
function memberMessage(member: MemberStatus): Member {
  const { matchIndex, progress, inDoubt, silentMs } = member;
  return create(MemberSchema, {
    ...memberFields(member),
    ...(matchIndex === undefined ? {} : { matchIndex: BigInt(matchIndex) }),
    ...(progress === undefined ? {} : { progress }),
    inDoubt,
    ...(silentMs === undefined ? {} : { silentMs: BigInt(silentMs) }),
  });
}

/** What a configuration says of a member, as fields of a message. */
export function memberFields({
  replicaId,
  nodeId,
  incarnation,
  role,
  addresses,
}: Pick<MemberStatus, 'replicaId' | 'nodeId' | 'incarnation' | 'role' | 'addresses'>): {
  readonly replicaId: bigint;
  readonly nodeId: bigint;
  readonly incarnation: string;
  readonly role: string;
  readonly addresses: string[];
} {
  return {
    replicaId: BigInt(replicaId),
    nodeId: BigInt(nodeId),
    incarnation,
    role,
    addresses: [...addresses],
  };
}
