/**
 * One node: a data directory, its replicas, its links to other nodes and the sessions that others opened to it.
 *
 * One timer drives all replicas. Batches close at the end of a turn of the loop ({@link TurnScheduler}). A broken invariant
 * or a failed write stops the node as a whole (fail-stop): it closes, and `stopped` tells why.
 */
import { present } from '../base/assert.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import { incarnation, uuidFromBytes } from '../base/ids.ts';
import type { ClusterId, Incarnation, NodeId, PartitionId } from '../base/ids.ts';
import type { Handshake } from '../codec/handshake.ts';
import type { NodeAddress } from '../ports/transport.ts';
import {
  activeConfiguration,
  allMembers,
  checkRaftSettings,
  defaultRaftSettings,
  tickMs,
  type RaftSettings,
} from '../raft/index.ts';
import type { JournalKeys } from '../storage/journal-keys.ts';
import type { NodeKeys } from '../storage/key-desk.ts';
import type { NodeScrub } from '../storage/scrubber.ts';
import { LogStore } from '../storage/log-store.ts';
import type { RecoveredPartition } from '../storage/log-store-types.ts';
import { ClientRequests } from './client-requests.ts';
import { ClockWatch } from './clock-watch.ts';
import { LeadershipWatch } from './leadership-watch.ts';
import { nodeLimits, type NodeLimits } from './limits.ts';
import { electionsPerTick, linkEvents } from './link-events.ts';
import {
  closeHosted,
  hostPartition,
  neededNodes,
  rewrapSnapshots,
  snapshotsClosed,
  sweepHosted,
  wakeHosted,
  type HostedPartition,
} from './hosted-partition.ts';
import { parseAddress } from './node-address.ts';
import { nodeFailedEvent } from './node-events.ts';
import { handshakeOf, leavesOf, type NodeParts } from './node-parts.ts';
import type { Partition } from './partition.ts';
import { PeerLinks, type PeerLinkListener } from './peer-links.ts';
import { ReplicaCreator } from './replica-creator.ts';
import type { Replica } from './replica.ts';
import { NodeSessions } from './node-sessions.ts';
import { openSnapshotFolders, type RecoveredReplica } from './node-snapshots.ts';
import { NodeTimer } from './node-timer.ts';
import type { NodeStatus } from './status.ts';
import { storeEvents } from './store-events.ts';
import { storeParts } from './store-parts.ts';
import { TurnScheduler } from './turn.ts';

/** Links to nodes that left every configuration are closed this much later. */
const linkReviewMs = 5_000;
/** How often waiting local requests look at their deadlines. */
const deadlineSweepMs = 50;

/** See the file comment. @public */
export class ClustorNode {
  readonly nodeId: NodeId;
  readonly clusterId: ClusterId;
  readonly bootId: Incarnation;
  /** Resolves when the node has stopped: with nothing after `close()`, with the error that stopped it otherwise. */
  readonly stopped: Promise<ClustorError | undefined>;
  readonly #parts: NodeParts;
  readonly #limits: NodeLimits;
  readonly #settings: RaftSettings;
  readonly #clockWatch: ClockWatch;
  readonly #turn: TurnScheduler;
  readonly #timer: NodeTimer;
  readonly #links: PeerLinks;
  readonly #sessions: NodeSessions;
  readonly #watch: LeadershipWatch;
  readonly #hosted = new Map<PartitionId, HostedPartition>();
  /** Replicas for which time passes. */
  readonly #awake = new Set<Replica>();
  readonly #partitionListeners = new Set<(partition: Partition) => void>();
  readonly #creator: ReplicaCreator;
  readonly #handshake: Handshake;
  readonly #startedMs: number;
  /** Time as replicas see it: it passes between turns, never within one. */
  readonly #ticks = { now: 0, clockMs: (): number => this.#clockMs() };
  #store: LogStore | undefined;
  #address: NodeAddress = { host: '', port: 0 };
  #cancelLinkReview: (() => void) | undefined;
  #lastSweepMs = 0;
  #closing: Promise<void> | undefined;
  #failure: ClustorError | undefined;
  #resolveStopped: (error: ClustorError | undefined) => void = () => undefined;

