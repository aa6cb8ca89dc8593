/**
 * Sessions that others opened to this node: other nodes that speak to its replicas, and clients.
 *
 * Of each node only the newest session is live: when a node dials anew, its older session is destroyed first, so that words
 * of one peer reach its replicas in the order they were said (what was in flight is lost, never late).
 */
import { ByteReader } from '../base/bytes.ts';
import { ClustorError, isClustorError, messageOf } from '../base/errors.ts';
import type { Incarnation, NodeId, PartitionId } from '../base/ids.ts';
import type { Handshake } from '../codec/handshake.ts';
import { readConfiguration } from '../codec/system-entry.ts';
import { hasFlag } from '../codec/wire-flags.ts';
import type { IoWriterMode } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import type { Connection, ConnectionHandlers } from '../ports/transport.ts';
import { activeConfiguration } from '../raft/index.ts';
import { answerError, type ClientRequests } from './client-requests.ts';
import type { HostedPartition } from './hosted-partition.ts';
import type { WantedReplica } from './replica-creator.ts';
import { ReceivedFrames } from './received-frames.ts';
import type { Replica } from './replica.ts';
import type { TurnScheduler } from './turn.ts';
import { heartbeatEchoOf, heartbeatOf, peerMessageOf } from './wire-mapping.ts';
import {
  guardedHandlers,
  WireSession,
  type Message,
  type SessionEnd,
  type SessionOwner,
} from './wire-session.ts';

/** What sessions need from their node. */
export interface NodeSessionsOptions {
  readonly observer: Observer;
  readonly turn: TurnScheduler;
  readonly handshake: Handshake;
  readonly queueBytesMax: number;
  readonly requests: ClientRequests;
  readonly hostedOf: (partitionId: PartitionId) => HostedPartition | undefined;
  /** Another node has introduced itself, from this life of its process. */
  readonly peerIntroduced: (
    nodeId: NodeId,
    bootId: Incarnation | undefined,
    address: string,
  ) => void;
  /** Whether the own link to the node is up and leads to this life of its process: only then may timers rest (specification §2.5). */
  readonly isWatched: (nodeId: NodeId, bootId: Incarnation | undefined) => boolean;
  /** A node answered heartbeats. */
  readonly echoed: (
    nodeId: NodeId,
    echoes: Extract<Message, { readonly kind: 'heartbeatBatchResponse' }>,
  ) => void;
  /** Creates a replica because a leader wants it as a member. */
  readonly createReplica: (wanted: WantedReplica) => Promise<void>;
  readonly fail: (error: unknown) => void;
}

/** See the file comment. */
export class NodeSessions implements SessionOwner {
  readonly #options: NodeSessionsOptions;
  readonly #sessions = new Set<WireSession>();
  readonly #peers = new Map<NodeId, WireSession>();
  /** How the nodes that acknowledge to this one reach their disks, by their newest word. */
  readonly ioWriterModes: Map<NodeId, IoWriterMode> = new Map<NodeId, IoWriterMode>();

  constructor(options: NodeSessionsOptions) {
    this.#options = options;
  }

  /** Open sessions. */
  get count(): number {
    return this.#sessions.size;
  }

  /** Takes an accepted connection in. */
  accept(connection: Connection): ConnectionHandlers {
    const { handshake, turn, queueBytesMax } = this.#options;
    const session = new WireSession(connection, {
      isDialer: false,
      handshake,
      turn,
      owner: this,
      queueBytesMax,
    });
    this.#sessions.add(session);
    return guardedHandlers(session, this.#options.fail);
  }

  ready(session: WireSession): void {
    if (session.peer.kind !== 'node') return;
    const older = this.#peers.get(session.peer.nodeId);
    this.#peers.set(session.peer.nodeId, session);
    older?.destroy();
    this.#options.peerIntroduced(
      session.peer.nodeId,
      session.remoteBootId,
      session.remoteListensAt,
    );
  }

  message(session: WireSession, message: Message): void {
    switch (message.kind) {
      case 'appendRequest':
      case 'readIndexRequest':
      case 'readRequest':
      case 'describeRequest':
        this.#options.requests.handle(session, message);
        return;
      case 'pingRequest': {
        const { requestId, routingEpoch } = message;
        session.send({ kind: 'pingResponse', requestId, deadlineMs: 0, routingEpoch });
        return;
      }
      case 'createReplicaRequest':
        this.#createReplica(session, message);
        return;
      default:
        this.#peerMessage(session, message);
    }
  }

