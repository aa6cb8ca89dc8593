/**
 * Replicas that this node is given while it runs (specification §1 Identity: only by add-learner).
 *
 * A leader asks for the replica before its log names it as a member. The same wish twice is answered alike; a wish for
 * another life takes the place of a replica that nobody counts any more, and is refused otherwise. If that fails behind the
 * end of the old life, nothing is hosted; the store still knows the old life, and the next wish takes its place.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, NodeId, PartitionId, Term } from '../base/ids.ts';
import type { Observer } from '../ports/observer.ts';
import { activeConfiguration } from '../raft/index.ts';
import type { LogStore } from '../storage/log-store.ts';
import type { RecoveredPartition } from '../storage/log-store-types.ts';
import type { ReplicaToCreate } from '../storage/replica-files.ts';
import { closeHosted, snapshotsClosed, type HostedPartition } from './hosted-partition.ts';
import type { Replica } from './replica.ts';

/** What creation needs from the node. */
export interface ReplicaCreatorOptions {
  readonly nodeId: NodeId;
  readonly observer: Observer;
  readonly hosted: Map<PartitionId, HostedPartition>;
  /** Replicas for which time passes. */
  readonly awake: Set<Replica>;
  readonly store: () => LogStore;
  /** Hosts what was created. */
  readonly adopt: (created: RecoveredPartition) => Promise<void>;
}

/** A leader's wish for a new replica. */
export interface WantedReplica extends ReplicaToCreate {
  /** The committed configuration that the wish rests on: the entry that brought it. */
  readonly asOfIndex: LogIndex;
  /** Of the leader that wishes. */
  readonly term: Term;
}

/** See the file comment. */
export class ReplicaCreator {
  readonly #options: ReplicaCreatorOptions;
  readonly #creating = new Set<PartitionId>();
  /** Terms of the newest wishes: one of an older term that comes late must not end the life that the newer leader counts. */
  readonly #wishTerms = new Map<PartitionId, Term>();

  constructor(options: ReplicaCreatorOptions) {
    this.#options = options;
  }

  /** Creates a replica; resolves when its files are durable and it takes part. @throws ClustorError. */
  async create(wanted: WantedReplica): Promise<void> {
    const { nodeId, observer, hosted, store, adopt } = this.#options;
    const { partitionId, incarnation } = wanted;
    const known = hosted.get(partitionId);
    if (known?.replica.incarnation === incarnation) return;
    const newestTerm = this.#wishTerms.get(partitionId) ?? wanted.term;
    if (wanted.term < newestTerm)
      throw new ClustorError(
        'CLUSTOR_LEADERSHIP_LOST',
        `node ${nodeId} was asked for a replica of partition ${partitionId} in term ${wanted.term}, and in term ${newestTerm} since; ask the leader of now`,
      );
    this.#wishTerms.set(partitionId, wanted.term);
    if (this.#creating.has(partitionId))
      throw new ClustorError(
        'CLUSTOR_MEMBERSHIP_BLOCKED',
        `node ${nodeId} is making files for a replica of partition ${partitionId}`,
      );
    this.#creating.add(partitionId);
    try {
      const isRegistered = store().partition(partitionId) !== undefined;
      const created = isRegistered
        ? await store().replaceReplica(wanted, () => {
            this.#retire(wanted);
          })
        : await store().createReplica(wanted);
      // Snapshots of the life that ended lie where those of the new one will.
      if (known !== undefined) await snapshotsClosed([known]);
      await adopt(created);
      observer.emit({
        level: 'info',
        kind: 'replicaCreated',
        fields: { partitionId, incarnation },
      });
    } finally {
      this.#creating.delete(partitionId);
    }
  }

  /** Ends the life that is hosted, if nobody counts it. @throws ClustorError `CLUSTOR_ALREADY_INITIALIZED` otherwise. */
  #retire(wanted: WantedReplica): void {
    const { hosted, awake } = this.#options;
    const known = hosted.get(wanted.partitionId);
    if (known === undefined) return;
    const refusal = replacementRefusal(known, wanted);
    if (refusal !== undefined) throw refusal;
    closeHosted(known);
    hosted.delete(wanted.partitionId);
    // It would never sleep again, and its node would not either.
    awake.delete(known.replica);
  }
}

/**
 * Why a node refuses to begin a replica anew in place of the one that it hosts; `undefined` when it may: when that one is in
 * doubt, or a committed configuration no older than any that it knows leaves it out. A removed life is never taken in
 * again, so no later configuration can count it; a deposed leader rests on an older one.
 */
function replacementRefusal(
  { replica }: HostedPartition,
  wanted: WantedReplica,
): ClustorError | undefined {
  const { state, incarnation } = replica;
  const isLeftOut =
    wanted.asOfIndex >= activeConfiguration(state).index &&
    wanted.configuration.members.every((member) => member.incarnation !== incarnation);
  if (state.hasLostEvidence || isLeftOut) return undefined;
  return new ClustorError(
    'CLUSTOR_ALREADY_INITIALIZED',
    `node ${state.selfNode} hosts a replica of partition ${replica.partitionId} that may still be counted; remove that one first`,
  );
}
