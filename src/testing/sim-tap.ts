/**
 * What somebody who watches a simulated run is told: every stream and its bytes, lives, states of replicas, faults, operations.
 *
 * A tap only looks. It draws nothing, schedules nothing and changes nothing, and it is called where something happens anyway:
 * a run with a tap has the trace hash of the same run without one. Bytes that it is shown must not be changed or kept.
 *
 * Each direction of a connection is a stream with a number of its own; the other direction is that number with its lowest bit
 * flipped. A stream is told apart by counts of bytes: what was sent, and how far the other end got.
 */
import type { LogIndex, NodeId, PartitionId } from '../base/ids.ts';
import type { PeerIdentity } from '../ports/transport.ts';
import type { RaftState } from '../raft/index.ts';
import type { EntryTail } from '../runtime/entry-tail.ts';
import type { FaultAction } from './fault-plan.ts';
import type { HistoryEvent } from './history.ts';

/** One side of a connection. */
export interface TappedEnd {
  /** Number of the machine in links and traces. */
  readonly machine: number;
  readonly identity: PeerIdentity;
}

/** A connection that was made. */
export interface TappedConnection {
  /** The stream from the one who dialed; the way back is the next number. */
  readonly stream: number;
  readonly dialer: TappedEnd;
  readonly listener: TappedEnd;
}

/** Watches streams. Times are virtual milliseconds. */
export interface NetworkTap {
  connected(connection: TappedConnection, atMs: number): void;
  /** An end took bytes to send; they fly, or wait until the window has room. */
  sent(stream: number, bytes: Uint8Array, atMs: number): void;
  /** The next so many bytes were handed to the other end. */
  delivered(stream: number, byteCount: number, atMs: number): void;
  /** The next so many bytes arrived where nobody wants them any more. */
  dropped(stream: number, byteCount: number, atMs: number): void;
  /** All but the next so many bytes are lost on the way. */
  truncated(stream: number, keptByteCount: number, atMs: number): void;
  /** The end that sends on this stream is closed: it sends nothing more on it, and takes nothing from the other one. */
  closed(stream: number, atMs: number): void;
}

/** What happened to the life of a machine; the names of crashes are those of `CrashKind`. */
export type LifeChange = 'started' | 'powerLoss' | 'processKill' | 'paused' | 'resumed';

/** Watches a world. */
export interface WorldTap extends NetworkTap {
  lifeChanged(machine: number, change: LifeChange, atMs: number): void;
}

/** The state of a replica as it is now; it changes afterwards. */
export interface TappedReplica {
  readonly nodeId: NodeId;
  readonly partitionId: PartitionId;
  readonly state: RaftState;
  /** Newest index that has been dealt with, by the machine or without it. */
  readonly appliedIndex: LogIndex;
  /** Newest entries, as frames. */
  readonly tail: Pick<EntryTail, 'slice'>;
}

/** Watches a whole run. */
export interface SimTap extends WorldTap {
  /** Called after every event of a node, whether its state changed or not. */
  replica(replica: TappedReplica, atMs: number): void;
  /** A fault happened; one meant for leaders names the node that it met. */
  fault(action: FaultAction, atMs: number): void;
  /** Every fault that lasts ended. */
  healed(atMs: number): void;
  /** A client began an operation, or one ended. */
  operation(event: HistoryEvent): void;
  /** The run is over. */
  ended(atMs: number): void;
}
