// Made by scripts/status-types.ts from admin_pb.ts (npm run generate).

/** @public */
export interface AdminNodeStatus {
  readonly clusterId: string;
  readonly nodeId: number;
  /** Drawn anew at each start of the process. */
  readonly bootId: string;
  readonly address: string;
  readonly uptimeMs: number;
  /** Nodes to which this node holds a connection of its own. */
  readonly linksUp: readonly number[];
  /** Connections that others opened to this node. */
  readonly sessions: number;
  readonly journal: ReportedJournal;
  readonly partitions: readonly ReportedPartition[];
  readonly disk: ReportedDisk;
  /** Wall clock and monotonic clock of the node disagree. */
  readonly clockAlarm: boolean;
}

/** @public */
export interface ReportedJournal {
  /** Chains of writes that ended. */
  readonly flushes: number;
  /** Those that carried entries. */
  readonly dataFlushes: number;
  readonly entries: number;
  readonly entryBytes: number;
  readonly journalBytesWritten: number;
  readonly journalBytes: number;
  readonly segmentSeq: number;
  readonly endOffset: number;
  readonly ledgerSequence: number;
  readonly ledgerGeneration: number;
  readonly ioWriterMode: string;
  readonly flushMsLast: number;
  readonly flushMsP50: number;
  readonly flushMsP99: number;
  /** Block numbers of encrypted segments: reserved, sealed, and given up. */
  readonly nonceBlocksReserved: number;
  readonly nonceBlocksSpent: number;
  readonly nonceBlocksAbandoned: number;
  readonly scrub?: ReportedScrub | undefined;
  readonly ioWriter?: ReportedIoWriter | undefined;
  /** Segments that no log needed any more and that this process removed. */
  readonly segmentsRetired: number;
}

/** What the background scrub has done since the start. @public */
export interface ReportedScrub {
  readonly passes: number;
  readonly bytesRead: number;
  /** End of the newest pass, since 1970; 0 before the first one. */
  readonly lastPassMs: number;
  /** How long ago the byte that waits longest was read or first seen. */
  readonly coverageAgeMs: number;
  /** Segments with damage when they were last read. */
  readonly damagedSegments: number;
  /** How often the ledger was written anew because a copy of something in it was bad. */
  readonly ledgerRenewals: number;
  /** How long it was at work, reads included. */
  readonly busyMs: number;
  /** What the pass under way still has to read; 0 when none is. */
  readonly passBytesLeft: number;
  /** Snapshots that are there, with damage when they were last read. */
  readonly damagedSnapshots: number;
}

/** In which mode chains of writes reach the disk, and how long they take. @public */
export interface ReportedIoWriter {
  /** Direct, Pooled or Blocking. */
  readonly mode: string;
  /** The best mode that the process can be in. */
  readonly bestMode: string;
  /** Configured, DirectRefused, SlowDisk or ThreadLost. */
  readonly cause: string;
  /** When the mode came, since 1970. */
  readonly sinceMs: number;
  /** Changes of the mode since the start. */
  readonly changes: number;
  /** How bad it is that the mode is not the best one: None, Degraded, Incident (over 5 s) or GraceOver (over 300 s). */
  readonly alarm: string;
  /** The shortest window first. */
  readonly latency: readonly ReportedLatencyWindow[];
}

