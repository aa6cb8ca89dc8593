/** What the journal and ledger of a data directory take and give. */
import type { ClustorError } from '../base/errors.ts';
import type {
  ClusterId,
  Incarnation,
  LogIndex,
  NodeId,
  PartitionId,
  ReplicaId,
  Term,
} from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import type { Configuration } from '../base/membership.ts';
import type { LeafHashes } from '../codec/entry-frame.ts';
import type { Clock } from '../ports/clock.ts';
import type { Entropy } from '../ports/entropy.ts';
import type { FileSystem, IoWriterMode } from '../ports/file-system.ts';
import type { Observer } from '../ports/observer.ts';
import type { IoWriterStatus } from './io-writer-desk.ts';
import type { JournalEncryption } from './key-ring.ts';
import type { PartitionLog } from './partition-log.ts';

/** Term and vote of a replica. */
export interface HardState {
  readonly term: Term;
  readonly votedFor:
    | { readonly replicaId: ReplicaId; readonly incarnation: Incarnation }
    | undefined;
}

/** Contiguous whole frames; never changed after they were handed over. */
export interface FrameBatch {
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly bytes: Uint8Array;
  /** Configurations of entries inside; recorded in the same ledger flush as the record that covers them (specification §3.1). */
  readonly configurations?: readonly Configuration[];
  /** Entries inside that change the durability mode; no flush crosses them (specification §5.2). */
  readonly fences?: readonly LogIndex[];
}

/** A replica as recovery found it. */
export interface RecoveredPartition {
  readonly partitionId: PartitionId;
  readonly replicaId: ReplicaId;
  readonly incarnation: Incarnation;
  readonly hardState: HardState;
  readonly baseIndex: LogIndex;
  readonly baseTerm: Term;
  readonly lastIndex: LogIndex;
  /** Runs of equal terms above the base. */
  readonly termRuns: readonly { readonly firstIndex: LogIndex; readonly term: Term }[];
  /** Newest commit index recorded within coverage. */
  readonly recordedCommitIndex: LogIndex;
  /** Newest last, at most three. */
  readonly configurations: readonly Configuration[];
  /** Why this replica is in doubt (KER-9), if it is. */
  readonly doubt: string | undefined;
  /** Set where covered entries cannot be read, and the ledger is whole (specification §5.6). */
  readonly quarantine: RecoveredQuarantine | undefined;
}

/** Entries of one term that follow each other. */
export interface TermPiece extends IndexRange {
  readonly term: Term;
}

/** What is left of a damaged log; `lastIndex` and `termRuns` of its partition end at the first hole. */
export interface RecoveredQuarantine {
  readonly missing: readonly IndexRange[];
  /** Readable entries, before, between and behind the holes, by rising index. */
  readonly readable: readonly TermPiece[];
  /** Where the whole log ends, and the term there: of a frame that was read, or of the newest durability record. */
  readonly endIndex: LogIndex;
  readonly endTerm: Term;
  /** Newest recorded commit index of the whole log. */
  readonly commitIndex: LogIndex;
  /** Wall time at which it began, of one that an earlier process knew. */
  readonly sinceMs: number | undefined;
  /** Wall times at which quarantines of this replica began. */
  readonly begunMs: readonly number[];
}

/** What was made durable by an append. */
export interface AppendCompletion {
  readonly appendSequence: number;
  readonly lastIndex: LogIndex;
  readonly lastTerm: Term;
  readonly ledgerSequence: number;
}

/** Covered entries that cannot be read. */
export interface DamagedRange {
  readonly partitionId: PartitionId;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
}

/** What the scrub found wrong with a segment. */
export interface SegmentDamage {
  readonly segmentSeq: number;
  readonly reasons: readonly string[];
  /** Empty where no live entry is lost, such as for a damaged trailer. */
  readonly ranges: readonly DamagedRange[];
}

/** What the background scrub has done in this process. @public */
export interface ScrubStatistics {
  readonly passes: number;
  readonly bytesRead: number;
  /** How long it was at work, reads included, milliseconds. */
  readonly busyMs: number;
  /** What the pass under way still has to read; 0 when none is. */
  readonly passBytesLeft: number;
  /** End of the newest pass, milliseconds since 1970; 0 before the first one. */
  readonly lastPassMs: number;
  /** How long ago the byte that waits longest was read or first seen, milliseconds. */
  readonly coverageAgeMs: number;
  /** Segments with damage when they were last read. */
  readonly damagedSegments: number;
  /** How often the ledger was written anew because a copy of something in it was bad. */
  readonly ledgerRenewals: number;
  /** Snapshots that are there, with damage when they were last read. */
  readonly damagedSnapshots: number;
}

