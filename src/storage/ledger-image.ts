/**
 * What the ledger says, folded: the newest of every family that is still needed. Replay fills it, every flush keeps it up to
 * date, and a rotation writes it out as the first flush of the next generation (specification §5.5).
 */
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, LogIndex, PartitionId, Term } from '../base/ids.ts';
import { cutRange, withoutRange, type IndexRange } from '../base/index-ranges.ts';
import type { Configuration } from '../base/membership.ts';
import { withHold, type HoldRow } from '../codec/hold-record.ts';
import type { LedgerRecord, MoveCause, QuarantineRow } from '../codec/ledger-records.ts';
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
  /** Its sealing anew under another key, once that has begun. */
  rewriting: { readonly dekEpoch: number; readonly reservedBlocks: number } | undefined;
  /** Block numbers that were reserved for it or for its rewriting, and are never used (specification §8.2). */
  readonly abandoned: NonceAbandon[];
}

/** A reservation of block numbers that was given up. */
export type NonceAbandon = Omit<
  Extract<LedgerRecord, { kind: 'nonceAbandon' }>,
  'kind' | 'segmentSeq'
>;
/** Entries whose place is another segment than the one that they were first written to. */
export interface MovedRange extends IndexRange {
  readonly lastTerm: Term;
  readonly toSegment: number;
  readonly endOffset: number;
  readonly cause: MoveCause;
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
    | { readonly term: Term; readonly index: LogIndex; readonly commitIndex: LogIndex }
    | undefined;
  /** Ascending in index and position; a newer one swallows older ones from the same or a higher index. */
  truncations: readonly Truncation[];
  readonly doubts: Map<Incarnation, string>;
  /** Where entries were moved to, by rising index; a newer move of an entry swallows an older one. */
  moved: readonly MovedRange[];
  /** The newest `Integrity` quarantine, in force or over. */
  quarantine: QuarantineRow | undefined;
  /** The newest hold of each reason, in force or over: whoever ended it stays on record. */
  holds: readonly HoldRow[];
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
        moved: [],
        quarantine: undefined,
        holds: [],
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
          rewriting: undefined,
          abandoned: [],
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
      case 'nonceAbandon':
        this.#applyAbandon(record);
        return;
      case 'segmentRewriting': {
        const segment = this.segments.get(record.segmentSeq);
        const { dekEpoch, reservedBlocks } = record;
        if (segment !== undefined) segment.rewriting = { dekEpoch, reservedBlocks };
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
      case 'configuration':
        this.#applyConfiguration(record);
        return;
      case 'snapshotBase':
        this.#applyBase(record);
        return;
      case 'segmentRetired':
        this.segments.delete(record.segmentSeq);
        return;
      case 'doubt':
        this.row(record.partitionId).doubts.set(record.incarnation, record.reason);
        return;
      case 'durabilityTransition': {
        const row = this.row(record.partitionId);
        row.durabilityModeEpoch = Math.max(row.durabilityModeEpoch, record.epoch);
        return;
      }
      case 'rangeMoved':
        this.#applyRangeMoved(record);
        return;
      case 'quarantine':
      case 'hold':
        this.#applyQuarantine(record);
        return;
    }
  }

  /** Whether a truncation made the entry dead that begins in that block of that segment. */
  readonly isDead = (
    segmentSeq: number,
    at: {
      readonly partitionId: PartitionId;
      readonly firstIndex: LogIndex;
      readonly block: number;
    },
  ): boolean => {
    const place = { segmentSeq, endOffset: blockOffset(at.block) };
    return (this.partitions.get(at.partitionId)?.truncations ?? []).some(
      ({ fromIndex, segmentSeq: seq, offset }) =>
        fromIndex <= at.firstIndex && isBefore(place, { segmentSeq: seq, endOffset: offset }),
    );
  };

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
      const { segmentSeq } = segment;
      for (const abandoned of segment.abandoned)
        records.push({ kind: 'nonceAbandon', segmentSeq, ...abandoned });
      if (segment.rewriting !== undefined)
        records.push({ kind: 'segmentRewriting', segmentSeq, ...segment.rewriting });
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
      for (const range of row.moved) records.push({ kind: 'rangeMoved', partitionId, ...range });
      if (row.quarantine !== undefined)
        records.push({ kind: 'quarantine', partitionId, ...row.quarantine });
      for (const hold of row.holds) records.push({ kind: 'hold', partitionId, ...hold });
    }
    return records;
  }

  /** What lies below a base is needed by nobody, and was committed. */
  #applyBase({ partitionId, index, term }: Extract<LedgerRecord, { kind: 'snapshotBase' }>): void {
    const row = this.row(partitionId);
    if (row.base !== undefined && index < row.base.index)
      throw new ClustorError(
        'CLUSTOR_INTEGRITY',
        `the log of partition ${partitionId} begins behind entry ${row.base.index}, and behind ${index} later`,
      );
    row.base = { index, term };
    this.#forget(partitionId, { firstIndex: 0 as LogIndex, lastIndex: index });
    // Of frames that a truncation made dead only those above the base could still be taken for live ones.
    const above = (index + 1) as LogIndex;
    const raised = row.truncations.filter(({ fromIndex }) => fromIndex <= above).at(-1);
    if (raised !== undefined)
      row.truncations = [
        { ...raised, fromIndex: above },
        ...row.truncations.filter(({ fromIndex }) => fromIndex > above),
      ];
    const { durability } = row;
    row.durability =
      durability === undefined || durability.index < index
        ? { term, index, commitIndex: index }
        : {
            ...durability,
            commitIndex: Math.max(durability.commitIndex, index) as LogIndex,
          };
  }

  #applyQuarantine(record: Extract<LedgerRecord, { kind: 'quarantine' | 'hold' }>): void {
    const row = this.row(record.partitionId);
    const { kind: _kind, partitionId: _partitionId, ...fields } = record;
    if ('reason' in fields) row.holds = withHold(row.holds, fields);
    else row.quarantine = fields;
  }

  /** Kept with its segment, as a sum for each reason. */
  #applyAbandon(record: Extract<LedgerRecord, { kind: 'nonceAbandon' }>): void {
    const segment = this.segments.get(record.segmentSeq);
    if (segment === undefined) return;
    const { reason, reservedBlocks, blocksSpent } = record;
    const at = segment.abandoned.findIndex((known) => known.reason === reason);
    const known = segment.abandoned[at];
    if (reason === 'rewriteInterrupted') segment.rewriting = undefined;
    if (known === undefined) segment.abandoned.push({ reason, reservedBlocks, blocksSpent });
    else
      segment.abandoned[at] = {
        reason,
        reservedBlocks: known.reservedBlocks + reservedBlocks,
        blocksSpent: known.blocksSpent + blocksSpent,
      };
  }

  #applyConfiguration({
    partitionId,
    configuration,
  }: Extract<LedgerRecord, { kind: 'configuration' }>): void {
    const row = this.row(partitionId);
    const older = row.configurations.filter(({ index }) => index < configuration.index);
    row.configurations = [...older.slice(1 - configurationsKept), configuration];
  }

  #applyRangeMoved(record: Extract<LedgerRecord, { kind: 'rangeMoved' }>): void {
    const { kind: _kind, partitionId, ...range } = record;
    this.#forget(partitionId, range);
    const row = this.row(partitionId);
    row.moved = joined([...row.moved, range]);
  }

  /** Entries of the range are not where they were said to be, and no longer missing either. */
  #forget(partitionId: PartitionId, range: IndexRange): void {
    const row = this.row(partitionId);
    row.moved = row.moved.flatMap((moved) => cutRange(moved, range));
    if (row.quarantine !== undefined)
      row.quarantine = {
        ...row.quarantine,
        ranges: withoutRange(row.quarantine.ranges, range),
      };
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
    // It names the epoch that was known when it was handed over: a change that waited before it counts by now (KER-8).
    row.durabilityModeEpoch = Math.max(row.durabilityModeEpoch, record.durabilityModeEpoch);
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
    // Another life begins: its log has a beginning of its own.
    if (row.base !== undefined && fromIndex <= row.base.index) row.base = undefined;
    this.#forget(record.partitionId, {
      firstIndex: fromIndex,
      lastIndex: Number.MAX_SAFE_INTEGER as LogIndex,
    });
    const { durability } = row;
    if (durability !== undefined && durability.index >= fromIndex) {
      const index = (fromIndex - 1) as LogIndex;
      // Only a life that nobody counts any more is cut below what it knew to be committed.
      const commitIndex = Math.min(durability.commitIndex, index) as LogIndex;
      row.durability = { ...durability, index, commitIndex };
    }
  }
}

/** By rising index; moves into one segment that follow each other are one. */
function joined(moved: readonly MovedRange[]): MovedRange[] {
  const rows: MovedRange[] = [];
  for (const range of [...moved].sort((left, right) => left.firstIndex - right.firstIndex)) {
    const newest = rows[rows.length - 1];
    if (
      newest?.toSegment === range.toSegment &&
      newest.cause === range.cause &&
      newest.lastIndex + 1 === range.firstIndex
    )
      rows[rows.length - 1] = { ...range, firstIndex: newest.firstIndex };
    else rows.push(range);
  }
  return rows;
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