  closed(session: WireSession, reason: SessionEnd): void {
    this.#sessions.delete(session);
    if (session.peer.kind === 'node' && this.#peers.get(session.peer.nodeId) === session)
      this.#peers.delete(session.peer.nodeId);
    if (reason.kind !== 'goodbye') return;
    const { spiffeId } = session.peer;
    this.#options.observer.emit({
      level: 'warn',
      kind: 'sessionRefused',
      fields: {
        code: reason.code,
        detail: reason.detail,
        spiffeId,
        remoteAddress: session.connection.remoteAddress,
      },
    });
  }

  /** Destroys all. */
  close(): void {
    for (const session of this.#sessions) session.destroy();
  }

  /** Who leads what, for clients that look for a leader. */
  describe(requestId: number, replicas: readonly Replica[]): Message {
    const { handshake } = this.#options;
    return {
      kind: 'describeResponse',
      requestId,
      deadlineMs: 0,
      routingEpoch: 1,
      nodeId: handshake.nodeId,
      bootId: handshake.bootId,
      partitions: replicas.map((replica) => {
        const { members } = activeConfiguration(replica.state);
        // A term that is not on this disk yet may be forgotten: nobody outside hears of it (KER-2).
        const isDurable = replica.state.durableTerm === replica.state.term;
        const leaderNodeId = isDurable ? replica.leaderNodeId : undefined;
        const leader = members.find((member) => member.nodeId === leaderNodeId);
        return {
          partitionId: replica.partitionId,
          leaderNodeId: leaderNodeId ?? (0 as NodeId),
          leaderAddress: leader?.addresses[0] ?? '',
          term: replica.state.durableTerm,
          commit: replica.state.commitIndex,
          isLeader: replica.isLeader,
          members: members.map((member) => ({
            nodeId: member.nodeId,
            address: member.addresses[0] ?? '',
          })),
        };
      }),
    };
  }

  #createReplica(
    session: WireSession,
    message: Extract<Message, { readonly kind: 'createReplicaRequest' }>,
  ): void {
    const { requestId, routingEpoch, partitionId, replicaId, incarnation, asOfIndex, term } =
      message;
    const configuration = readConfiguration(new ByteReader(message.configuration));
    const wanted = { partitionId, replicaId, incarnation, configuration, asOfIndex, term };
    this.#options.createReplica(wanted).then(
      () => {
        session.send({ kind: 'createReplicaResponse', requestId, deadlineMs: 0, routingEpoch });
      },
      (error: unknown) => {
        answerError(
          session,
          requestId,
          isClustorError(error)
            ? error
            : new ClustorError('CLUSTOR_INTERNAL', messageOf(error), { cause: error }),
        );
      },
    );
  }

  #peerMessage(session: WireSession, message: Message): void {
    const { peer } = session;
    if (peer.kind !== 'node' || this.#peers.get(peer.nodeId) !== session) return;
    switch (message.kind) {
      case 'heartbeatBatch': {
        const isWatched = this.#options.isWatched(peer.nodeId, session.remoteBootId);
        for (const element of message.elements) {
          const heartbeat = heartbeatOf(element, peer.nodeId);
          this.#replica(element.partitionId, element.toIncarnation)?.receive(
            isWatched ? heartbeat : { ...heartbeat, mayHibernate: false },
          );
        }
        return;
      }
      case 'heartbeatBatchResponse':
        this.#options.echoed(peer.nodeId, message);
        for (const element of message.elements)
          this.#replica(element.partitionId, element.toIncarnation)?.receive(
            heartbeatEchoOf(element, peer.nodeId),
          );
        return;
      case 'appendEntries':
        this.#append(peer.nodeId, message);
        return;
      case 'durabilityAck':
        this.ioWriterModes.set(peer.nodeId, message.ioWriterMode);
        this.#coreMessage(peer.nodeId, message);
        return;
      case 'repairRequest':
        this.#life(message.partitionId, message.toIncarnation)?.quarantine.serve(
          peer.nodeId,
          message,
        );
        return;
      case 'repairResponse':
        this.#life(message.partitionId, message.toIncarnation)?.quarantine.answered(message);
        return;
      case 'snapshotRequest':
        this.#life(message.partitionId, message.toIncarnation)?.snapshots?.serve(
          peer.nodeId,
          message,
        );
        return;
      case 'snapshotResponse':
        this.#life(message.partitionId, message.toIncarnation)?.snapshots?.answered(message);
        return;
      default:
        this.#coreMessage(peer.nodeId, message);
    }
  }

  #append(fromNode: NodeId, message: Extract<Message, { readonly kind: 'appendEntries' }>): void {
    const replica = this.#replica(message.partitionId, message.toIncarnation);
    if (replica === undefined) return;
    if (message.entries.length > 0 && !replica.log.takes(message.entries)) return;
    const received = ReceivedFrames.verify(message);
    const { fromReplica, fromIncarnation, term, prevIndex, prevTerm, commit } = message;
    const receiverInDoubt = hasFlag('appendEntries', message.flags, 'receiverInDoubt');
    const needsSnapshot = hasFlag('appendEntries', message.flags, 'needsSnapshot');
    replica.receive(
      {
        kind: 'appendEntries',
        fromNode,
        fromReplica,
        fromIncarnation,
        term,
        prevIndex,
        prevTerm,
        commit,
        receiverInDoubt,
        needsSnapshot,
        entries: received.entries,
      },
      received,
    );
  }

  #coreMessage(fromNode: NodeId, message: Message): void {
    const core = peerMessageOf(message, fromNode);
    if (core === undefined || !('toIncarnation' in message))
      throw new ClustorError(
        'CLUSTOR_WIRE_UNKNOWN_MESSAGE',
        `${message.kind} is not expected here`,
      );
    this.#replica(message.partitionId, message.toIncarnation)?.receive(core);
  }

  /** Only the named life of a replica hears a message (specification §1 Identity). */
  #replica(partitionId: PartitionId, toIncarnation: string): Replica | undefined {
    return this.#life(partitionId, toIncarnation)?.replica;
  }

  #life(partitionId: PartitionId, toIncarnation: string): HostedPartition | undefined {
    const hosted = this.#options.hostedOf(partitionId);
    return hosted?.replica.incarnation === toIncarnation ? hosted : undefined;
  }
}
