/**
 * One node: a data directory, its replicas, its links to other nodes and the sessions that others opened to it.
 *
 * One timer drives all replicas. Batches close at the end of a turn of the loop ({@link TurnScheduler}). A broken invariant
 * or a failed write stops the node as a whole (fail-stop): it closes, and `stopped` tells why.
 */
import { present } from '../base/assert.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import {
  incarnation,
  type ClusterId,
  type Incarnation,
  type LogIndex,
  type NodeId,
  type PartitionId,
} from '../base/ids.ts';
import { uuidFromBytes } from '../base/ids.ts';
import { ownHandshake, type Handshake } from '../codec/handshake.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileSystem } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import type { StateMachine } from '../ports/state-machine.ts';
import type { NodeAddress, Transport } from '../ports/transport.ts';
import {
  activeConfiguration,
  defaultRaftSettings,
  tickMs,
  type RaftSettings,
} from '../raft/index.ts';
import { LogStore } from '../storage/log-store.ts';
import type { LogStoreLimits } from '../storage/log-store-types.ts';
import { ClientRequests } from './client-requests.ts';
import { nodeLimits, type NodeLimits } from './limits.ts';
import { LocalAppender } from './local-append.ts';
import { LocalReader } from './local-read.ts';
import { Partition } from './partition.ts';
import { PeerLinks } from './peer-links.ts';
import { Replica } from './replica.ts';
import { NodeSessions } from './node-sessions.ts';
import { partitionStatus, type NodeStatus } from './status.ts';
import { TurnScheduler } from './turn.ts';

/** Everything a node is made of. @public */
export interface NodeParts {
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly fileSystem: FileSystem;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly observer: Observer;
  /** Makes the machine of a partition; called once per hosted partition. */
  readonly createStateMachine: (partitionId: PartitionId) => StateMachine;
  readonly limits?: Partial<NodeLimits>;
  readonly storage?: Partial<LogStoreLimits>;
  readonly raft?: Partial<RaftSettings>;
}

interface Hosted {
  readonly replica: Replica;
  readonly partition: Partition;
  readonly appender: LocalAppender;
  readonly reader: LocalReader;
}

