/**
 * What the ledger says, folded: the newest of every family that is still needed. Replay fills it, every flush keeps it up to
 * date, and a rotation writes it out as the first flush of the next generation (specification §5.5).
 */
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, LogIndex, PartitionId, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import type { LedgerRecord } from '../codec/ledger-format.ts';
import { blockOffset } from '../codec/segment-format.ts';
import type { HardState } from './log-store-types.ts';

/** A place in the journal; positions compare by segment, then offset. */
export interface JournalPosition {
  readonly segmentSeq: number;
  readonly endOffset: number;
}

/** Whether `left` lies before `right`. */
export function isBefore(left: JournalPosition, right: JournalPosition): boolean {
  return (
    left.segmentSeq < right.segmentSeq ||
    (left.segmentSeq === right.segmentSeq && left.endOffset < right.endOffset)
  );
}

/** Frames from `fromIndex` on that stand before the position are dead. */
export interface Truncation {
  readonly fromIndex: LogIndex;
  readonly segmentSeq: number;
  readonly offset: number;
}

/** A segment that the ledger knows. */
export interface SegmentRow {
  readonly segmentSeq: number;
  readonly reservedBlocks: number;
  /** Where it ends; `undefined` while it is the one in use. */
  endOffset: number | undefined;
  /** Where its trailer stands; 0 while it has none that is synced. */
  trailerOffset: number;
}

/**
 * Configurations kept of a partition. A joint phase may be left for the old configuration before its entry was committed;
 * then both entries may be truncated together, and the one before them must still be known.
 */
const configurationsKept = 3;

/** What the ledger says of one partition. */
export interface PartitionRow {
  hardState: HardState | undefined;
  durabilityModeEpoch: number;
  /** Newest last, at most {@link configurationsKept}. */
  configurations: readonly Configuration[];
  base: { readonly index: LogIndex; readonly term: Term } | undefined;
  durability:
    { readonly term: Term; readonly index: LogIndex; readonly commitIndex: LogIndex } | undefined;
  /** Ascending in index and position; a newer one swallows older ones from the same or a higher index. */
  truncations: readonly Truncation[];
  readonly doubts: Map<Incarnation, string>;
}

/** See the file comment. */
export class LedgerImage {
  readonly segments: Map<number, SegmentRow> = new Map<number, SegmentRow>();
  readonly partitions: Map<PartitionId, PartitionRow> = new Map<PartitionId, PartitionRow>();
  #coverage: JournalPosition = { segmentSeq: 0, endOffset: 0 };

  /** The largest journal position that any flush covered. */
  get coverage(): JournalPosition {
    return this.#coverage;
  }

