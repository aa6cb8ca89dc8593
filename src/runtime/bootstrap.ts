/**
 * How replicas come to be (specification §1 Identity): only by `init`, which writes all incarnations into the initial
 * configuration on every member's node, before any of them runs. A node on an empty directory hosts nothing.
 */
import {
  incarnation,
  uuidFromBytes,
  type ClusterId,
  type Incarnation,
  type LogIndex,
  type NodeId,
  type PartitionId,
  type ReplicaId,
  type Term,
} from '../base/ids.ts';
import { ClustorError } from '../base/errors.ts';
import type { Configuration, Member } from '../base/membership.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileSystem } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import type { JournalEncryption } from '../storage/key-ring.ts';
import { LogStore } from '../storage/log-store.ts';
import type { LogStoreLimits } from '../storage/log-store-types.ts';
import type { ReplicaToCreate } from '../storage/replica-files.ts';

/** A partition to be created, agreed on by all its members. @public */
export interface PartitionPlan {
  readonly partitionId: PartitionId;
  readonly members: readonly Member[];
}

/** What `init` of one node needs. */
export interface InitializeParts {
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly observer: Observer;
  readonly storage?: Partial<LogStoreLimits>;
  /** Encrypts the journal. */
  readonly encryption?: JournalEncryption | undefined;
  readonly partitions: readonly PartitionPlan[];
}

/** Plans a partition of voters: fresh incarnations, replica ids equal to node ids. */
export function planPartition(
  partitionId: PartitionId,
  voters: readonly { readonly nodeId: NodeId; readonly address: string }[],
  entropy: Entropy,
): PartitionPlan {
  const members = voters.map(({ nodeId, address }): Member => ({
    replicaId: nodeId as number as ReplicaId,
    nodeId,
    incarnation: freshIncarnation(entropy),
    role: 'voter',
    addresses: [address],
  }));
  return { partitionId, members };
}

/**
 * Creates this node's replicas of the planned partitions. May be repeated until it succeeded.
 * @throws ClustorError `CLUSTOR_ALREADY_INITIALIZED` when a replica exists.
 */
export async function initializeNode(parts: InitializeParts): Promise<void> {
  const { partitions, nodeId, storage, ...rest } = parts;
  const store = await LogStore.open({
    ...rest,
    nodeId,
    ...(storage === undefined ? {} : { limits: storage }),
    listener: {
      hardStateDurable: () => undefined,
      appendDurable: () => undefined,
      damaged: () => undefined,
      flushEnded: () => undefined,
      damageFound: () => undefined,
      failed: () => undefined,
    },
  });
  try {
    await store.createReplicas(partitions.map((plan) => firstReplica(plan, nodeId)));
  } finally {
    await store.close();
  }
}

function firstReplica(plan: PartitionPlan, nodeId: NodeId): ReplicaToCreate {
  const own = plan.members.find((member) => member.nodeId === nodeId);
  if (own === undefined) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `node ${nodeId} is no member of partition ${plan.partitionId}; init it on the members' nodes only`,
    );
  }
  const configuration: Configuration = {
    term: 0 as Term,
    index: 0 as LogIndex,
    members: plan.members,
    outgoingMembers: [],
  };
  return {
    partitionId: plan.partitionId,
    replicaId: own.replicaId,
    incarnation: own.incarnation,
    configuration,
  };
}

/** Draws the name of a new life. */
export function freshIncarnation(entropy: Entropy): Incarnation {
  const bytes = entropy.bytes(16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x70;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return incarnation(uuidFromBytes(bytes, 0));
}