  private constructor(parts: NodeParts) {
    this.#parts = parts;
    this.nodeId = parts.nodeId;
    this.clusterId = parts.clusterId;
    this.bootId = incarnation(uuidFromBytes(parts.entropy.bytes(16), 0));
    this.#limits = nodeLimits(parts.limits);
    this.#settings = { ...defaultRaftSettings, ...parts.raft };
    checkRaftSettings(this.#settings);
    this.#startedMs = parts.clock.monotonicMs();
    this.stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
    this.#turn = new TurnScheduler(parts.clock, (error) => {
      this.#fail(error);
    });
    this.#handshake = handshakeOf(parts, this.bootId);
    const { transport, clock, observer } = parts;
    this.#clockWatch = this.#watchClocks();
    this.#creator = this.#replicaCreator();
    this.#timer = new NodeTimer({
      clock,
      observer,
      untilDueMs: () => this.#untilDueMs(),
      tick: (nowMs) => {
        this.#tick(nowMs);
      },
      stalled: () => {
        this.#guarded(() => {
          for (const replica of this.replicas()) replica.input({ kind: 'stalled' });
        });
      },
    });
    const { connectionQueueBytesMax: queueBytesMax, highRttMs } = this.#limits;
    this.#links = new PeerLinks({
      transport,
      clock,
      observer,
      turn: this.#turn,
      handshake: this.#handshake,
      queueBytesMax,
      highRttMs,
      deviceLatencyUs: () => this.#watch.deviceLatencyUs,
      listener: this.#linkEvents(),
      fail: this.#fail,
    });
    this.#watch = this.#leadershipWatch();
    this.#sessions = this.#nodeSessions(queueBytesMax);
  }

  /** Recovers the data directory, begins to listen and takes part. */
  static async open(parts: NodeParts): Promise<ClustorNode> {
    const node = new ClustorNode(parts);
    try {
      await node.#recover();
      node.#address = await parts.transport.listen((peer) => node.#sessions.accept(peer));
      node.#begin();
    } catch (error) {
      await node.close();
      throw error;
    }
    return node;
  }

  /** Where this node listens. */
  get address(): NodeAddress {
    return this.#address;
  }

  /** The hosted partitions, by id. */
  get partitions(): readonly Partition[] {
    return [...this.#hosted.values()].map(({ partition }) => partition);
  }

  /** Whether nobody uses any of its partitions: all hibernate (specification §2.5). */
  get isHibernating(): boolean {
    return this.#hosted.size > 0 && this.#awake.size === 0;
  }

  /** One hosted partition. @throws ClustorError `CLUSTOR_UNKNOWN_PARTITION`. */
  partition(partitionId: PartitionId): Partition {
    const hosted = this.#hosted.get(partitionId);
    if (hosted === undefined)
      throw new ClustorError(
        'CLUSTOR_UNKNOWN_PARTITION',
        `node ${this.nodeId} hosts no replica of partition ${partitionId}`,
      );
    return hosted.partition;
  }

  /** Calls `listener` for each replica that this node is given from now on; returns how to stop. */
  onPartition(listener: (partition: Partition) => void): () => void {
    this.#partitionListeners.add(listener);
    return () => {
      this.#partitionListeners.delete(listener);
    };
  }

  /** Everything this node knows of itself. */
  status(): NodeStatus {
    const store = present(this.#store, 'an open node has its store');
    return {
      clusterId: this.clusterId,
      nodeId: this.nodeId,
      bootId: this.bootId,
      address: `${this.#address.host}:${this.#address.port}`,
      uptimeMs: Math.round(this.#parts.clock.monotonicMs() - this.#startedMs),
      linksUp: [...this.#links.all()].filter((link) => link.isUp).map((link) => link.nodeId),
      sessions: this.#sessions.count,
      clockAlarm: this.#clockWatch.isAlarmed,
      journal: store.statistics(),
      disk: store.diskStatus(),
      partitions: this.partitions.map((partition) => partition.status()),
    };
  }

  /** Keys of the data directory. */
  get keys(): NodeKeys {
    return present(this.#store, 'an open node has its store').keyDesk;
  }

  /** The background scrub of the data directory. */
  get scrub(): NodeScrub {
    return present(this.#store, 'an open node has its store').scrub;
  }

  /** What signs and opens the journal, for checkers. */
  get journalKeys(): JournalKeys {
    return present(this.#store, 'an open node has its store').keyDesk.keys;
  }

  /** Cores of the hosted replicas, for checkers. */
  replicas(): readonly Replica[] {
    return [...this.#hosted.values()].map(({ replica }) => replica);
  }

  /** Stops cleanly: answers what waits, flushes storage, closes sockets. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #recover(): Promise<void> {
    this.#store = await LogStore.open({
      ...storeParts(this.#parts),
      listener: storeEvents({
        observer: this.#parts.observer,
        turn: this.#turn,
        watch: this.#watch,
        hostedOf: (log) => {
          // None where another life has taken the place of the log's replica.
          const hosted = this.#hosted.get(log.partitionId);
          return hosted?.replica.log === log ? hosted : undefined;
        },
        guarded: this.#guarded,
        fail: this.#fail,
      }),
    });
    for (const found of await openSnapshotFolders(this.#parts, this.#store)) this.#host(found);
    this.#store.keyDesk.rewrapSnapshots = () => rewrapSnapshots(this.#hosted.values());
    this.#turn.flushStorage = () => {
      this.#store?.flush();
    };
  }

  /** Makes a replica and what serves it. */
  #host({ recovered, snapshots }: RecoveredReplica): HostedPartition {
    const store = present(this.#store, 'replicas are hosted after recovery');
    const { partitionId } = recovered;
    const { clock, observer, entropy } = this.#parts;
    const hosted = hostPartition({
      nodeId: this.nodeId,
      recovered,
      snapshots,
      fail: this.#fail,
      log: present(store.partition(partitionId), 'a recovered partition has a log'),
      machine: this.#parts.createStateMachine(partitionId),
      settings: this.#settings,
      limits: this.#limits,
      clock,
      entropy,
      observer,
      turn: this.#turn,
      links: this.#links,
      seed: entropy.uint32(),
      ticks: this.#ticks,
      ledgerSeq: store.ledgerSequence,
      ...leavesOf(this.#parts),
      listener: {
        roleChanged: (changed) => {
          this.#wake(changed.partitionId);
        },
        hibernationChanged: (changed) => {
          if (changed.isHibernating) this.#awake.delete(changed);
          else this.#awake.add(changed);
        },
        configurationChanged: (changed) => {
          this.#configurationChanged(changed.partitionId);
        },
        durabilityChanged: (changed, transition, place) => {
          this.#hosted.get(changed.partitionId)?.durability.applied(transition, place);
        },
      },
      device: {
        deviceViolations: () => store.deviceViolations,
        ioWriterModeOf: (nodeId) =>
          nodeId === this.nodeId
            ? this.#parts.fileSystem.ioWriterMode
            : this.#sessions.ioWriterModes.get(nodeId),
      },
    });
    this.#hosted.set(partitionId, hosted);
    this.#awake.add(hosted.replica);
    return hosted;
  }

  #begin(): void {
    let begun = 0;
    this.#ticks.now = this.#nowTick();
    for (const hosted of this.#hosted.values())
      this.#beginHosted(hosted, Math.floor(begun++ / electionsPerTick));
    this.#timer.start();
  }

  #beginHosted({ replica, quarantine, snapshots }: HostedPartition, delayTicks = 0): void {
    replica.begin(delayTicks);
    if (this.#clockWatch.isAlarmed) replica.input({ kind: 'clockAlarm', isRaised: true });
    this.#linkMembers(replica);
    for (const { nodeId, quality } of this.#links.all())
      if (quality.isHigh) replica.input({ kind: 'linkRtt', nodeId, isHigh: true });
    quarantine.begin();
    snapshots?.begin();
  }

  #linkMembers(replica: Replica): void {
    for (const member of allMembers(activeConfiguration(replica.state)))
      this.#links.ensure(member.nodeId, member.addresses.map(parseAddress));
  }

  #leadershipWatch(): LeadershipWatch {
    return new LeadershipWatch({
      clock: this.#parts.clock,
      observer: this.#parts.observer,
      deviceLatencyMsMax: this.#limits.deviceLatencyMsMax,
      links: this.#links,
      unfinishedMs: () => this.#store?.unfinishedMs ?? 0,
      awake: this.#awake,
    });
  }

  #nodeSessions(queueBytesMax: number): NodeSessions {
    const requests = new ClientRequests({
      turn: this.#turn,
      replicaOf: (partitionId) => this.#hosted.get(partitionId as PartitionId)?.replica,
      describe: (requestId) => this.#sessions.describe(requestId, this.replicas()),
    });
    return new NodeSessions({
      observer: this.#parts.observer,
      turn: this.#turn,
      handshake: this.#handshake,
      queueBytesMax,
      requests,
      hostedOf: (partitionId) => this.#hosted.get(partitionId),
      peerIntroduced: (nodeId, bootId, address) => {
        this.#peerIntroduced(nodeId, bootId, address);
      },
      isWatched: (nodeId, bootId) => this.#links.get(nodeId)?.leadsTo(bootId) === true,
      echoed: (nodeId, echoes) => this.#links.get(nodeId)?.quality.echoed(echoes),
      createReplica: (wanted) => this.#creator.create(wanted),
      fail: this.#fail,
    });
  }

  #replicaCreator(): ReplicaCreator {
    return new ReplicaCreator({
      nodeId: this.nodeId,
      observer: this.#parts.observer,
      hosted: this.#hosted,
      awake: this.#awake,
      store: () => present(this.#store, 'replicas are created after recovery'),
      adopt: this.#adopt.bind(this),
    });
  }

  /** A replica was created here, in the place of an earlier life perhaps. */
  async #adopt(created: RecoveredPartition): Promise<void> {
    const store = present(this.#store, 'replicas are created after recovery');
    const [found] = await openSnapshotFolders(this.#parts, store, [created]);
    if (found === undefined || this.#closing !== undefined) return;
    const hosted = this.#host(found);
    this.#beginHosted(hosted);
    this.#timer.arm();
    for (const listener of this.#partitionListeners) listener(hosted.partition);
  }

  /** Links follow the configurations, those to former members a little later: they are still told that they were removed. */
  #configurationChanged(partitionId: PartitionId): void {
    const hosted = this.#hosted.get(partitionId);
    if (hosted === undefined) return;
    this.#linkMembers(hosted.replica);
    hosted.membership.review();
    this.#cancelLinkReview ??= this.#parts.clock.setTimer(linkReviewMs, () => {
      this.#cancelLinkReview = undefined;
      if (this.#closing === undefined) this.#links.closeOthers(neededNodes(this.#hosted.values()));
    });
  }

  #watchClocks(): ClockWatch {
    const { clock, observer } = this.#parts;
    return new ClockWatch({
      clock,
      observer,
      boundMs: this.#settings.leaseClockSkewMs,
      changed: (isRaised) => {
        for (const replica of this.replicas()) replica.input({ kind: 'clockAlarm', isRaised });
      },
    });
  }

  #tick(nowMs: number): void {
    this.#ticks.now = this.#nowTick();
    this.#guarded(() => {
      this.#clockWatch.look();
      for (const replica of this.#awake) replica.tick();
      this.#watch.tick(nowMs);
      if (nowMs - this.#lastSweepMs < deadlineSweepMs) return;
      this.#lastSweepMs = nowMs;
      for (const hosted of this.#hosted.values()) sweepHosted(hosted, nowMs);
    });
  }

  #nowTick(): number {
    return Math.floor(this.#clockMs() / tickMs);
  }

  #clockMs(): number {
    return this.#parts.clock.monotonicMs() - this.#startedMs;
  }

  /** Time until a replica has something to do; an idle node is woken no more than it must be. */
  #untilDueMs(): number {
    let due = Number.POSITIVE_INFINITY;
    for (const replica of this.#awake) due = Math.min(due, replica.nextTickDue);
    return (due - this.#nowTick()) * tickMs;
  }

  #wake(partitionId: PartitionId): void {
    const hosted = this.#hosted.get(partitionId);
    if (hosted !== undefined) wakeHosted(hosted, this.#parts.clock.monotonicMs());
  }

  #linkEvents(): PeerLinkListener {
    return linkEvents({
      hosted: () => this.#hosted.values(),
      guarded: this.#guarded,
      wake: (partitionId) => {
        this.#wake(partitionId);
      },
      armTimer: () => {
        this.#timer.arm();
      },
    });
  }

  /** A node that speaks to this one and is not known yet must be answered: its own word says where. */
  #peerIntroduced(nodeId: NodeId, bootId: Incarnation | undefined, address: string): void {
    const link = this.#links.get(nodeId);
    if (link !== undefined) link.peerIntroduced(bootId);
    else if (address !== '') this.#links.ensure(nodeId, [parseAddress(address)]);
  }

  readonly #guarded = (run: () => void): void => {
    if (this.#failure !== undefined) return;
    try {
      run();
    } catch (error) {
      this.#fail(error);
    }
  };

  /** Stops the node because of an error: nothing is said any more. */
  readonly #fail = (error: unknown): void => {
    if (this.#failure !== undefined) return;
    this.#failure = isClustorError(error)
      ? error
      : new ClustorError('CLUSTOR_INTERNAL', messageOf(error), { cause: error });
    this.#parts.observer.emit(nodeFailedEvent(this.#failure, error));
    void this.close();
  };

  async #close(): Promise<void> {
    this.#timer.close();
    this.#cancelLinkReview?.();
    for (const hosted of this.#hosted.values()) closeHosted(hosted);
    this.#turn.runNow();
    this.#turn.close();
    this.#links.close();
    this.#sessions.close();
    await this.#parts.transport.close();
    await snapshotsClosed(this.#hosted.values());
    await this.#store?.close().catch(this.#fail);
    this.#resolveStopped(this.#failure);
  }
}