/** How long chains took that ended within a window. @public */
export interface ReportedLatencyWindow {
  readonly windowMs: number;
  readonly chains: number;
  /** At most 9 % too high. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** @public */
export interface ReportedPartition {
  readonly partitionId: string;
  readonly replicaId: number;
  readonly incarnation: string;
  readonly role: string;
  readonly roleSinceMs: number;
  readonly roleReason: string;
  readonly term: number;
  /** Unset while no leader is known. */
  readonly leaderNodeId?: number | undefined;
  readonly leaderAddress?: string | undefined;
  readonly lastIndex: number;
  readonly durableIndex: number;
  readonly verifiedIndex: number;
  readonly commitIndex: number;
  readonly walCommittedIndex: number;
  readonly appliedIndex: number;
  /** The log begins behind this entry; a snapshot holds what came before. */
  readonly baseIndex: number;
  readonly inDoubt: boolean;
  readonly applyFault?: string | undefined;
  readonly proposalsWaiting: number;
  readonly proposalsAppended: number;
  readonly readsWaiting: number;
  readonly localAppendsPending: number;
  readonly idempotencyRows: number;
  readonly tailBytes: number;
  readonly members: readonly ReportedMember[];
  /** Set while a change of voters is under way; then `members` is the new list. */
  readonly joint?: ReportedJointPhase | undefined;
  /** Set while leadership is being handed over: to which node. */
  readonly transferToNodeId?: number | undefined;
  /** The entry that brought the configuration in force, and whether it is committed. */
  readonly configurationIndex: number;
  readonly configurationCommitted: boolean;
  /** Whether the configuration in force names this replica, in this life. */
  readonly isMember: boolean;
  /** Neither heartbeats nor timers run, because nobody uses the partition. */
  readonly isHibernating: boolean;
  /** How batches go to the disk. */
  readonly durability?: ReportedDurability | undefined;
  /** Whether reads are served without a round, and what stands in the way. */
  readonly lease?: ReportedLease | undefined;
  /** Which Merkle leaves entries get that are framed here, and what stands in the way of others. */
  readonly leaves?: ReportedLeaves | undefined;
  /** Quarantines of the replica that are in force, the gravest first. */
  readonly quarantines: readonly ReportedQuarantine[];
  /** Unset on a node that takes no snapshots. */
  readonly snapshots?: ReportedSnapshotStatus | undefined;
}

/** @public */
export interface ReportedMember {
  readonly replicaId: number;
  readonly nodeId: number;
  readonly incarnation: string;
  readonly role: string;
  readonly addresses: readonly string[];
  /** At a leader: the newest entry that the member acknowledged as durable. */
  readonly matchIndex?: number | undefined;
  /** At a leader: how the member is being sent entries. */
  readonly progress?: string | undefined;
  readonly inDoubt: boolean;
  /** At a leader: since when the member has not been heard. */
  readonly silentMs?: number | undefined;
}

/** A change of voters: everything needs a majority of both lists. @public */
export interface ReportedJointPhase {
  readonly outgoingMembers: readonly ReportedMember[];
  /** At the leader: entries that both majorities have committed, of those needed before the new list stands alone. */
  readonly committed: number;
  readonly needed: number;
  readonly sinceMs: number;
  /** At the leader: why the old list is wanted back, if it is. */
  readonly rollbackReason?: string | undefined;
}

/** @public */
export interface ReportedDurability {
  /** `Strict` adds no waiting; `GroupFsync` may hold a batch so that more entries share one pair of syncs. */
  readonly mode: string;
  /** What an operator asked for last. */
  readonly wantedMode: string;
  /** Rises with each change. */
  readonly epoch: number;
  /** The entry that brought the mode; 0 when none did. */
  readonly index: number;
  /** At the leader: the first clause that forbids GroupFsync now, empty when none does. */
  readonly groupFsyncClause?: string | undefined;
  readonly groupFsyncReason?: string | undefined;
}

/** @public */
export interface ReportedLease {
  /** `Disabled`, `Enabled` or `Revoked`. */
  readonly state: string;
  /** The first guard that fails; `None` when enabled. */
  readonly reason: string;
  /** For how long, unless more is echoed. */
  readonly remainingMs: number;
}

/** @public */
export interface ReportedLeaves {
  /** What the node is configured for: `none`, `sha256` or `blake3`. */
  readonly wanted: string;
  readonly used: string;
  /** The first clause of the gate that fails; `None` when used is what is wanted. */
  readonly failedClause: string;
  /** The member that it fails at. */
  readonly nodeId?: number | undefined;
}

/** @public */
export interface ReportedQuarantine {
  /** `Integrity`: entries cannot be read; the replica neither votes nor acknowledges. `ApplyFault`, `Administrative`: nothing is applied or read, the log goes on. */
  readonly reason: string;
  readonly sinceMs: number;
  /** Ranges of entries that are still missing, such as `7-9`; the first few. */
  readonly missing: string;
  readonly missingCount: number;
  /** Entries repaired since the process started. */
  readonly repairedCount: number;
  /** Rounds over all members in vain since the last success. */
  readonly attempts: number;
  /** The node that is being asked. */
  readonly askedNodeId?: number | undefined;
  /** ClearQuarantine ends it: everything is repaired, or this process can go on. */
  readonly awaitsOperator: boolean;
  /** The entry at which applying stopped; 0 where no entry is to blame. */
  readonly index: number;
  /** What the state machine said, or why the operator wanted it. */
  readonly detail: string;
  /** Ticket of whoever set it. */
  readonly ticket: string;
}

/** How it stands with the snapshots of a replica. @public */
export interface ReportedSnapshotStatus {
  /** By rising index. */
  readonly snapshots: readonly ReportedSnapshot[];
  /** The state machine waits for a snapshot: the log begins behind one, and none can be read here. */
  readonly isMissing: boolean;
  readonly isTaking: boolean;
  /** Bytes that the attempt under way has written. */
  readonly takingBytes: number;
  /** Why the last attempt to take one failed; empty behind a success. */
  readonly lastFailure: string;
  /** The newest one that this process read back, or that its machine began with: the log may begin behind it. 0 without one. */
  readonly goodIndex: number;
  /** The oldest one that another member is fetching from here: entries behind it stay. */
  readonly leasedIndex?: number | undefined;
  /** What the log took in since the newest one, and with how many bytes another one is taken. */
  readonly logBytes: number;
  readonly logBytesMax: number;
  readonly installation?: ReportedSnapshotInstallation | undefined;
}

/** One snapshot of a replica's state machine, on the disk of its node. @public */
export interface ReportedSnapshot {
  /** The last entry whose effect it holds, and its term. */
  readonly index: number;
  readonly term: number;
  /** When it was taken, since 1970, by the clock of the node that took it first. */
  readonly createdMs: number;
  readonly bytes: number;
}

/** How it stands with a snapshot that this replica fetches from another member. @public */
export interface ReportedSnapshotInstallation {
  /** One is being fetched, verified or put in the place of the log. */
  readonly isPulling: boolean;
  /** The node that is being asked. */
  readonly fromNodeId?: number | undefined;
  readonly partsDone: number;
  /** Parts that it has; 0 while its manifest is not here. */
  readonly parts: number;
  /** Rounds over all members in vain since the last success. */
  readonly attempts: number;
  /** Why the last member, or the own disk, was of no help. */
  readonly lastFailure: string;
}

/** How full the disk of the data directory is. @public */
export interface ReportedDisk {
  /** "none", "soft" or "hard"; while it is hard, writes of clients are refused. */
  readonly pressure: string;
  /** What is short: "none", "fileSystem", "log", or "refused" where a write found no room. */
  readonly shortage: string;
  readonly sinceMs: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly logBytes: number;
  readonly logBytesMax: number;
  /** Spare segments that lie ready for entries of the system. */
  readonly reserveSegments: number;
  /** Writes that found no room since the start. */
  readonly refusedWrites: number;
}
