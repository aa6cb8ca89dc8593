/** The core's messages as wire messages and back. Field names are equal; this is where the envelope is put on and off. */
import { unreachable } from '../base/assert.ts';
import type { NodeId, PartitionId } from '../base/ids.ts';
import { hasFlag, packFlags } from '../codec/wire-flags.ts';
import type {
  Heartbeat,
  HeartbeatEcho,
  OutgoingMessage,
  PeerMessage,
  Recipient,
} from '../raft/index.ts';
import type { Message } from './wire-session.ts';

/** What storage adds to an acknowledgement. */
export interface AckFields {
  readonly segmentSeq: number;
  readonly ioWriterMode: 'Direct' | 'Pooled' | 'Blocking';
}

/** Envelope of an outgoing message. */
export interface Envelope {
  readonly partitionId: PartitionId;
  readonly to: Recipient;
  readonly storage: AckFields;
}

type SingleMessage = Exclude<OutgoingMessage, { kind: 'heartbeat' | 'heartbeatEcho' }>;

/** Puts the envelope on. Heartbeats travel in batches and do not come here. */
export function wireOf(message: SingleMessage, envelope: Envelope): Message {
  if (message.kind === 'durabilityAck') return wireOfAck(message, envelope);
  const head = { partitionId: envelope.partitionId, toIncarnation: envelope.to.incarnation };
  const { fromReplica, fromIncarnation, term } = message;
  const from = { fromReplica, fromIncarnation, term };
  switch (message.kind) {
    case 'preVoteRequest':
    case 'voteRequest': {
      const flags =
        message.kind === 'preVoteRequest'
          ? packFlags('preVoteRequest', message)
          : packFlags('voteRequest', message);
      return {
        kind: message.kind,
        ...head,
        ...from,
        lastIndex: message.lastIndex,
        lastTerm: message.lastTerm,
        flags,
      };
    }
    case 'preVoteResponse':
      return {
        kind: 'preVoteResponse',
        ...head,
        ...from,
        voteGranted: message.voteGranted,
        highRtt: message.highRtt,
      };
    case 'voteResponse':
      return { kind: 'voteResponse', ...head, ...from, voteGranted: message.voteGranted };
    case 'appendRejected': {
      const { rejectedPrevIndex, lastIndex, conflictTerm, conflictFirstIndex, ledgerSeq } = message;
      return {
        kind: 'appendRejected',
        ...head,
        ...from,
        rejectedPrevIndex,
        lastIndex,
        conflictTerm,
        conflictFirstIndex,
        ledgerSeq,
      };
    }
    case 'timeoutNow':
      return { kind: 'timeoutNow', ...head, ...from };
    default:
      return unreachable(message);
  }
}

/** The one of these that comes with every batch of writes: its fields are named one by one, see `fromSelf`. */
function wireOfAck(
  message: Extract<SingleMessage, { kind: 'durabilityAck' }>,
  envelope: Envelope,
): Message {
  return {
    kind: 'durabilityAck',
    partitionId: envelope.partitionId,
    toIncarnation: envelope.to.incarnation,
    replicaId: message.fromReplica,
    incarnation: message.fromIncarnation,
    term: message.term,
    lastFsyncedIndex: message.lastFsyncedIndex,
    ledgerSeq: message.ledgerSeq,
    segmentSeq: envelope.storage.segmentSeq,
    ioWriterMode: envelope.storage.ioWriterMode,
    smDurableIndex: 0 as typeof message.lastFsyncedIndex,
  };
}

/** Flags of a heartbeat's element. */
export function heartbeatFlags(message: Heartbeat): number {
  return packFlags('heartbeatBatch', message);
}

/** Flags of an echo's element. */
export function echoFlags(message: HeartbeatEcho): number {
  return packFlags('heartbeatBatchResponse', message);
}

