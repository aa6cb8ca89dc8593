/**
 * The own connections to the other nodes: one per node, dialed by this side, carrying everything this node says to it.
 * What the other node says comes over the connection that *it* dialed, so a one-way cut is just that.
 *
 * A link that closes is dialed again at once. If that is refused, the node's process is gone: replicas led from there are
 * told (the hint of specification §2.2). Further attempts back off to half a second.
 *
 * A connection whose other end vanished without a word (power, a cable) may look alive for minutes. So a link asks once a
 * second for an answer on the same connection; after four without one it is given up and dialed anew. The own hello is the first
 * question, so that a handshake that nobody answers does not last either. Seconds are counted by questions, not by the
 * clock: a process that stood still itself asks once more, and finds the answers waiting.
 */
import { ByteWriter } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, LogIndex, NodeId, PartitionId, ReplicaId, Term } from '../base/ids.ts';
import type { Member } from '../base/membership.ts';
import type { Handshake } from '../codec/handshake.ts';
import { writeConfiguration } from '../codec/system-entry.ts';
import type { Clock } from '../ports/clock.ts';
import type { Observer } from '../ports/observer.ts';
import type { Connection, ConnectionHandlers, NodeAddress, Transport } from '../ports/transport.ts';
import type { Heartbeat, HeartbeatEcho, Recipient } from '../raft/index.ts';
import { LinkQuality } from './link-quality.ts';
import type { TurnScheduler, TurnWork } from './turn.ts';
import { echoFlags, heartbeatFlags } from './wire-mapping.ts';
import {
  guardedHandlers,
  WireSession,
  type Message,
  type SessionEnd,
  type SessionOwner,
} from './wire-session.ts';

const redialDelayMsMin = 20;
const redialDelayMsMax = 500;
const pingIntervalMs = 1_000;
/** Addresses of one node that are tried in turn. */
const addressesMax = 16;
/** Questions without an answer after which a link is given up. */
const silentPingsMax = 4;

/** What links need from their node. */
export interface PeerLinkOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly turn: TurnScheduler;
  readonly handshake: Handshake;
  readonly queueBytesMax: number;
  /** Average round trip beyond which the way is long. */
  readonly highRttMs: number;
  /** What this node says of its disk with its echoes; 0 before it knows. */
  readonly deviceLatencyUs: () => number;
  readonly listener: PeerLinkListener;
  /** Takes what must not happen. */
  readonly fail: (error: unknown) => void;
}

/** What the node is told about links. */
export interface PeerLinkListener {
  linkUp(nodeId: NodeId, newBoot: boolean): void;
  linkDown(nodeId: NodeId): void;
  /** The link closed and the immediate redial was refused. */
  nodeUnreachable(nodeId: NodeId): void;
  /** The way to the node became long enough to matter for elections, or is so no more. */
  rttChanged(nodeId: NodeId, isHigh: boolean): void;
}

/** The own connection to one other node. */
export class PeerLink implements SessionOwner, TurnWork {
  readonly nodeId: NodeId;
  readonly quality: LinkQuality;
  readonly #options: PeerLinkOptions;
  #addresses: readonly NodeAddress[];
  #addressAt = 0;
  #session: WireSession | undefined;
  #heartbeats: Extract<Message, { readonly kind: 'heartbeatBatch' }>['elements'][number][] = [];
  #echoes: Extract<Message, { readonly kind: 'heartbeatBatchResponse' }>['elements'][number][] = [];
  #isMarked = false;
  #isClosed = false;
  #wasUp = false;
  #delayMs = redialDelayMsMin;
  #cancelRedial: (() => void) | undefined;
  #cancelPing: (() => void) | undefined;
  #silentPings = 0;
  #lastBootId: Incarnation | undefined;
  #extensions = 0;

  constructor(nodeId: NodeId, addresses: readonly NodeAddress[], options: PeerLinkOptions) {
    this.nodeId = nodeId;
    this.#addresses = addresses;
    this.#options = options;
    const { clock, highRttMs, listener } = options;
    this.quality = new LinkQuality({
      clock,
      highRttMs,
      rttChanged: (isHigh) => {
        listener.rttChanged(nodeId, isHigh);
      },
    });
  }

  /** Whether frames can be sent. */
  get isUp(): boolean {
    return this.#session?.isReady === true;
  }

  /** Whether bulk should be held back. */
  get isCongested(): boolean {
    return this.#session?.isCongested ?? true;
  }

  /** The session, while it is up. */
  get session(): WireSession | undefined {
    return this.#session?.isReady === true ? this.#session : undefined;
  }

  /** Whether the link is up and leads to this life of the node's process. */
  leadsTo(bootId: Incarnation | undefined): boolean {
    return this.isUp && this.#session?.remoteBootId === bootId;
  }

  /** Extensions that the node offered when it was last connected; none before that. */
  get extensions(): number {
    return this.#extensions;
  }

