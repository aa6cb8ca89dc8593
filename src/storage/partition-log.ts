/** One partition's share of the journal and ledger: what its replica hands over, and where its entries are. */
import { assert } from '../base/assert.ts';
import type { DurabilityMode } from '../base/durability-mode.ts';
import type { Incarnation, LogIndex, PartitionId, ReplicaId } from '../base/ids.ts';
import { withHold, type HoldRow } from '../codec/hold-record.ts';
import type { LedgerRecord, QuarantineRow } from '../codec/ledger-records.ts';
import type { IoWriterMode } from '../ports/file-system.ts';
import { JournalIndex } from './journal-index.ts';
import type { FrameBatch, HardState } from './log-store-types.ts';

/** An append that waits for its flush. */
export interface PendingAppend {
  readonly log: PartitionLog;
  readonly batch: FrameBatch;
  /** Number of the append; `undefined` for entries of a repair, which the log has already. */
  readonly appendSequence: number | undefined;
  /** Told once they are durable; of a repair only. */
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
  refusal(log: PartitionLog, bytes: number): string | undefined;
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

/** A partition's log when it begins. */
export interface PartitionLogStart {
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
  }

  /** Quarantines other than `Integrity` that are in force, by what the ledger says or will say. */
  get holds(): readonly HoldRow[] {
    return this.#holds.filter(({ isActive }) => isActive);
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
    assert(hardState.term >= this.hardState.term, 'a term never falls');
    this.hardState = hardState;
    this.#owner.enqueueHardState(this, hardState);
  }

  /** Makes it durable that this replica is in doubt (KER-9). */
  persistDoubt(reason: string, done: () => void): void {
    this.#owner.enqueueDoubt(this, reason, done);
  }

  /** Makes it durable that this replica is in quarantine, or no longer; `done` is told when it is. */
  persistQuarantine(quarantine: Omit<QuarantineRow, 'incarnation'>, done: () => void): void {
    const row = { ...quarantine, incarnation: this.incarnation };
    this.quarantine = row;
    const { partitionId } = this;
    this.#owner.enqueueRecord({ kind: 'quarantine', partitionId, ...row }, done);
  }

  /** Makes it durable that this replica applies and reads nothing, or does again; `done` is told when it is. */
  persistHold(hold: Omit<HoldRow, 'incarnation'>, done: () => void): void {
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
    assert(batch.lastIndex <= this.#lastIndex, 'only entries of the log are repaired');
    assert(batch.lastIndex >= batch.firstIndex && batch.bytes.length > 0, 'a repair has entries');
    this.#owner.enqueueAppend({ log: this, batch, appendSequence: undefined, done });
  }

  /** A committed entry changed the mode; recorded in the ledger, so that its epoch outlives the process. */
  changeDurabilityMode(change: DurabilityModeChange): void {
    this.#durabilityMode = change.mode;
    this.#owner.enqueueDurabilityMode(this, change);
  }

  /** Makes entries durable. */
  append(batch: FrameBatch, appendSequence: number): void {
    assert(batch.firstIndex === this.#lastIndex + 1, 'an append continues the log');
    assert(batch.lastIndex >= batch.firstIndex && batch.bytes.length > 0, 'an append has entries');
    this.#lastIndex = batch.lastIndex;
    this.frameBytes += batch.bytes.length;
    this.#owner.enqueueAppend({ log: this, batch, appendSequence, done: undefined });
  }

  /** Drops entries from `fromIndex` on; they were never committed. */
  truncateFrom(fromIndex: LogIndex): void {
    assert(fromIndex > this.commitIndex, 'a committed entry is never truncated');
    if (fromIndex > this.#lastIndex) return;
    this.#lastIndex = (fromIndex - 1) as LogIndex;
    this.#owner.truncate(this, fromIndex);
  }

  /** Why a client's entry of this size is not taken in, if so (`CLUSTOR_DISK_HARD`). */
  refusal(bytes: number): string | undefined {
    return this.#owner.refusal(this, bytes);
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