/** Receives completions, in order. */
export interface LogStoreListener {
  hardStateDurable(partition: PartitionLog, hardState: HardState): void;
  /** Once per partition and flush, naming the newest append that it completed. */
  appendDurable(partition: PartitionLog, completion: AppendCompletion): void;
  /** Entries that were durable once cannot be read. Told while a read of them fails, each time. */
  damaged(partition: PartitionLog, range: IndexRange): void;
  /** The background scrub found damage in something covered (specification §5.4); what entries it took is told as well. */
  damageFound(damage: SegmentDamage): void;
  /** All completions of a flush were delivered; its chain took so long. */
  flushEnded(tookMs: number): void;
  /** A bound of Group-Fsync was overrun by this partition. */
  groupFsyncOverrun?(partition: PartitionLog): void;
  /** A write or sync failed: nothing more is written or reported (KER-10). The node must stop. */
  failed(error: ClustorError): void;
}

/** Bounds of a data directory's log. @public */
export interface LogStoreLimits {
  /** Bytes of the journal on this node (`log_bytes_max`). At 90 %, and two segments before it, appends of clients are refused (`CLUSTOR_DISK_HARD`). */
  readonly logBytesMax: number;
  /**
   * Bytes that one partition takes of the journal, its share of blocks that are not full included. At 95 % appends of clients
   * are refused for this partition alone. At most what the node takes of clients. @defaultValue half of `logBytesMax`
   */
  readonly partitionLogBytesMax: number;
  /** Bytes of one segment file. */
  readonly segmentBytes: number;
  /** Bytes of one ledger generation. */
  readonly ledgerBytes: number;
  /** Bytes of sealed blocks in one flush; a larger batch still goes alone. */
  readonly flushBytesMax: number;
}

/** The defaults. @public */
export const defaultLogStoreLimits: LogStoreLimits = {
  logBytesMax: 16 * 1024 * 1024 * 1024,
  partitionLogBytesMax: 8 * 1024 * 1024 * 1024,
  segmentBytes: 64 * 1024 * 1024,
  ledgerBytes: 32 * 1024 * 1024,
  flushBytesMax: 4 * 1024 * 1024,
};

/** What a store needs. */
export interface LogStoreOptions {
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly observer: Observer;
  readonly limits?: Partial<LogStoreLimits>;
  /** A durable chain that takes longer, milliseconds, is a sign of a slow disk. @defaultValue 100 */
  readonly deviceLatencyMsMax?: number;
  /** What was found about the disk, kept in every boot record. */
  readonly diskReport?: object;
  /** With which the scrub verifies Merkle leaves; without them they are not looked at. */
  readonly leafHashes?: LeafHashes | undefined;
  readonly listener: LogStoreListener;
  /** Encrypts everything new; a directory that is encrypted opens with it only. */
  readonly encryption?: JournalEncryption | undefined;
}

/** Counters of a store. @public */
export interface LogStoreStatistics {
  /** Chains that ended, with or without data. */
  readonly flushes: number;
  /** Chains that carried entries. */
  readonly dataFlushes: number;
  readonly entries: number;
  readonly entryBytes: number;
  /** Bytes written to the journal, padding included. */
  readonly journalBytesWritten: number;
  /** Bytes of live segments. */
  readonly journalBytes: number;
  /** Segments that no log needed any more and that this process removed. */
  readonly segmentsRetired: number;
  readonly segmentSeq: number;
  readonly endOffset: number;
  /** Newest synced ledger flush. */
  readonly ledgerSequence: number;
  readonly ledgerGeneration: number;
  readonly ioWriterMode: IoWriterMode;
  /** Why that mode, for how long, and how long the device has taken. */
  readonly ioWriter: IoWriterStatus;
  /** Block numbers reserved for the encrypted segments that are there, and for rewritings that were interrupted. */
  readonly nonceBlocksReserved: number;
  /** Those that were sealed. */
  readonly nonceBlocksSpent: number;
  /** Those that will never be used, because a process ended without closing its segment. */
  readonly nonceBlocksAbandoned: number;
  /** Milliseconds of the newest, the median and the 99th percentile of recent chains. */
  readonly flushMsLast: number;
  readonly flushMsP50: number;
  readonly flushMsP99: number;
  readonly scrub: ScrubStatistics;
}

/** What recovery found; also written to `boot_record.json`. */
export interface BootReport {
  readonly scrubState: 'Healthy' | 'Quarantine';
  readonly durationMs: number;
  readonly ledgerFlushesRead: number;
  readonly ledgerFlushesFromSecondCopy: number;
  readonly ledgerTornFlushCut: boolean;
  readonly segmentsRead: number;
  readonly blocksRead: number;
  readonly framesRead: number;
  readonly framesKeptBehindCoverage: number;
  /** Blocks at or before coverage that are bad, of the segments that were read whole. */
  readonly damagedBlocks: number;
  readonly journalEndedAt: string;
  readonly doubts: readonly string[];
}