  /** Takes in where the node can be reached; the newest word is tried first. */
  learnAddresses(addresses: readonly NodeAddress[]): void {
    const isKnown = (address: NodeAddress): boolean =>
      this.#addresses.some((known) => known.host === address.host && known.port === address.port);
    const fresh = addresses.filter((address) => !isKnown(address));
    if (fresh.length === 0) return;
    this.#addresses = [...fresh, ...this.#addresses].slice(0, addressesMax);
    this.#addressAt = 0;
  }

  /**
   * Has the node create a replica; resolves when its files are durable. An answer behind the deadline is not heard: the node
   * may host the replica then, and nobody counts it.
   * @throws ClustorError `CLUSTOR_DEADLINE_EXCEEDED`, `CLUSTOR_NODE_UNREACHABLE`, or what the node says.
   */
  createReplica(
    replica: {
      readonly partitionId: PartitionId;
      readonly replicaId: ReplicaId;
      readonly incarnation: Incarnation;
      readonly members: readonly Member[];
      readonly asOfIndex: LogIndex;
      readonly term: Term;
    },
    deadlineMs: number,
  ): Promise<void> {
    const { partitionId, replicaId, incarnation, members, asOfIndex, term } = replica;
    const writer = new ByteWriter();
    writeConfiguration(writer, {
      term: 0 as Term,
      index: 0 as LogIndex,
      members,
      outgoingMembers: [],
    });
    const configuration = writer.take();
    return new Promise((resolve, reject) => {
      const session = this.session;
      if (session === undefined) {
        reject(
          new ClustorError('CLUSTOR_NODE_UNREACHABLE', `the link to node ${this.nodeId} is down`),
        );
        return;
      }
      const cancelDeadline = this.#options.clock.setTimer(Math.max(0, deadlineMs), () => {
        reject(
          new ClustorError(
            'CLUSTOR_DEADLINE_EXCEEDED',
            `node ${this.nodeId} did not say in time that the files of its replica are made; it may still make them, ask again`,
          ),
        );
      });
      session.request(
        (requestId) => ({
          kind: 'createReplicaRequest',
          requestId,
          deadlineMs: 0,
          routingEpoch: 1,
          partitionId,
          replicaId,
          incarnation,
          configuration,
          asOfIndex,
          term,
        }),
        (answer) => {
          cancelDeadline();
          if (answer instanceof ClustorError) reject(answer);
          else resolve();
          return false;
        },
      );
    });
  }

  /** Begins to dial. */
  open(): void {
    this.#dial();
  }

  /** Sends one message. Lost when the link is down, as any message may be. */
  send(message: Message, trailing?: readonly Uint8Array[]): void {
    this.#session?.send(message, trailing);
  }

  /** Puts a heartbeat into this turn's batch. */
  heartbeat(partitionId: PartitionId, to: Recipient, message: Heartbeat): void {
    if (!this.isUp) return;
    const { fromReplica, fromIncarnation, term, round, commit } = message;
    this.#heartbeats.push({
      partitionId,
      toIncarnation: to.incarnation,
      fromReplica,
      fromIncarnation,
      term,
      round,
      commit,
      flags: heartbeatFlags(message),
    });
    this.quality.heartbeatSent(partitionId, round);
    this.#mark();
  }

  /** Puts a heartbeat's echo into this turn's batch. */
  echo(partitionId: PartitionId, to: Recipient, message: HeartbeatEcho): void {
    if (!this.isUp) return;
    const { fromReplica, fromIncarnation, term, round, electionTimeoutMsMin } = message;
    this.#echoes.push({
      partitionId,
      toIncarnation: to.incarnation,
      fromReplica,
      fromIncarnation,
      term,
      round,
      flags: echoFlags(message),
      electionTimeoutMsMin,
    });
    this.#mark();
  }

  /** Sends the batches of this turn: one frame for all partitions of the pair. */
  endTurn(): void {
    this.#isMarked = false;
    for (let at = 0; at < this.#heartbeats.length; at += elementsMax) {
      this.send({ kind: 'heartbeatBatch', elements: this.#heartbeats.slice(at, at + elementsMax) });
    }
    for (let at = 0; at < this.#echoes.length; at += elementsMax) {
      this.send({
        kind: 'heartbeatBatchResponse',
        deviceLatencyUs: this.#options.deviceLatencyUs(),
        elements: this.#echoes.slice(at, at + elementsMax),
      });
    }
    this.#heartbeats = [];
    this.#echoes = [];
  }

  /**
   * The node has spoken from another life than the one that this link leads to: the link is dead, whether TCP has noticed or
   * not. After a power failure it may take minutes to.
   */
  peerIntroduced(bootId: Incarnation | undefined): void {
    if (this.isUp && !this.leadsTo(bootId)) this.#session?.destroy();
  }

  /** Closes for good. */
  close(): void {
    this.#isClosed = true;
    this.#cancelRedial?.();
    this.#cancelPing?.();
    this.#session?.destroy();
    this.#session = undefined;
  }

  ready(session: WireSession): void {
    const newBoot = session.remoteBootId !== this.#lastBootId;
    this.#lastBootId = session.remoteBootId;
    this.#extensions = session.remoteExtensions;
    this.#wasUp = true;
    this.#delayMs = redialDelayMsMin;
    this.#options.observer.emit({
      level: 'info',
      kind: 'linkUp',
      fields: { nodeId: this.nodeId, address: session.connection.remoteAddress },
    });
    this.quality.reset();
    this.#askAnew(session);
    this.#options.listener.linkUp(this.nodeId, newBoot);
  }

  message(session: WireSession, message: Message): void {
    session.goodbye(
      'CLUSTOR_WIRE_UNKNOWN_MESSAGE',
      `${message.kind} does not travel against the direction of dialing`,
    );
  }

  closed(session: WireSession, reason: SessionEnd): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#cancelPing?.();
    this.#heartbeats = [];
    this.#echoes = [];
    this.#options.observer.emit({
      level: 'info',
      kind: 'linkDown',
      fields: {
        nodeId: this.nodeId,
        reason: reason.kind,
        detail: 'detail' in reason ? reason.detail : undefined,
      },
    });
    if (this.#isClosed) return;
    if (this.#wasUp) this.#options.listener.linkDown(this.nodeId);
    if (this.#wasUp && reason.kind !== 'goodbye') this.#dial();
    else this.#redialLater();
  }

  #dial(): void {
    const address = this.#addresses[this.#addressAt % Math.max(1, this.#addresses.length)];
    if (address === undefined || this.#isClosed) return;
    const handlers = (connection: Connection): ConnectionHandlers => this.#adopt(connection);
    this.#options.transport.dial({ address, expected: this.nodeId, handlers }, (outcome) => {
      if (this.#isClosed || outcome.kind === 'connected') return;
      this.#addressAt++;
      if (outcome.reason.kind === 'refused' && this.#wasUp) {
        this.#wasUp = false;
        this.#options.listener.nodeUnreachable(this.nodeId);
      }
      this.#redialLater();
    });
  }

  #adopt(connection: Connection): ConnectionHandlers {
    const { handshake, turn, queueBytesMax, fail } = this.#options;
    const session = new WireSession(connection, {
      isDialer: true,
      handshake,
      turn,
      owner: this,
      queueBytesMax,
    });
    this.#session = session;
    if (this.#isClosed) session.destroy();
    else {
      session.begin(this.nodeId);
      this.#askAnew(session);
    }
    return guardedHandlers(session, fail);
  }

  #askAnew(session: WireSession): void {
    this.#cancelPing?.();
    this.#silentPings = 0;
    this.#pingLater(session);
  }

  #pingLater(session: WireSession): void {
    this.#cancelPing = this.#options.clock.setTimer(pingIntervalMs, () => {
      this.#ping(session);
    });
  }

  #ping(session: WireSession): void {
    if (this.#silentPings === silentPingsMax) {
      this.#options.observer.emit({
        level: 'warn',
        kind: 'linkSilent',
        fields: { nodeId: this.nodeId, silentMs: silentPingsMax * pingIntervalMs },
      });
      session.destroy();
      return;
    }
    this.#silentPings++;
    const sentMs = this.#options.clock.monotonicMs();
    session.request(
      (requestId) => ({ kind: 'pingRequest', requestId, deadlineMs: 0, routingEpoch: 1 }),
      (answer) => {
        if ('requestId' in answer) {
          this.#silentPings = 0;
          this.quality.answered(sentMs);
        }
        return false;
      },
    );
    this.#pingLater(session);
  }

  #redialLater(): void {
    if (this.#isClosed) return;
    const delayMs = this.#delayMs;
    this.#delayMs = Math.min(redialDelayMsMax, delayMs * 2);
    this.#cancelRedial = this.#options.clock.setTimer(delayMs, () => {
      this.#dial();
    });
  }

  #mark(): void {
    if (this.#isMarked) return;
    this.#isMarked = true;
    this.#options.turn.markLink(this);
  }
}