/** A gap between two runs of the timer beyond which the process or machine stood still. */
const stallMs = 100;
/** The timer runs this often at least, for deadlines of local requests and to notice stalls. */
const timerMsMax = 50;
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
  readonly #turn: TurnScheduler;
  readonly #links: PeerLinks;
  readonly #sessions: NodeSessions;
  readonly #hosted = new Map<PartitionId, Hosted>();
  readonly #handshake: Handshake;
  readonly #startedMs: number;
  #store: LogStore | undefined;
  #address: NodeAddress = { host: '', port: 0 };
  #cancelTimer: (() => void) | undefined;
  /** What had arrived during a stall is being processed before time passes. */
  #isStalled = false;
  #lastTickMs: number;
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
    this.#startedMs = parts.clock.monotonicMs();
    this.#lastTickMs = this.#startedMs;
    this.stopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
    this.#turn = new TurnScheduler(parts.clock, (error) => {
      this.#fail(error);
    });
    this.#handshake = ownHandshake({
      clusterId: parts.clusterId,
      nodeId: parts.nodeId,
      bootId: this.bootId,
    });
    const { transport, clock, observer } = parts;
    const queueBytesMax = this.#limits.connectionQueueBytesMax;
    const fail = (error: unknown): void => {
      this.#fail(error);
    };
    this.#links = new PeerLinks({
      transport,
      clock,
      observer,
      turn: this.#turn,
      handshake: this.#handshake,
      queueBytesMax,
      listener: this.#linkListener(),
      fail,
    });
    const requests = new ClientRequests({
      turn: this.#turn,
      replicaOf: (partitionId) => this.#hosted.get(partitionId as PartitionId)?.replica,
      describe: (requestId) => this.#sessions.describe(requestId, this.#replicas()),
    });
    this.#sessions = new NodeSessions({
      observer,
      turn: this.#turn,
      handshake: this.#handshake,
      queueBytesMax,
      requests,
      replicaOf: (partitionId) => this.#hosted.get(partitionId)?.replica,
      peerIntroduced: (nodeId, bootId) => {
        this.#links.get(nodeId)?.peerIntroduced(bootId);
      },
      fail,
    });
  }

  /** Recovers the data directory, begins to listen and takes part. */
  static async open(parts: NodeParts): Promise<ClustorNode> {
    const node = new ClustorNode(parts);
    try {
      await node.#recover();
      node.#address = await parts.transport.listen((connection) =>
        node.#sessions.accept(connection),
      );
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
      journal: store.statistics(),
      partitions: [...this.#hosted.values()].map(({ replica, appender }) =>
        partitionStatus(replica, appender.pendingCount),
      ),
    };
  }

  /** Cores of the hosted replicas, for checkers. */
  replicas(): readonly Replica[] {
    return this.#replicas();
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
    const { directory, clusterId, nodeId, fileSystem, clock, entropy, observer } = this.#parts;
    this.#store = await LogStore.open({
      directory,
      clusterId,
      nodeId,
      fileSystem,
      clock,
      entropy,
      observer,
      ...(this.#parts.storage === undefined ? {} : { limits: this.#parts.storage }),
      listener: {
        hardStateDurable: (log, hardState) => {
          this.#guarded(() =>
            this.#hosted.get(log.partitionId)?.replica.hardStateDurable(hardState),
          );
        },
        appendDurable: (log, completion) => {
          // `flushEnded` follows, and ends the turn.
          this.#turn.begin();
          this.#guarded(() => this.#hosted.get(log.partitionId)?.replica.appendDurable(completion));
        },
        flushEnded: () => {
          this.#turn.completed();
        },
        failed: (error) => {
          this.#fail(error);
        },
      },
    });
    for (const recovered of this.#store.recovered) this.#host(recovered.partitionId);
    this.#turn.flushStorage = () => {
      this.#store?.flush();
    };
  }

  #host(partitionId: PartitionId): void {
    const store = present(this.#store, 'replicas are hosted after recovery');
    const recovered = present(
      store.recovered.find((row) => row.partitionId === partitionId),
      'a hosted partition was recovered',
    );
    const { clock, observer, entropy, raft } = this.#parts;
    const turn = this.#turn;
    const links = this.#links;
    const replica = new Replica({
      nodeId: this.nodeId,
      recovered,
      log: present(store.partition(partitionId), 'a recovered partition has a log'),
      machine: this.#parts.createStateMachine(partitionId),
      settings: { ...defaultRaftSettings, ...raft },
      limits: this.#limits,
      clock,
      observer,
      turn,
      links,
      seed: entropy.uint32(),
      nowTick: this.#nowTick(),
      ledgerSeq: store.statistics().ledgerSequence,
      listener: {
        roleChanged: (changed) => {
          this.#wake(changed.partitionId);
          this.#armTimer();
        },
      },
    });
    const appender = new LocalAppender({ replica, links, turn, clock });
    const reader = new LocalReader({ replica, links, turn, readsMax: this.#limits.readsMax });
    const feed = {
      source: {
        slice: (firstIndex: LogIndex, lastIndex: LogIndex) =>
          replica.tail.slice(firstIndex, lastIndex),
        read: (firstIndex: LogIndex, lastIndex: LogIndex) =>
          replica.log.read(firstIndex, lastIndex, this.#limits.batchBytesMax),
      },
      baseIndex: () => replica.state.log.baseIndex,
      appliedIndex: () => replica.apply.appliedIndex,
      whenApplied: replica.reads.whenApplied.bind(replica.reads),
    };
    const partition = new Partition({
      replica,
      appender,
      reader,
      clock,
      clientId: entropy.bytes(16),
      feed,
    });
    this.#hosted.set(partitionId, { replica, partition, appender, reader });
  }

  #begin(): void {
    for (const { replica } of this.#hosted.values()) {
      replica.begin();
      for (const member of activeConfiguration(replica.state).members)
        this.#links.ensure(member.nodeId, member.addresses.map(parseAddress));
    }
    this.#lastTickMs = this.#parts.clock.monotonicMs();
    this.#cancelTimer = () => undefined;
    this.#armTimer();
  }

  #armTimer(): void {
    if (this.#closing !== undefined || this.#cancelTimer === undefined || this.#isStalled) return;
    this.#cancelTimer();
    this.#cancelTimer = this.#parts.clock.setTimer(this.#untilDueMs(), () => {
      this.#onTimer();
    });
  }

  /** Time until a replica has something to do; an idle node is woken no more than it must be. */
  #untilDueMs(): number {
    let due = Number.POSITIVE_INFINITY;
    for (const { replica } of this.#hosted.values()) due = Math.min(due, replica.nextTickDue);
    const ms = (due - this.#nowTick()) * tickMs;
    return Math.min(Math.max(ms, tickMs), timerMsMax);
  }

  /**
   * Time passes. After a stall, what had arrived is processed first, once, then time passes (specification §2.2 stall guard):
   * a voter that merely slept does not campaign against a leader whose heartbeats wait in its sockets.
   */
  #onTimer(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const gapMs = nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    if (gapMs <= stallMs) {
      this.#tick(nowMs);
      this.#armTimer();
      return;
    }
    this.#parts.observer.emit({
      level: 'warn',
      kind: 'stalled',
      fields: { gapMs: Math.round(gapMs) },
    });
    this.#isStalled = true;
    this.#cancelTimer = this.#parts.clock.setTimer(1, () => {
      this.#isStalled = false;
      this.#guarded(() => {
        for (const { replica } of this.#hosted.values()) replica.input({ kind: 'stalled' });
      });
      this.#tick(this.#parts.clock.monotonicMs());
      this.#armTimer();
    });
  }

  #tick(nowMs: number): void {
    const nowTick = this.#nowTick();
    this.#guarded(() => {
      for (const { replica } of this.#hosted.values()) replica.tick(nowTick);
      if (nowMs - this.#lastSweepMs < deadlineSweepMs) return;
      this.#lastSweepMs = nowMs;
      for (const { appender, reader } of this.#hosted.values()) {
        appender.retry(nowMs);
        reader.retry(nowMs);
      }
    });
  }

  #nowTick(): number {
    return Math.floor((this.#parts.clock.monotonicMs() - this.#startedMs) / tickMs);
  }

  #wake(partitionId: PartitionId): void {
    const hosted = this.#hosted.get(partitionId);
    const nowMs = this.#parts.clock.monotonicMs();
    hosted?.appender.retry(nowMs);
    hosted?.reader.retry(nowMs);
  }

  #linkListener(): {
    linkUp: (nodeId: NodeId, newBoot: boolean) => void;
    linkDown: () => void;
    nodeUnreachable: (nodeId: NodeId) => void;
  } {
    return {
      linkUp: (nodeId, newBoot) => {
        this.#guarded(() => {
          for (const { replica } of this.#hosted.values()) {
            replica.input({ kind: 'peerConnected', nodeId, newBoot });
            if (replica.leaderNodeId === nodeId) this.#wake(replica.partitionId);
          }
        });
      },
      linkDown: () => undefined,
      nodeUnreachable: (nodeId) => {
        this.#guarded(() => {
          for (const { replica } of this.#hosted.values())
            replica.input({ kind: 'nodeUnreachable', nodeId });
        });
        this.#armTimer();
      },
    };
  }

  #replicas(): readonly Replica[] {
    return [...this.#hosted.values()].map(({ replica }) => replica);
  }

  #guarded(run: () => void): void {
    if (this.#failure !== undefined) return;
    try {
      run();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Stops the node because of an error: nothing is said any more. */
  #fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = isClustorError(error)
      ? error
      : new ClustorError('CLUSTOR_INTERNAL', messageOf(error), { cause: error });
    this.#parts.observer.emit({
      level: 'error',
      kind: 'nodeFailed',
      fields: {
        code: this.#failure.code,
        message: this.#failure.message,
        stack: error instanceof Error ? error.stack : undefined,
      },
    });
    void this.close();
  }

  async #close(): Promise<void> {
    this.#cancelTimer?.();
    for (const { replica, appender, reader } of this.#hosted.values()) {
      appender.close();
      reader.close();
      replica.close();
    }
    this.#turn.runNow();
    this.#turn.close();
    this.#links.close();
    this.#sessions.close();
    await this.#parts.transport.close();
    await this.#store?.close();
    this.#resolveStopped(this.#failure);
  }
}

/** `host:port` as an address. */
export function parseAddress(text: string): NodeAddress {
  const colon = text.lastIndexOf(':');
  const port = Number(text.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `an address looks like 127.0.0.1:7400, got "${text}"`,
    );
  }
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port };
}
