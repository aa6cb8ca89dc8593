/** A replica with everything that serves it on its node. */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, NodeId } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import { allMembers } from '../raft/index.ts';
import { DurabilityDesk, type DurabilityDeskOptions } from './durability-desk.ts';
import { HoldDesk } from './hold-desk.ts';
import { LocalAppender } from './local-append.ts';
import { LocalReader } from './local-read.ts';
import { MembershipDesk } from './membership-desk.ts';
import { Partition } from './partition.ts';
import { QuarantineDesk } from './quarantine-desk.ts';
import type { SnapshotPlaceParts } from './node-snapshots.ts';
import type { PeerLinks } from './peer-links.ts';
import type { ReplicaOptions } from './replica-options.ts';
import { Replica } from './replica.ts';
import { SnapshotDesk } from './snapshot-desk.ts';

/** See the file comment. */
export interface HostedPartition {
  readonly replica: Replica;
  readonly partition: Partition;
  readonly appender: LocalAppender;
  readonly reader: LocalReader;
  readonly membership: MembershipDesk;
  readonly durability: DurabilityDesk;
  readonly quarantine: QuarantineDesk;
  readonly holds: HoldDesk;
  /** `undefined` on a node without cryptography, which takes no snapshots. */
  readonly snapshots: SnapshotDesk | undefined;
}

/** What hosting needs besides the replica's own options. */
export interface HostingOptions extends ReplicaOptions {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly links: PeerLinks;
  readonly device: Pick<DurabilityDeskOptions, 'deviceViolations' | 'ioWriterModeOf'>;
  /** Where its snapshots lie, and what hashes them. */
  readonly snapshots: SnapshotPlaceParts | undefined;
  readonly fail: (error: unknown) => void;
}

/**
 * Makes a replica and what serves it; nothing runs before `replica.begin()`.
 *
 * @throws ClustorError `CLUSTOR_INTEGRITY` when the ledger has lost every configuration of the partition (KER-9): not even its
 * peers are known.
 */
export function hostPartition(options: HostingOptions): HostedPartition {
  const { clock, entropy, links, turn, limits } = options;
  const { partitionId, configurations, doubt } = options.recovered;
  if (configurations.length === 0)
    throw new ClustorError(
      'CLUSTOR_INTEGRITY',
      `the ledger has lost the members of partition ${partitionId} (${doubt ?? 'no reason is known'}); replace this node's replicas on another node`,
      { details: { partitionId } },
    );
  const { recovered, observer } = options;
  options.log.commitIndex = recovered.recordedCommitIndex;
  const replica = new Replica({
    ...options,
    faulted: (error, isOfMachine) => {
      holds.faulted(error, isOfMachine);
    },
    snapshotWanted: () => {
      snapshots?.review();
    },
  });
  const appender = new LocalAppender({ replica, links, turn, clock, bounds: limits });
  const reader = new LocalReader({ replica, links, turn, readsMax: limits.readsMax });
  const membership = new MembershipDesk({ replica, links, clock, entropy });
  const durability = new DurabilityDesk({ replica, clock, observer, ...options.device });
  const quarantine = new QuarantineDesk({ replica, recovered, links, clock, observer, turn });
  const holds = new HoldDesk({ replica, clock, observer, turn });
  const lackChanged = holds.tellCore.bind(holds);
  const around = { replica, quarantine, lackChanged };
  const snapshots =
    options.snapshots && new SnapshotDesk({ ...options, ...options.snapshots, ...around });
  const feed = {
    source: {
      slice: (firstIndex: LogIndex, lastIndex: LogIndex) =>
        replica.tail.slice(firstIndex, lastIndex),
      read: replica.readLog,
    },
    baseIndex: () => replica.state.log.baseIndex,
    appliedIndex: () => replica.apply.appliedIndex,
    whenApplied: replica.reads.whenFollowed.bind(replica.reads),
  };
  const clientId = entropy.bytes(16);
  const partition = new Partition({
    replica,
    appender,
    reader,
    membership,
    durability,
    quarantine,
    holds,
    snapshots,
    clock,
    observer,
    clientId,
    feed,
  });
  return {
    replica,
    partition,
    appender,
    reader,
    membership,
    durability,
    quarantine,
    holds,
    snapshots,
  };
}

/** Looks again at what waits locally: a leader is known, or another one. */
export function wakeHosted(hosted: HostedPartition, nowMs: number): void {
  sweepHosted(hosted, nowMs);
  hosted.membership.review();
}

/** Looks at what waits locally, now and then. */
export function sweepHosted(
  { appender, reader, durability, snapshots }: HostedPartition,
  nowMs: number,
): void {
  appender.retry(nowMs);
  reader.retry(nowMs);
  durability.review();
  snapshots?.review();
}

/** Ends everything of a hosted partition: who waits is answered. */
export function closeHosted(hosted: HostedPartition): void {
  const { replica, appender, reader, membership, durability, quarantine, holds } = hosted;
  void hosted.snapshots?.close();
  quarantine.close();
  holds.close();
  appender.close();
  reader.close();
  membership.close();
  durability.close();
  replica.close();
}

/** Nodes that replicas here have to speak with: those of their configurations, those being added, and their leaders. */
export function neededNodes(hosted: Iterable<HostedPartition>): ReadonlySet<NodeId> {
  const needed = new Set<NodeId>();
  for (const { replica, membership } of hosted) {
    for (const configuration of replica.state.configurations)
      for (const member of allMembers(configuration)) needed.add(member.nodeId);
    for (const nodeId of membership.adding) needed.add(nodeId);
    if (replica.leaderNodeId !== undefined) needed.add(replica.leaderNodeId);
  }
  return needed;
}

/** Resolves when nothing more is written of snapshots. */
export async function snapshotsClosed(hosted: Iterable<HostedPartition>): Promise<void> {
  await Promise.all([...hosted].flatMap(({ snapshots }) => snapshots?.close() ?? []));
}

/** Wraps the keys of all snapshots under the newest epoch, one partition after the other. */
export async function rewrapSnapshots(hosted: Iterable<HostedPartition>): Promise<void> {
  // A node that serves entries is not flooded with small writes.
  for (const { snapshots } of [...hosted]) await snapshots?.rewrap();
}
