/** One partition's share of the journal and ledger: what its replica hands over, and where its entries are. */
import { assert } from '../base/assert.ts';
import type { DurabilityMode } from '../base/durability-mode.ts';
import type { Incarnation, LogIndex, PartitionId, ReplicaId, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import { withHold, type HoldRow } from '../codec/hold-record.ts';
import type { LedgerRecord, MoveCause, QuarantineRow } from '../codec/ledger-records.ts';
import type { IoWriterMode } from '../ports/file-system.ts';
import { JournalIndex } from './journal-index.ts';
import type { FrameBatch, HardState } from './log-store-types.ts';

/** An append that waits for its flush. */
export interface PendingAppend {
  readonly log: PartitionLog;
  readonly batch: FrameBatch;
  /** Number of the append; `undefined` for entries that are written anew, which the log has already. */
  readonly appendSequence: number | undefined;
  /** Why they are written anew. @defaultValue 'repair' */
  readonly cause?: MoveCause;
  /** Told once they are durable; of those written anew only. */
  readonly done: (() => void) | undefined;
  /** It is one entry that changes the durability mode: flushed alone, so that no batch crosses it (specification §5.2). */
  readonly isFence?: boolean;
}

/** What a partition's log asks of its store. */
export interface PartitionLogOwner {
  enqueueAppend(append: PendingAppend): void;
  enqueueHardState(log: PartitionLog, hardState: HardState): void;
  enqueueDoubt(log: PartitionLog, reason: string, done: () => void): void;
  enqueueDurabilityMode(log: PartitionLog, change: DurabilityModeChange): void;
  /** Hands over a record that nothing else goes with; `done` is told when it is durable. */
  enqueueRecord(record: LedgerRecord, done: () => void): void;
  /** Drops what is not sealed yet from `fromIndex` on, and records the truncation of what is. */
  truncate(log: PartitionLog, fromIndex: LogIndex): void;
  /** Drops everything that is not sealed yet, and records that all that is sealed is dead. */
  truncateAll(log: PartitionLog): void;
  /** The log begins further behind than before: segments may have become needless. */
  baseMoved(log: PartitionLog): void;
  refusal(log: PartitionLog, bytes: number): string | undefined;
  isShort(log: PartitionLog): boolean;
  takes(log: PartitionLog, entries: Uint8Array): boolean;
  read(
    log: PartitionLog,
    range: {
      readonly firstIndex: LogIndex;
      readonly lastIndex: LogIndex;
      readonly bytesMax: number;
    },
  ): Promise<FrameBatch>;
  ackFields(): { readonly segmentSeq: number; readonly ioWriterMode: IoWriterMode };
}

/** A change of mode as the ledger keeps it. */
export interface DurabilityModeChange {
  readonly mode: DurabilityMode;
  readonly epoch: number;
  readonly index: LogIndex;
}

/** What takes the place of a log, or of its beginning. */
export interface LogReplacement {
  readonly index: LogIndex;
  readonly term: Term;
  /** The configuration in force at the index. */
  readonly configuration: Configuration;
  /** The log has this very entry, durable: what is behind it stays. */
  readonly keepsTail: boolean;
}

/** A partition's log when it begins. */
export interface PartitionLogStart {
  readonly baseIndex: LogIndex;
  readonly partitionId: PartitionId;
  readonly replicaId: ReplicaId;
  readonly incarnation: Incarnation;
  readonly lastIndex: LogIndex;
  readonly commitIndex: LogIndex;
  readonly hardState: HardState;
  readonly frameBytes: number;
  readonly quarantine: QuarantineRow | undefined;
  /** Holds of this life of the replica, in force or over. */
  readonly holds: readonly HoldRow[];
}

/** See the file comment. */
export class PartitionLog {
  readonly partitionId: PartitionId;
  readonly replicaId: ReplicaId;
  readonly incarnation: Incarnation;
  /** Runs that are sealed; entries behind them wait for their flush. */
  readonly index: JournalIndex = new JournalIndex();
  readonly #owner: PartitionLogOwner;
  #lastIndex: LogIndex;
  /** Newest commit index, set by the owner of the replica; recorded with each flush (specification §1). */
  commitIndex: LogIndex;
  /** Newest hard state handed over. */
  hardState: HardState;
  /** Bytes that its entries take in the journal: frames, and once they are sealed their share of what blocks take besides. */
  frameBytes: number;
  /** What the ledger says, or will say, of `Integrity` quarantines of this replica. */
  quarantine: QuarantineRow | undefined;
  #holds: readonly HoldRow[];
  #durabilityMode: DurabilityMode = 'Strict';
  #baseIndex: LogIndex;
  #durableBaseIndex: LogIndex;
  /** Bytes of entries appended by this process and found by it, whatever became of them. */
  appendedBytes: number;
  /** Another life has taken the place of this one: nothing more is written of it. */
  isRetired = false;

  constructor(owner: PartitionLogOwner, start: PartitionLogStart) {
    this.#owner = owner;
    this.partitionId = start.partitionId;
    this.replicaId = start.replicaId;
    this.incarnation = start.incarnation;
    this.#lastIndex = start.lastIndex;
    this.commitIndex = start.commitIndex;
    this.hardState = start.hardState;
    this.frameBytes = start.frameBytes;
    this.quarantine = start.quarantine;
    this.#holds = start.holds;
    this.#baseIndex = start.baseIndex;
    this.#durableBaseIndex = start.baseIndex;
    this.appendedBytes = start.frameBytes;
    this.index.dropThrough(start.baseIndex);
  }

  /** The log begins behind this entry, by what the ledger says or will say. */
  get baseIndex(): LogIndex {
    return this.#baseIndex;
  }

  /** Quarantines other than `Integrity` that are in force, by what the ledger says or will say. */
  get holds(): readonly HoldRow[] {
    return this.#holds.filter(({ isActive }) => isActive);
  }

  /** The log begins behind this entry, by what the ledger says on stable storage. */
  get durableBaseIndex(): LogIndex {
    return this.#durableBaseIndex;
  }

  /** Whether flushes may be held for this partition (specification §5.2). */
  get durabilityMode(): DurabilityMode {
    return this.#durabilityMode;
  }

  /** Last index handed over, durable or not. */
  get lastIndex(): LogIndex {
    return this.#lastIndex;
  }

  /** Makes term and vote durable; never overtaken by later appends. */
  persistHardState(hardState: HardState): void {
    if (this.isRetired) return;
    assert(hardState.term >= this.hardState.term, 'a term never falls');
    this.hardState = hardState;
    this.#owner.enqueueHardState(this, hardState);
  }

  /** Makes it durable that this replica is in doubt (KER-9). */
  persistDoubt(reason: string, done: () => void): void {
    if (this.isRetired) return;
    this.#owner.enqueueDoubt(this, reason, done);
  }

  /** Makes it durable that this replica is in quarantine, or no longer; `done` is told when it is. */
  persistQuarantine(quarantine: Omit<QuarantineRow, 'incarnation'>, done: () => void): void {
    if (this.isRetired) return;
    const row = { ...quarantine, incarnation: this.incarnation };
    this.quarantine = row;
    const { partitionId } = this;
    this.#owner.enqueueRecord({ kind: 'quarantine', partitionId, ...row }, () => {
      done();
      // What was saved of segments is worth nothing any more, and its entries may be copied again.
      if (this.quarantine?.isActive === false) this.#owner.baseMoved(this);
    });
  }

  /** Makes it durable that this replica applies and reads nothing, or does again; `done` is told when it is. */
  persistHold(hold: Omit<HoldRow, 'incarnation'>, done: () => void): void {
    if (this.isRetired) return;
    const { partitionId, incarnation } = this;
    const row = { ...hold, incarnation };
    this.#holds = withHold(this.#holds, row);
    this.#owner.enqueueRecord({ kind: 'hold', partitionId, ...row }, done);
  }

  /**
   * Writes entries anew that the log has and cannot read any more, verified by the caller; `done` is told when frames and
   * their new place are durable.
   */
  repair(batch: FrameBatch, done: () => void): void {
    if (this.isRetired) return;
    assert(batch.lastIndex <= this.#lastIndex, 'only entries of the log are repaired');
    assert(batch.lastIndex >= batch.firstIndex && batch.bytes.length > 0, 'a repair has entries');
    this.#owner.enqueueAppend({ log: this, batch, appendSequence: undefined, done });
  }

  /** Writes committed entries anew behind everything else, so that the segment in which they are can go (DUR-5). */
  copyForward(batch: FrameBatch, done: () => void): void {
    assert(batch.lastIndex <= this.commitIndex, 'only committed entries are copied');
    this.#owner.enqueueAppend({
      log: this,
      batch,
      appendSequence: undefined,
      cause: 'copy',
      done,
    });
  }

  /** A committed entry changed the mode; recorded in the ledger, so that its epoch outlives the process. */
  changeDurabilityMode(change: DurabilityModeChange): void {
    if (this.isRetired) return;
    this.#durabilityMode = change.mode;
    this.#owner.enqueueDurabilityMode(this, change);
  }

  /** Makes entries durable. */
  append(batch: FrameBatch, appendSequence: number): void {
    if (this.isRetired) return;
    assert(batch.firstIndex === this.#lastIndex + 1, 'an append continues the log');
    assert(batch.lastIndex >= batch.firstIndex && batch.bytes.length > 0, 'an append has entries');
    this.#lastIndex = batch.lastIndex;
    this.frameBytes += batch.bytes.length;
    this.appendedBytes += batch.bytes.length;
    this.#owner.enqueueAppend({ log: this, batch, appendSequence, done: undefined });
  }

  /** Drops entries from `fromIndex` on; they were never committed. */
  truncateFrom(fromIndex: LogIndex): void {
    if (this.isRetired) return;
    assert(fromIndex > this.commitIndex, 'a committed entry is never truncated');
    if (fromIndex > this.#lastIndex) return;
    this.#lastIndex = (fromIndex - 1) as LogIndex;
    this.#owner.truncate(this, fromIndex);
  }

  /**
   * Makes it durable that entries up to `index` are needed no more: a verified snapshot holds what they did. Until then they stay
   * where they are (DUR-5).
   */
  compact(base: { readonly index: LogIndex; readonly term: Term }): void {
    const { index, term } = base;
    assert(index > this.#baseIndex && index <= this.commitIndex, 'only committed entries go');
    if (this.isRetired) return;
    const { partitionId } = this;
    const goneShare = (index - this.#baseIndex) / (this.#lastIndex - this.#baseIndex);
    const goneBytes = this.frameBytes * goneShare;
    this.#baseIndex = index;
    this.#owner.enqueueRecord({ kind: 'snapshotBase', partitionId, index, term }, () => {
      this.frameBytes = Math.max(0, this.frameBytes - goneBytes);
      this.index.dropThrough(index);
      this.#durableBaseIndex = index;
      this.#owner.baseMoved(this);
    });
  }

  /**
   * Puts a snapshot in the place of the log, or of its beginning: in one flush of the ledger, so that a crash leaves the old
   * log or the new one. `done` is told when that is durable; nothing is appended or truncated in between.
   */
  install(snapshot: LogReplacement, done: () => void): void {
    const { index, term, configuration, keepsTail } = snapshot;
    assert(index > this.#baseIndex || keepsTail, 'a snapshot reaches further than the one before');
    if (this.isRetired) return;
    const { partitionId } = this;
    if (!keepsTail) {
      this.#owner.truncateAll(this);
      this.#lastIndex = index;
      this.frameBytes = 0;
    }
    if (index > this.commitIndex) this.commitIndex = index;
    this.#baseIndex = index;
    this.index.dropThrough(index);
    const settled = (): void => {
      this.#durableBaseIndex = index;
      this.#owner.baseMoved(this);
      done();
    };
    const nothing = (): void => undefined;
    this.#owner.enqueueRecord(
      { kind: 'snapshotBase', partitionId, index, term },
      keepsTail ? settled : nothing,
    );
    // Of a log that goes on the ledger knows the configurations.
    if (!keepsTail)
      this.#owner.enqueueRecord({ kind: 'configuration', partitionId, configuration }, settled);
  }

  /** Why a client's entry of this size is not taken in, if so (`CLUSTOR_DISK_HARD`). */
  refusal(bytes: number): string | undefined {
    return this.#owner.refusal(this, bytes);
  }

  /** Whether this log or the node's is near its bound, or the disk is: a snapshot would make room (specification §8.1). */
  isShort(): boolean {
    return this.#owner.isShort(this);
  }

  /** Whether a leader's entries still fit: what the system needs may use the reserve. */
  takes(entries: Uint8Array): boolean {
    return this.#owner.takes(this, entries);
  }

  /** Reads durable entries, at least one and about `bytesMax` bytes, verified. @throws ClustorError `CLUSTOR_INTEGRITY`. */
  read(firstIndex: LogIndex, lastIndex: LogIndex, bytesMax: number): Promise<FrameBatch> {
    return this.#owner.read(this, { firstIndex, lastIndex, bytesMax });
  }

  /** What every DurabilityAck says of the disk. */
  ackFields(): { readonly segmentSeq: number; readonly ioWriterMode: IoWriterMode } {
    return this.#owner.ackFields();
  }
}