  /** Takes in a flush's coverage. */
  cover(position: JournalPosition): void {
    if (isBefore(this.#coverage, position)) this.#coverage = position;
  }

  /** The row of a partition, made if missing. */
  row(partitionId: PartitionId): PartitionRow {
    let row = this.partitions.get(partitionId);
    if (row === undefined) {
      row = {
        hardState: undefined,
        durabilityModeEpoch: 0,
        configurations: [],
        base: undefined,
        durability: undefined,
        truncations: [],
        doubts: new Map(),
      };
      this.partitions.set(partitionId, row);
    }
    return row;
  }

  /** Takes in one record. @throws ClustorError `CLUSTOR_INTEGRITY` where records contradict each other. */
  apply(record: LedgerRecord): void {
    switch (record.kind) {
      case 'segmentOpened':
        this.segments.set(record.segmentSeq, {
          segmentSeq: record.segmentSeq,
          reservedBlocks: record.reservedBlocks,
          endOffset: undefined,
          trailerOffset: 0,
        });
        return;
      case 'segmentClosed': {
        const segment = this.segments.get(record.segmentSeq);
        if (segment === undefined)
          throw new ClustorError(
            'CLUSTOR_INTEGRITY',
            `the ledger closes segment ${record.segmentSeq}, which it never opened`,
          );
        segment.endOffset = record.endOffset;
        segment.trailerOffset = record.trailerOffset;
        return;
      }
      case 'hardState':
        this.#applyHardState(record);
        return;
      case 'durability':
        this.#applyDurability(record);
        return;
      case 'truncated':
        this.#applyTruncated(record);
        return;
      case 'configuration': {
        const row = this.row(record.partitionId);
        const older = row.configurations.filter(
          (configuration) => configuration.index < record.configuration.index,
        );
        row.configurations = [...older.slice(1 - configurationsKept), record.configuration];
        return;
      }
      case 'snapshotBase':
        this.row(record.partitionId).base = { index: record.index, term: record.term };
        return;
      case 'doubt':
        this.row(record.partitionId).doubts.set(record.incarnation, record.reason);
        return;
    }
  }

  /** Forgets a segment whose file may go. */
  retireSegment(segmentSeq: number): void {
    this.segments.delete(segmentSeq);
  }

  /** Everything still needed, as records of a generation's first flush. */
  records(): LedgerRecord[] {
    const records: LedgerRecord[] = [];
    for (const segment of this.segments.values()) {
      records.push({
        kind: 'segmentOpened',
        segmentSeq: segment.segmentSeq,
        reservedBlocks: segment.reservedBlocks,
      });
      if (segment.endOffset !== undefined)
        records.push(
          segmentClosedRecord(segment.segmentSeq, segment.endOffset, segment.trailerOffset),
        );
    }
    for (const [partitionId, row] of this.partitions) {
      if (row.hardState !== undefined) {
        records.push({
          kind: 'hardState',
          partitionId,
          ...row.hardState,
          durabilityModeEpoch: row.durabilityModeEpoch,
        });
      }
      if (row.base !== undefined) records.push({ kind: 'snapshotBase', partitionId, ...row.base });
      for (const truncation of row.truncations)
        records.push({ kind: 'truncated', partitionId, ...truncation });
      for (const configuration of row.configurations)
        records.push({ kind: 'configuration', partitionId, configuration });
      if (row.durability !== undefined)
        records.push({ kind: 'durability', partitionId, ...row.durability });
      for (const [incarnation, reason] of row.doubts)
        records.push({ kind: 'doubt', partitionId, incarnation, reason });
    }
    return records;
  }

  #applyHardState(record: Extract<LedgerRecord, { kind: 'hardState' }>): void {
    const row = this.row(record.partitionId);
    if (row.hardState !== undefined && record.term < row.hardState.term) {
      throw new ClustorError(
        'CLUSTOR_INTEGRITY',
        `the ledger's term of partition ${record.partitionId} falls from ${row.hardState.term} to ${record.term}`,
      );
    }
    row.hardState = { term: record.term, votedFor: record.votedFor };
    row.durabilityModeEpoch = record.durabilityModeEpoch;
  }

  #applyDurability(record: Extract<LedgerRecord, { kind: 'durability' }>): void {
    const row = this.row(record.partitionId);
    if (row.durability !== undefined && record.index < row.durability.index) {
      throw new ClustorError(
        'CLUSTOR_INTEGRITY',
        `the ledger's durable index of partition ${record.partitionId} falls without a truncation`,
      );
    }
    row.durability = { term: record.term, index: record.index, commitIndex: record.commitIndex };
  }

  #applyTruncated(record: Extract<LedgerRecord, { kind: 'truncated' }>): void {
    const row = this.row(record.partitionId);
    const { fromIndex, segmentSeq, offset } = record;
    row.truncations = [
      ...row.truncations.filter((older) => older.fromIndex < fromIndex),
      { fromIndex, segmentSeq, offset },
    ];
    row.configurations = row.configurations.filter(
      (configuration) => configuration.index < fromIndex,
    );
    const { durability } = row;
    if (durability !== undefined && durability.index >= fromIndex) {
      const index = (fromIndex - 1) as LogIndex;
      // Only a life that nobody counts any more is cut below what it knew to be committed.
      const commitIndex = Math.min(durability.commitIndex, index) as LogIndex;
      row.durability = { ...durability, index, commitIndex };
    }
  }
}

/** The record that ends a segment, and names its trailer once there is one. */
export function segmentClosedRecord(
  segmentSeq: number,
  endOffset: number,
  trailerOffset = 0,
): LedgerRecord {
  return {
    kind: 'segmentClosed',
    segmentSeq,
    endOffset,
    trailerOffset,
    blocksSpent: (endOffset - blockOffset(0)) / (blockOffset(1) - blockOffset(0)),
  };
}
