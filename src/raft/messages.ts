/**
 * What replicas of one partition say to each other, as the core sees it.
 *
 * Field names equal those of the wire catalog. Every message names its sender by replica and incarnation; the core counts
 * an answer only when both stand in the configuration (specification §1 Identity). Entry bytes never enter the core: an append
 * carries what the core decides on, and the runtime keeps the bytes beside it.
 */
import type { Incarnation, LogIndex, NodeId, ReplicaId, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';

/** Where a message came from or goes to. */
export interface Recipient {
  readonly replicaId: ReplicaId;
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
}

interface FromPeer {
  /** The node that the message came from, by its certificate; in outgoing messages the own one. */
  readonly fromNode: NodeId;
  readonly fromReplica: ReplicaId;
  readonly fromIncarnation: Incarnation;
  /** The sender's term; in a pre-vote request the term that it would campaign in. */
  readonly term: Term;
}

/** Asks whether a campaign could succeed, without touching terms (thesis §9.6). */
export interface PreVoteRequest extends FromPeer {
  readonly kind: 'preVoteRequest';
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** The sender's own connection to the leader's node closed and was refused (specification §2.2). */
  readonly leaderUnreachable: boolean;
}

/** Answers a pre-vote. A grant carries the asked term, a refusal the responder's own. */
export interface PreVoteResponse extends FromPeer {
  readonly kind: 'preVoteResponse';
  readonly voteGranted: boolean;
  /** The way between the two takes so long that the asker's next window should be wider (specification ELE-7). */
  readonly highRtt: boolean;
}

/** Asks for a vote (Raft §5.2). Leaves only after the candidate's own vote is durable. */
export interface VoteRequest extends FromPeer {
  readonly kind: 'voteRequest';
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  /** The leader itself asked for this election: voters do not cling to it (specification §2.2). */
  readonly isTransfer: boolean;
}

/** Answers a vote request. A grant leaves only after the vote is durable. */
export interface VoteResponse extends FromPeer {
  readonly kind: 'voteResponse';
  readonly voteGranted: boolean;
}

/** What the core must know of the entries in a received append. */
export interface ReceivedEntries {
  readonly count: number;
  /** Flat pairs (first index, term), one pair for each run of equal terms, rising. */
  readonly termRuns: readonly number[];
  /** Configurations that entries of this append bring, by rising index. */
  readonly configurations: readonly Configuration[];
}

/** Replicates entries `prevIndex + 1 …`; an empty one is a probe (Raft §5.3). */
export interface AppendEntries extends FromPeer {
  readonly kind: 'appendEntries';
  readonly prevIndex: LogIndex;
  readonly prevTerm: Term;
  /** The leader's raft commit index. */
  readonly commit: LogIndex;
  /** The leader remembers acknowledgements that the receiver's log no longer holds (KER-9). */
  readonly receiverInDoubt: boolean;
  /** The leader's log begins at `prevIndex` and does not have what the receiver lacked when it last answered. */
  readonly needsSnapshot: boolean;
  readonly entries: ReceivedEntries;
}

/** Refuses an append, with the conflicting term so that the leader skips it whole (Raft §5.3). */
export interface AppendRejected extends FromPeer {
  readonly kind: 'appendRejected';
  readonly rejectedPrevIndex: LogIndex;
  /** The follower's last appended index. */
  readonly lastIndex: LogIndex;
  /** Term of the follower's entry at the refused index; 0 when its log is shorter. */
  readonly conflictTerm: Term;
  /** First index of that term in the follower's log. */
  readonly conflictFirstIndex: LogIndex;
  /** Newest synced ledger flush of the follower's data directory. */
  readonly ledgerSeq: number;
}

/** The only success answer to an append: min(own durable, own verified) (specification §2.4). */
export interface DurabilityAck extends FromPeer {
  readonly kind: 'durabilityAck';
  readonly lastFsyncedIndex: LogIndex;
  /** Newest synced ledger flush; orders acknowledgements of one data directory across restarts. */
  readonly ledgerSeq: number;
}

/** One partition's element of a heartbeat batch. */
export interface Heartbeat extends FromPeer {
  readonly kind: 'heartbeat';
  readonly round: number;
  readonly commit: LogIndex;
  /** Nothing has been asked of the leader for a while: whoever holds everything may sleep (specification §2.5). */
  readonly mayHibernate: boolean;
  /** Whoever echoes it withholds its vote for its minimum election timeout (specification §2.3). */
  readonly lease: boolean;
}

/** Echoes a heartbeat by number. An echo in doubt counts for nothing (KER-9). */
export interface HeartbeatEcho extends FromPeer {
  readonly kind: 'heartbeatEcho';
  readonly round: number;
  readonly inDoubt: boolean;
  /** The sender sleeps from now on, until it hears of its leader again. */
  readonly isHibernating: boolean;
  /** The sender slept and was woken: it asks for a heartbeat. */
  readonly needsLeader: boolean;
  /** The sender's clocks disagree: its echo counts for no lease. */
  readonly clockAlarm: boolean;
  /** For how long the sender withholds its vote behind a round flagged `lease`. */
  readonly electionTimeoutMsMin: number;
}

/** The leader asks a caught-up voter to campaign at once (thesis §3.10). */
export interface TimeoutNow extends FromPeer {
  readonly kind: 'timeoutNow';
}

/** Everything that one replica's core may receive from another. */
export type PeerMessage =
  | PreVoteRequest
  | PreVoteResponse
  | VoteRequest
  | VoteResponse
  | AppendEntries
  | AppendRejected
  | DurabilityAck
  | Heartbeat
  | HeartbeatEcho
  | TimeoutNow;

/** What the core sends through `sendMessage`; appends with entries have an effect of their own. */
export type OutgoingMessage = Exclude<PeerMessage, AppendEntries>;