/** A heartbeat out of a batch. */
export function heartbeatOf(
  element: Extract<Message, { readonly kind: 'heartbeatBatch' }>['elements'][number],
  fromNode: NodeId,
): Heartbeat {
  return {
    kind: 'heartbeat',
    fromNode,
    fromReplica: element.fromReplica,
    fromIncarnation: element.fromIncarnation,
    term: element.term,
    round: element.round,
    commit: element.commit,
    mayHibernate: hasFlag('heartbeatBatch', element.flags, 'mayHibernate'),
    lease: hasFlag('heartbeatBatch', element.flags, 'lease'),
  };
}

/** An echo out of a batch. */
export function heartbeatEchoOf(
  element: Extract<Message, { readonly kind: 'heartbeatBatchResponse' }>['elements'][number],
  fromNode: NodeId,
): HeartbeatEcho {
  return {
    kind: 'heartbeatEcho',
    fromNode,
    fromReplica: element.fromReplica,
    fromIncarnation: element.fromIncarnation,
    term: element.term,
    round: element.round,
    inDoubt: hasFlag('heartbeatBatchResponse', element.flags, 'inDoubt'),
    isHibernating: hasFlag('heartbeatBatchResponse', element.flags, 'isHibernating'),
    needsLeader: hasFlag('heartbeatBatchResponse', element.flags, 'needsLeader'),
    clockAlarm: hasFlag('heartbeatBatchResponse', element.flags, 'clockAlarm'),
    electionTimeoutMsMin: element.electionTimeoutMsMin,
  };
}

/** Takes the envelope off; `undefined` for messages that are not the core's or need more than a mapping. */
export function peerMessageOf(message: Message, fromNode: NodeId): PeerMessage | undefined {
  switch (message.kind) {
    case 'preVoteRequest':
      return {
        ...fromFields(message, fromNode),
        kind: 'preVoteRequest',
        lastIndex: message.lastIndex,
        lastTerm: message.lastTerm,
        leaderUnreachable: hasFlag('preVoteRequest', message.flags, 'leaderUnreachable'),
      };
    case 'voteRequest':
      return {
        ...fromFields(message, fromNode),
        kind: 'voteRequest',
        lastIndex: message.lastIndex,
        lastTerm: message.lastTerm,
        isTransfer: hasFlag('voteRequest', message.flags, 'isTransfer'),
      };
    case 'timeoutNow':
      return { ...fromFields(message, fromNode), kind: 'timeoutNow' };
    case 'preVoteResponse':
      return {
        ...fromFields(message, fromNode),
        kind: 'preVoteResponse',
        voteGranted: message.voteGranted,
        highRtt: message.highRtt,
      };
    case 'voteResponse':
      return {
        ...fromFields(message, fromNode),
        kind: 'voteResponse',
        voteGranted: message.voteGranted,
      };
    case 'appendRejected': {
      const { rejectedPrevIndex, lastIndex, conflictTerm, conflictFirstIndex, ledgerSeq } = message;
      return {
        ...fromFields(message, fromNode),
        kind: 'appendRejected',
        rejectedPrevIndex,
        lastIndex,
        conflictTerm,
        conflictFirstIndex,
        ledgerSeq,
      };
    }
    case 'durabilityAck':
      return {
        kind: 'durabilityAck',
        fromNode,
        fromReplica: message.replicaId,
        fromIncarnation: message.incarnation,
        term: message.term,
        lastFsyncedIndex: message.lastFsyncedIndex,
        ledgerSeq: message.ledgerSeq,
      };
    default:
      return undefined;
  }
}

function fromFields<M extends Pick<PeerMessage, 'fromReplica' | 'fromIncarnation' | 'term'>>(
  message: M,
  fromNode: NodeId,
): Pick<PeerMessage, 'fromNode' | 'fromReplica' | 'fromIncarnation' | 'term'> {
  return {
    fromNode,
    fromReplica: message.fromReplica,
    fromIncarnation: message.fromIncarnation,
    term: message.term,
  };
}
