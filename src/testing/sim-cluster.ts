/**
 * A cluster of real nodes on a simulated world, watched at every step.
 *
 * The driver starts and restarts nodes as a supervisor does. A node may stop itself only because its disk failed; any other
 * end, a broken invariant of a core, two leaders of one term, a committed entry that changes, a machine that applies
 * something else than the others, or a doubt without damage is a violation: it is thrown out of the run.
 */
import { isClustorError, messageOf } from '../base/errors.ts';
import type { ClusterId, LogIndex, NodeId, PartitionId } from '../base/ids.ts';
import type { Configuration, Member } from '../base/membership.ts';
import { nextBelow, nextBetween } from '../base/prng.ts';
import type { Observer } from '../ports/observer.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import {
  activeConfiguration,
  checkRaftState,
  checkRaftTransition,
  cloneRaftState,
  hasQuorum,
  isVoter,
  selfLife,
  termAt,
  votersOfBoth,
  type RaftState,
} from '../raft/index.ts';
import { initializeNode, planPartition, type PartitionPlan } from '../runtime/bootstrap.ts';
import type { LogPosition } from '../runtime/known-log.ts';
import { ClustorNode } from '../runtime/node.ts';
import type { Replica } from '../runtime/replica.ts';
import { nodeCryptography } from '../security/node-cryptography.ts';
import { isOutForGood, nothingCommitted, unsafeEntry, type Committed } from './committed-row.ts';
import { DiskEvidence } from './disk-evidence.ts';
import { olderLeaseHolder } from './lease-check.ts';
import { RegisterMachine, type AppliedEntry } from './sim-machine.ts';
import { SimViolation, type SimClusterOptions } from './sim-cluster-options.ts';
import { partsOfVersion } from './sim-versions.ts';
import type { SimHost, SimWorld } from './sim-world.ts';

export { SimViolation } from './sim-cluster-options.ts';
export type { MachineParts, SimClusterOptions, TimelineEvent } from './sim-cluster-options.ts';

/** A replica as it was when it was last looked at. */
interface Before {
  readonly replica: Replica;
  readonly state: RaftState;
  readonly signature: number;
  stepCount: number;
}

interface Life {
  readonly host: SimHost;
  node: ClustorNode | undefined;
  readonly before: Map<PartitionId, Before>;
  readonly machines: Map<PartitionId, StateMachine>;
}

/** One in so many advances of the commit index is looked up on the disks. */
const commitSamples = 8;
const directory = '/data';

/** See the file comment. */
export class SimCluster {
  readonly world: SimWorld;
  readonly plans: readonly PartitionPlan[];
  readonly #options: SimClusterOptions;
  readonly #voterIds: readonly NodeId[];
  readonly #lives = new Map<NodeId, Life>();
  readonly #committed = new Map<PartitionId, Committed>();
  readonly #evidence: DiskEvidence;
  /** Nodes whose disks lost entries without any book kept of which. */
  readonly #damaged = new Set<NodeId>();
  readonly #lifeEnded: ((nodeId: NodeId) => void)[] = [];
  /** Leaders seen, over all partitions. */
  leaderChanges = 0;
  /** Leaders that let go of their own accord, because of a slow disk for instance. */
  leadersGivenUp = 0;
  /** Acknowledgements whose evidence was looked up on the disks. */
  evidenceChecks = 0;

