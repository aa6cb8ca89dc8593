/**
 * An operator of a simulated cluster: adds, promotes, removes and replaces members, goes back, hands leadership over, changes
 * how batches go to the disk, starts scrubs, takes snapshots, at any moment and through the same interface as a real one. What is refused is refused with a code; nothing else may come of it.
 */
import { isClustorError, messageOf } from '../base/errors.ts';
import type { NodeId, PartitionId } from '../base/ids.ts';
import type { Member } from '../base/membership.ts';
import { createPrng, nextBelow, nextFloat, pick, type PrngState } from '../base/prng.ts';
import { activeConfiguration, isJoint, votersOf } from '../raft/index.ts';
import type { VoterChange } from '../runtime/membership-desk.ts';
import type { Partition } from '../runtime/partition.ts';
import type { Replica } from '../runtime/replica.ts';
import type { OperatorKind } from './fault-plan.ts';
import type { SimCluster } from './sim-cluster.ts';

/** What an operator needs. */
export interface SimOperatorOptions {
  readonly cluster: SimCluster;
  /** Called for things that must never be. */
  readonly violated: (message: string) => void;
}

interface Led {
  readonly replica: Replica;
  readonly partition: Partition;
}

const deadlineMs = 5_000;

/** See the file comment. */
export class SimOperator {
  readonly #options: SimOperatorOptions;

  constructor(options: SimOperatorOptions) {
    this.#options = options;
  }

  /** Asks for something that follows from `draw`; returns whether there was a leader to ask. */
  operate(kind: OperatorKind, draw: number): boolean {
    const asked = this.#ask(kind, createPrng(draw));
    if (asked === undefined) return false;
    asked.catch((error: unknown) => {
      if (!isClustorError(error) || error.code === 'CLUSTOR_INTERNAL')
        this.#options.violated(`an operator was answered with ${messageOf(error)}`);
    });
    return true;
  }

  #ask(kind: OperatorKind, random: PrngState): Promise<unknown> | undefined {
    if (kind === 'scrub') return this.#scrub(random);
    if (kind === 'snapshot') return this.#snapshot(random);
    const led = this.#led();
    if (led.length === 0) return undefined;
    const target = pick(random, led);
    if (kind === 'memberChange') return this.#change(target, random);
    return kind === 'leaderTransfer' ? transfer(target, random) : changeDurability(target, random);
  }

  /** On a node that runs; one whose store is not open yet has nothing to read. */
  #scrub(random: PrngState): Promise<unknown> | undefined {
    const { cluster } = this.#options;
    const running = cluster.world.nodeIds.flatMap((nodeId) => cluster.node(nodeId) ?? []);
    return running.length === 0 ? undefined : pick(random, running).scrub.start();
  }

  #snapshot(random: PrngState): Promise<unknown> | undefined {
    const { cluster } = this.#options;
    const partitions = cluster.world.nodeIds.flatMap(
      (nodeId) => cluster.node(nodeId)?.partitions ?? [],
    );
    return partitions.length === 0 ? undefined : pick(random, partitions).takeSnapshot();
  }

  #led(): readonly Led[] {
    const { cluster } = this.#options;
    return cluster.world.nodeIds.flatMap((nodeId) => {
      const node = cluster.node(nodeId);
      return (node?.replicas() ?? [])
        .filter((replica) => replica.isLeader)
        .map((replica) => ({ replica, partition: partitionOf(node, replica.partitionId) }));
    });
  }

  #change({ replica, partition }: Led, random: PrngState): Promise<unknown> | undefined {
    const active = activeConfiguration(replica.state);
    if (isJoint(active))
      return nextFloat(random) < 0.6
        ? partition.rollBackMembership('a whim', { deadlineMs })
        : undefined;
    const { world } = this.#options.cluster;
    const outside = world.nodeIds.filter(
      (nodeId) => !active.members.some((member) => member.nodeId === nodeId),
    );
    if (outside.length > 0 && nextFloat(random) < 0.5) {
      const nodeId = pick(random, outside);
      const { host, port } = world.address(nodeId);
      const role = nextBelow(random, 8) === 0 ? 'observer' : 'learner';
      return partition.addMember({ nodeId, addresses: [`${host}:${port}`], role }, { deadlineMs });
    }
    return partition.changeVoters(drawChange(active.members, random), { deadlineMs });
  }
}

function partitionOf(
  node: { partition(id: PartitionId): Partition } | undefined,
  id: PartitionId,
): Partition {
  if (node === undefined) throw new Error('a led partition has its node');
  return node.partition(id);
}

/** Learners come in, some members go: now and then several at once. */
function drawChange(members: readonly Member[], random: PrngState): VoterChange {
  const promote: NodeId[] = [];
  const remove: NodeId[] = [];
  for (const member of members) {
    if (member.role === 'learner' && nextFloat(random) < 0.8) promote.push(member.nodeId);
    else if (nextFloat(random) < 0.25) remove.push(member.nodeId);
  }
  return { promote, remove, domains: new Map(), policy: 'strict', overrideRef: '' };
}

function transfer({ replica, partition }: Led, random: PrngState): Promise<unknown> | undefined {
  const others = votersOf(activeConfiguration(replica.state).members).filter(
    (voter) => voter.nodeId !== replica.state.selfNode,
  );
  if (others.length === 0) return undefined;
  return partition.transferLeadership(pick(random, others).nodeId, { deadlineMs });
}

/** More often to Group-Fsync than back; now and then for a caller who knows an epoch, or one that is over. */
function changeDurability({ partition }: Led, random: PrngState): Promise<unknown> {
  const mode = nextFloat(random) < 0.7 ? 'GroupFsync' : 'Strict';
  const { epoch } = partition.durability();
  if (nextBelow(random, 2) === 0) return partition.setDurability(mode, { deadlineMs });
  const expectedEpoch = Math.max(0, epoch - nextBelow(random, 2));
  return partition.setDurability(mode, { deadlineMs, expectedEpoch });
}