/** Elements of one batch frame; more go into a second frame. */
const elementsMax = 16_000;

/** All links of a node. */
export class PeerLinks {
  readonly #options: PeerLinkOptions;
  readonly #links = new Map<NodeId, PeerLink>();

  constructor(options: PeerLinkOptions) {
    this.#options = options;
  }

  /** The link to a node, opened if there is none; `undefined` for this node itself. */
  ensure(nodeId: NodeId, addresses: readonly NodeAddress[]): PeerLink | undefined {
    if (nodeId === this.#options.handshake.nodeId) return undefined;
    const known = this.#links.get(nodeId);
    known?.learnAddresses(addresses);
    if (known !== undefined) return known;
    const link = new PeerLink(nodeId, addresses, this.#options);
    this.#links.set(nodeId, link);
    link.open();
    return link;
  }

  /** Closes links to nodes with which nothing is shared any more. */
  closeOthers(needed: ReadonlySet<NodeId>): void {
    for (const [nodeId, link] of this.#links) {
      if (needed.has(nodeId)) continue;
      this.#links.delete(nodeId);
      link.close();
    }
  }

  /** The link to a node, if one was opened. */
  get(nodeId: NodeId): PeerLink | undefined {
    return this.#links.get(nodeId);
  }

  /** Every link, in order of opening. */
  all(): Iterable<PeerLink> {
    return this.#links.values();
  }

  /** Closes all. */
  close(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }
}