  constructor(options: SimClusterOptions) {
    this.world = options.world;
    this.#options = options;
    this.#evidence = new DiskEvidence({
      clusterId: options.clusterId,
      disk: (nodeId) => this.world.disk(nodeId),
      keys: (nodeId) => this.node(nodeId)?.journalKeys,
    });
    this.#voterIds = options.voterIds ?? options.world.nodeIds;
    const voters = this.#voterIds.map((nodeId) => {
      const { host, port } = options.world.address(nodeId);
      return { nodeId, address: `${host}:${port}` };
    });
    const entropy = options.world.client('init').entropy;
    this.plans = options.partitionIds.map((partitionId) =>
      planPartition(partitionId, voters, entropy),
    );
    for (const partitionId of options.partitionIds) {
      this.#committed.set(partitionId, nothingCommitted());
    }
  }

  /** Creates the replicas on every disk; the machines are down afterwards. */
  async initialize(): Promise<void> {
    for (const nodeId of this.#voterIds) {
      const host = this.world.start(nodeId);
      const { fileSystem, clock, entropy } = host;
      await initializeNode({
        ...this.#identity(nodeId),
        fileSystem,
        clock,
        entropy,
        observer: this.#observer(nodeId),
        storage: this.#options.storage,
        encryption: this.#options.encryption?.of(nodeId, entropy),
        partitions: this.plans,
      });
      this.world.crash(nodeId, 'processKill');
    }
  }

  /** Begins a life of a machine that is down. */
  start(nodeId: NodeId): void {
    const host = this.world.start(nodeId);
    const life: Life = { host, node: undefined, before: new Map(), machines: new Map() };
    this.#lives.set(nodeId, life);
    const { fileSystem, transport, clock, entropy } = host;
    const opening = ClustorNode.open({
      ...this.#identity(nodeId),
      ...partsOfVersion(this.#options.versions?.get(nodeId)),
      fileSystem,
      transport,
      clock,
      entropy,
      observer: this.#observer(nodeId),
      storage: this.#options.storage,
      raft: this.#options.raft,
      cryptography: nodeCryptography,
      encryption: this.#options.encryption?.of(nodeId, entropy),
      limits: this.#options.limits,
      advertisedAddress: `${host.address.host}:${host.address.port}`,
      createStateMachine: (partitionId) => this.#machine(life, partitionId),
    });
    opening.then(
      (node) => {
        if (!host.isAlive) return;
        life.node = node;
        void node.stopped.then((error) => {
          if (host.isAlive) this.#stopped(nodeId, error);
        });
      },
      (error: unknown) => {
        if (host.isAlive) this.#stopped(nodeId, error);
      },
    );
  }

  /** The node of a machine that is up and has recovered. */
  node(nodeId: NodeId): ClustorNode | undefined {
    const life = this.#lives.get(nodeId);
    return life?.host.isAlive === true ? life.node : undefined;
  }

  /** A node that leads a partition, each time perhaps of another one. */
  leader(): NodeId | undefined {
    const leaders = this.world.nodeIds.filter((nodeId) =>
      this.node(nodeId)
        ?.replicas()
        .some((replica) => replica.isLeader),
    );
    return leaders[nextBelow(this.world.random, Math.max(1, leaders.length))];
  }

  /** The machine of a partition on a node that is up. */
  machine(nodeId: NodeId, partitionId: PartitionId): StateMachine | undefined {
    const life = this.#lives.get(nodeId);
    return life?.host.isAlive === true ? life.machines.get(partitionId) : undefined;
  }

  /** Calls `ended` whenever a life of a machine ends: nothing of it will answer any more. */
  onLifeEnded(ended: (nodeId: NodeId) => void): void {
    this.#lifeEnded.push(ended);
  }

  /** To be called when entries were damaged on a node: it may be in quarantine from now on, and must come out of it. */
  damaged(nodeId: NodeId): void {
    this.#damaged.add(nodeId);
  }

  /** To be called when the world crashed a machine. */
  crashed(nodeId: NodeId): void {
    for (const ended of this.#lifeEnded) ended(nodeId);
  }

  /** Checks what must hold after every event of a machine. */
  check(machineNumber: number | undefined): void {
    if (machineNumber === undefined) return;
    const nodeId = this.world.nodeIds[machineNumber - 1];
    const life = nodeId === undefined ? undefined : this.#lives.get(nodeId);
    if (nodeId === undefined || life?.node === undefined || !life.host.isAlive) return;
    for (const replica of life.node.replicas()) this.#checkState(nodeId, life, replica);
  }

  /**
   * Looks up the evidence of a committed entry on the disks, as a power loss at this instant would leave them (KER-3,
   * KER-4): a quorum's ledgers must cover it.
   */
  checkEvidence(partitionId: PartitionId, index: LogIndex): void {
    this.evidenceChecks++;
    const { active } = this.#row(partitionId);
    if (active === undefined) return;
    const covers = ({ nodeId }: Member): boolean => {
      // A damaged ledger tells less than it told when the entry was acknowledged.
      if (this.#options.atlas?.isDamaged(nodeId, partitionId) === true) return true;
      return this.#evidence.coveredIndex(nodeId, partitionId) >= index;
    };
    if (hasQuorum(active, covers)) return;
    const covering = votersOfBoth(active).filter(covers);
    this.#violated(
      `entry ${index} of ${partitionId} counts as committed, and only the ledgers of nodes [${covering.map(({ nodeId }) => nodeId).join(', ')}] cover it`,
    );
  }

  /** The configuration under which the highest index was committed. */
  committedConfiguration(partitionId: PartitionId): Configuration | undefined {
    return this.#row(partitionId).active;
  }

  /** The configuration under which the highest index was committed, and those behind it that any replica has. */
  configurationsToCome(partitionId: PartitionId): readonly Configuration[] {
    const { active, configurations } = this.#row(partitionId);
    const from = active?.index ?? 0;
    return [...configurations.values()].filter(({ index }) => index >= from);
  }

  /** How many configurations there were, besides those that `init` wrote. */
  get membershipChanges(): number {
    let count = 0;
    for (const { configurations } of this.#committed.values()) count += configurations.size - 1;
    return Math.max(0, count);
  }

  /** Whether exactly this entry is known to be committed. */
  isCommitted(partitionId: PartitionId, { index, term }: LogPosition): boolean {
    return this.#row(partitionId).terms.get(index) === term;
  }

  /** Whether a replica is out of the game because its disk was damaged: for good, or on a node that does not start. */
  isOut(nodeId: NodeId, partitionId: PartitionId): boolean {
    if (this.#options.atlas?.isDamaged(nodeId, partitionId) !== true) return false;
    const node = this.node(nodeId);
    const replica = node?.replicas().find((row) => row.partitionId === partitionId);
    if (node === undefined || replica === undefined) return true;
    const rows = node.partition(partitionId).status().quarantines;
    const quarantineEnd = rows.find((row) => row.reason === 'Integrity')?.end;
    return isOutForGood({ ...replica.state, quarantineEnd }, this.#row(partitionId));
  }

  /** The highest index known to be committed. */
  highestCommitted(partitionId: PartitionId): LogIndex {
    return this.#committed.get(partitionId)?.highest ?? (0 as LogIndex);
  }

  #identity(nodeId: NodeId): { directory: string; clusterId: ClusterId; nodeId: NodeId } {
    return { directory, clusterId: this.#options.clusterId, nodeId };
  }

  #observer(nodeId: NodeId): Observer {
    return {
      emit: (event) => {
        this.#options.onEvent?.({ atMs: this.world.nowMs, nodeId, event });
        if (event.kind === 'quarantineAwaitsOperator')
          this.#clearLater(nodeId, event.fields['partitionId']);
        if (event.kind === 'leadershipGivenUp') this.leadersGivenUp++;
        const doubted = event.kind === 'peerInDoubt' ? (event.fields['nodeId'] as NodeId) : nodeId;
        const isDoubt = event.kind === 'replicaInDoubt' || event.kind === 'peerInDoubt';
        if (isDoubt && this.#options.atlas?.isNodeDamaged(doubted) !== true)
          this.#violated(`node ${nodeId}: ${event.kind} without any damage`);
      },
    };
  }

  /** An operator ends the quarantine that the system does not end by itself (specification §5.6). */
  #clearLater(nodeId: NodeId, partitionId: string | number | boolean | undefined): void {
    this.world.after(nextBetween(this.world.random, 50, 500), () => {
      const partition = this.node(nodeId)?.partitions.find(
        (one) => one.partitionId === partitionId,
      );
      const rows = partition?.status().quarantines ?? [];
      if (rows.some((row) => row.reason === 'Integrity' && row.awaitsOperator))
        partition?.clearQuarantine('simulated', 'Integrity').catch((error: unknown) => {
          this.#violated(`node ${nodeId} refused who it waits for: ${messageOf(error)}`);
        });
    });
  }

  /** A node that stopped because of its disk, or had no room to start, is started again, as a supervisor does; anything else is a bug. */
  #stopped(nodeId: NodeId, error: unknown): void {
    // Damage may keep a node from starting; one that runs has at most replicas in doubt, and the others go on (§5.3).
    const hasNotStarted = this.#lives.get(nodeId)?.node === undefined;
    const isRefusal = hasNotStarted && isClustorError(error) && error.code !== 'CLUSTOR_INTERNAL';
    const isOfDisk =
      isClustorError(error, 'CLUSTOR_STORAGE_FAILED') || isClustorError(error, 'CLUSTOR_DISK_HARD');
    if (isRefusal && this.#options.atlas?.isNodeDamaged(nodeId) === true) {
      const fields = { code: error.code, message: error.message };
      const event = { level: 'error', kind: 'refusedDamage', fields } as const;
      this.#options.onEvent?.({ atMs: this.world.nowMs, nodeId, event });
    } else if (!isOfDisk) {
      this.#deferViolation(
        `node ${nodeId} stopped: ${error instanceof Error ? (error.cause instanceof Error ? (error.cause.stack ?? '') : (error.stack ?? '')) : messageOf(error)}`,
      );
      return;
    }
    this.world.crash(nodeId, 'processKill');
    this.crashed(nodeId);
    this.world.after(nextBetween(this.world.random, 300, 2000), () => {
      if (this.world.isDown(nodeId)) this.start(nodeId);
    });
  }

  #machine(life: Life, partitionId: PartitionId): StateMachine {
    const { applied } = this.#row(partitionId);
    const { host } = life;
    let newest = 0;
    // A violation thrown here would be taken for one of the machine's own mistakes, hence later.
    const onApplied: AppliedEntry = (index, { payloadCrc, timeMs, random, resultCrc }) => {
      if (index <= newest)
        this.#deferViolation(`node ${host.nodeId} applied entry ${index} after ${newest}`);
      newest = index;
      const entry = `${payloadCrc}/${timeMs}/${random}/${resultCrc}`;
      const known = applied.get(index);
      if (known === undefined) applied.set(index, entry);
      else if (known !== entry)
        this.#deferViolation(
          `node ${host.nodeId} applied another entry ${index} of ${partitionId} than others (state machine safety)`,
        );
    };
    const { createStateMachine } = this.#options;
    const machine =
      createStateMachine?.({ host, partitionId, onApplied }) ?? new RegisterMachine(onApplied);
    life.machines.set(partitionId, machine);
    return machine;
  }

  #checkState(nodeId: NodeId, life: Life, replica: Replica): void {
    const { state, partitionId, stepCount, tail, apply } = replica;
    const { appliedIndex } = apply;
    this.#options.tap?.replica(
      { nodeId, partitionId, state, appliedIndex, tail },
      this.world.nowMs,
    );
    const last = life.before.get(partitionId);
    // Most events step no core, or that of another partition.
    if (last?.replica === replica && last.stepCount === stepCount) return;
    const signature =
      state.term * 4096 +
      state.log.lastIndex * 64 +
      state.commitIndex * 17 +
      state.durableIndex * 5 +
      state.verifiedIndex * 3 +
      state.appliableIndex +
      state.appendSequence * 7 +
      state.durableTerm +
      state.role.length +
      state.configurations.length * 11 +
      state.log.baseIndex * 13 +
      (state.isQuarantined ? 1_048_576 : 0);
    // A new life in the same place has no past.
    const known = last?.state.selfIncarnation === state.selfIncarnation ? last : undefined;
    if (known?.signature === signature) {
      known.stepCount = stepCount;
      return;
    }
    try {
      checkRaftState(state);
      if (known !== undefined) checkRaftTransition(known.state, state);
    } catch (error) {
      this.#violated(`node ${nodeId}: ${messageOf(error)}`);
    }
    const committed = this.#row(partitionId);
    // Who was replaced is in doubt for good, and no configuration in force may count it.
    if (
      state.inDoubt &&
      this.#options.atlas?.isDamaged(nodeId, partitionId) !== true &&
      (state.hasLostEvidence || !this.#damaged.has(nodeId)) &&
      committed.active !== undefined &&
      isVoter(committed.active, selfLife(state))
    )
      this.#violated(`node ${nodeId} is in doubt without any damage`);
    for (const configuration of state.configurations)
      committed.configurations.set(`${configuration.term}/${configuration.index}`, configuration);
    const seen = cloneRaftState(state);
    // In quarantine a core may know a part of its log; it counts for nothing before it has all of it again.
    if (!state.isQuarantined)
      committed.logs.set(nodeId, {
        ...selfLife(state),
        nodeId,
        log: seen.log,
        durableIndex: seen.durableIndex,
        inDoubt: seen.inDoubt,
      });
    this.#checkCommitted(nodeId, partitionId, {
      state,
      commitIndexBefore: known?.state.commitIndex ?? state.commitIndex,
    });
    life.before.set(partitionId, { replica, state: seen, signature, stepCount });
  }

  #checkCommitted(
    nodeId: NodeId,
    partitionId: PartitionId,
    change: { readonly state: RaftState; readonly commitIndexBefore: LogIndex },
  ): void {
    const { state } = change;
    const committed = this.#row(partitionId);
    if (state.role === 'leader') {
      const leader = committed.leaders.get(state.term);
      if (leader === undefined) this.#newLeader(nodeId, { committed, state, partitionId });
      else if (leader !== nodeId)
        this.#violated(
          `nodes ${leader} and ${nodeId} both lead in term ${state.term} (election safety)`,
        );
    }
    for (let index = change.commitIndexBefore + 1; index <= state.commitIndex; index++) {
      const term = termAt(state.log, index as LogIndex);
      const known = committed.terms.get(index as LogIndex);
      if (term === undefined) continue;
      if (known === undefined) committed.terms.set(index as LogIndex, term);
      else if (known !== term)
        this.#violated(
          `node ${nodeId} committed entry ${index} with term ${term}, it was committed with term ${known} (log matching)`,
        );
    }
    if (state.commitIndex <= committed.highest) return;
    committed.highest = state.commitIndex;
    committed.highestIn = state.term;
    committed.active = activeConfiguration(state);
    this.#checkSafe(partitionId, committed);
    // What is committed is on the disks of a quorum at that moment (specification §1); looking there is dear, so now and then.
    if (committed.advances++ % commitSamples === 0)
      this.checkEvidence(partitionId, state.commitIndex);
  }

  /** What is committed stays, whoever is elected next. */
  #checkSafe(partitionId: PartitionId, committed: Committed): void {
    const stolen = unsafeEntry(committed);
    if (stolen !== undefined) this.#violated(`${partitionId}: ${stolen}`);
  }

  /** Leader completeness: whoever is elected has every entry that was committed before its term. */
  #newLeader(
    nodeId: NodeId,
    {
      committed,
      state,
      partitionId,
    }: {
      readonly committed: Committed;
      readonly state: RaftState;
      readonly partitionId: PartitionId;
    },
  ): void {
    this.leaderChanges++;
    committed.leaders.set(state.term, nodeId);
    const holder = olderLeaseHolder(this.#running(), { partitionId, term: state.term });
    if (holder !== undefined)
      this.#violated(
        `node ${holder.nodeId} holds a lease of term ${holder.term} while node ${nodeId} is elected in term ${state.term}`,
      );
    const term = committed.terms.get(committed.highest);
    // A leader of an older term, elected late, need not know what was committed after its term.
    if (term === undefined || committed.highestIn >= state.term) return;
    if (committed.highest > state.log.baseIndex && termAt(state.log, committed.highest) !== term) {
      this.#violated(
        `node ${nodeId} leads in term ${state.term} without committed entry ${committed.highest} of term ${term} (leader completeness)`,
      );
    }
  }

  #running(): readonly ClustorNode[] {
    return this.world.nodeIds.flatMap((nodeId) => this.node(nodeId) ?? []);
  }

  #row(partitionId: PartitionId): Committed {
    const row = this.#committed.get(partitionId);
    if (row === undefined)
      throw new SimViolation(`there is no partition ${partitionId}`, this.world.nowMs);
    return row;
  }

  #violated(message: string): never {
    throw new SimViolation(message, this.world.nowMs);
  }

  /** Throws out of the next event: a rejected promise would not end the run. */
  #deferViolation(message: string): void {
    this.world.after(0, () => {
      this.#violated(message);
    });
  }
}
