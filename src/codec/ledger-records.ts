/**
 * The records of the durability ledger: what each kind says, and its bytes.
 *
 * A record is `kind u8 · len u16 · payload`; where it stands and what covers it is the business of `ledger-format`.
 */
import { assert } from '../base/assert.ts';
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { durabilityModes, type DurabilityMode } from '../base/durability-mode.ts';
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, LogIndex, PartitionId, ReplicaId, Term } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import type { Configuration } from '../base/membership.ts';
import { readHold, writeHold, type HoldRow } from './hold-record.ts';
import { readConfiguration, writeConfiguration } from './system-entry.ts';

const recordBytesMax = 0xffff;
/** A longer reason is cut when it is written; a UTF-16 unit has at most three bytes. */
const doubtReasonLengthMax = 256;
const doubtReasonBytesMax = 1024;
/** Cause of a `rangeMoved`; 1 is kept for copies made by compaction. */
const movedByRepair = 2;
/** Reason of a `quarantine` record: the others have records of their own. */
const integrityReason = 1;

/** A vote as it stands in the ledger. */
export interface LedgerVote {
  readonly replicaId: ReplicaId;
  readonly incarnation: Incarnation;
}

/** One ledger record. */
export type LedgerRecord =
  | {
      readonly kind: 'hardState';
      readonly partitionId: PartitionId;
      readonly term: Term;
      readonly votedFor: LedgerVote | undefined;
      readonly durabilityModeEpoch: number;
    }
  | {
      readonly kind: 'durability';
      readonly partitionId: PartitionId;
      readonly term: Term;
      readonly index: LogIndex;
      readonly commitIndex: LogIndex;
    }
  | {
      readonly kind: 'truncated';
      readonly partitionId: PartitionId;
      readonly fromIndex: LogIndex;
      readonly segmentSeq: number;
      readonly offset: number;
    }
  | {
      readonly kind: 'configuration';
      readonly partitionId: PartitionId;
      readonly configuration: Configuration;
    }
  | {
      readonly kind: 'snapshotBase';
      readonly partitionId: PartitionId;
      readonly index: LogIndex;
      readonly term: Term;
    }
  | { readonly kind: 'segmentOpened'; readonly segmentSeq: number; readonly reservedBlocks: number }
  | {
      readonly kind: 'segmentClosed';
      readonly segmentSeq: number;
      readonly endOffset: number;
      readonly trailerOffset: number;
      readonly blocksSpent: number;
    }
  | {
      readonly kind: 'doubt';
      readonly partitionId: PartitionId;
      readonly incarnation: Incarnation;
      readonly reason: string;
    }
  | {
      readonly kind: 'durabilityTransition';
      readonly partitionId: PartitionId;
      readonly mode: DurabilityMode;
      readonly epoch: number;
      readonly index: LogIndex;
    }
  | {
      /** Block numbers of a segment, or of its rewriting, that were reserved and are never used. */
      readonly kind: 'nonceAbandon';
      readonly segmentSeq: number;
      readonly reason: NonceAbandonReason;
      readonly reservedBlocks: number;
      readonly blocksSpent: number;
    }
  | {
      /** A closed segment is sealed anew under another key, in a file beside it; synced before its first block. */
      readonly kind: 'segmentRewriting';
      readonly segmentSeq: number;
      readonly dekEpoch: number;
      readonly reservedBlocks: number;
    }
  /** Where entries of a repair were written; it changes a place, never a last index or a commit (specification §5.5). */
  | ({
      readonly kind: 'rangeMoved';
      readonly partitionId: PartitionId;
      readonly lastTerm: Term;
      readonly toSegment: number;
      readonly endOffset: number;
    } & IndexRange)
  | ({ readonly kind: 'quarantine'; readonly partitionId: PartitionId } & QuarantineRow)
  | ({ readonly kind: 'hold'; readonly partitionId: PartitionId } & HoldRow);

/** A replica's `Integrity` quarantine, or the memory of those that are over (specification §5.6). */
export interface QuarantineRow {
  readonly incarnation: Incarnation;
  readonly isActive: boolean;
  /** Wall time at which the newest one began. */
  readonly sinceMs: number;
  /** Entries that cannot be read, as far as is known; of an active one only. At most {@link quarantineRangesMax}. */
  readonly ranges: readonly IndexRange[];
  /** Wall times at which quarantines of this replica began, the newest last; at most {@link quarantinesKept}. */
  readonly begunMs: readonly number[];
}

/** Ranges that a quarantine record holds at most; more are joined. */
export const quarantineRangesMax = 256;
/** Beginnings of quarantines that are remembered. */
export const quarantinesKept = 8;

/** Why reserved block numbers are given up: the process ended without closing its segment, or in the middle of rewriting one. */
export type NonceAbandonReason = 'uncleanEnd' | 'rewriteInterrupted';

const abandonReasons: readonly NonceAbandonReason[] = ['uncleanEnd', 'rewriteInterrupted'];

const kinds: Readonly<Record<LedgerRecord['kind'], number>> = {
  hardState: 1,
  durability: 2,
  truncated: 3,
  configuration: 4,
  snapshotBase: 5,
  segmentOpened: 6,
  segmentClosed: 7,
  doubt: 8,
  durabilityTransition: 16,
  rangeMoved: 17,
  quarantine: 18,
  hold: 19,
  nonceAbandon: 20,
  segmentRewriting: 21,
};
/** Writes a record into a flush that has begun. */
export function writeLedgerRecord(writer: ByteWriter, record: LedgerRecord): void {
  const start = writer.length;
  writer.u8(kinds[record.kind]);
  writer.u16(0);
  writePayload(writer, record);
  const payloadBytes = writer.length - start - 3;
  assert(payloadBytes <= recordBytesMax, 'a record fits its length field');
  writer.patchU16(start + 1, payloadBytes);
}

function writePayload(writer: ByteWriter, record: LedgerRecord): void {
  switch (record.kind) {
    case 'hardState':
      writer.uuid(record.partitionId);
      writer.u64(record.term);
      writer.bool(record.votedFor !== undefined);
      writer.u64(record.votedFor?.replicaId ?? 0);
      if (record.votedFor === undefined) writer.zeros(16);
      else writer.uuid(record.votedFor.incarnation);
      writer.u32(record.durabilityModeEpoch);
      return;
    case 'durability':
      writer.uuid(record.partitionId);
      writer.u64(record.term);
      writer.u64(record.index);
      writer.u64(record.commitIndex);
      return;
    case 'truncated':
      writer.uuid(record.partitionId);
      writer.u64(record.fromIndex);
      writer.u64(record.segmentSeq);
      writer.u64(record.offset);
      return;
    case 'configuration':
      writer.uuid(record.partitionId);
      writeConfiguration(writer, record.configuration);
      return;
    case 'snapshotBase':
      writer.uuid(record.partitionId);
      writer.u64(record.index);
      writer.u64(record.term);
      return;
    case 'segmentOpened':
      writer.u64(record.segmentSeq);
      writer.u64(record.reservedBlocks);
      return;
    case 'segmentClosed':
      writer.u64(record.segmentSeq);
      writer.u64(record.endOffset);
      writer.u64(record.trailerOffset);
      writer.u64(record.blocksSpent);
      return;
    case 'doubt':
      writer.uuid(record.partitionId);
      writer.uuid(record.incarnation);
      writer.text(record.reason.slice(0, doubtReasonLengthMax));
      return;
    case 'durabilityTransition':
      writeTransition(writer, record);
      return;
    case 'nonceAbandon':
      writeNonceAbandon(writer, record);
      return;
    case 'segmentRewriting':
      writeSegmentRewriting(writer, record);
      return;
    case 'rangeMoved':
      writeRangeMoved(writer, record);
      return;
    case 'quarantine':
      writer.uuid(record.partitionId);
      writeQuarantine(writer, record);
      return;
    case 'hold':
      writer.uuid(record.partitionId);
      writeHold(writer, record);
      return;
  }
}

function writeNonceAbandon(
  writer: ByteWriter,
  record: Extract<LedgerRecord, { kind: 'nonceAbandon' }>,
): void {
  writer.u64(record.segmentSeq);
  writer.u8(abandonReasons.indexOf(record.reason));
  writer.u64(record.reservedBlocks);
  writer.u64(record.blocksSpent);
}

function writeSegmentRewriting(
  writer: ByteWriter,
  record: Extract<LedgerRecord, { kind: 'segmentRewriting' }>,
): void {
  writer.u64(record.segmentSeq);
  writer.u32(record.dekEpoch);
  writer.u64(record.reservedBlocks);
}

function writeTransition(
  writer: ByteWriter,
  record: Extract<LedgerRecord, { kind: 'durabilityTransition' }>,
): void {
  writer.uuid(record.partitionId);
  writer.u8(durabilityModes.indexOf(record.mode));
  writer.u32(record.epoch);
  writer.u64(record.index);
}

function writeRangeMoved(
  writer: ByteWriter,
  record: Extract<LedgerRecord, { kind: 'rangeMoved' }>,
): void {
  writer.uuid(record.partitionId);
  writer.u64(record.firstIndex);
  writer.u64(record.lastIndex);
  writer.u64(record.lastTerm);
  writer.u64(record.toSegment);
  writer.u64(record.endOffset);
  writer.u8(movedByRepair);
}

function writeQuarantine(writer: ByteWriter, row: QuarantineRow): void {
  assert(row.ranges.length <= quarantineRangesMax, 'the ranges of a quarantine are few');
  assert(row.begunMs.length <= quarantinesKept, 'few quarantines are remembered');
  writer.uuid(row.incarnation);
  writer.u8(integrityReason);
  writer.bool(row.isActive);
  writer.u64(row.sinceMs);
  writer.u16(row.begunMs.length);
  for (const begunMs of row.begunMs) writer.u64(begunMs);
  writer.u16(row.ranges.length);
  for (const { firstIndex, lastIndex } of row.ranges) {
    writer.u64(firstIndex);
    writer.u64(lastIndex);
  }
}

/** Reads the records of a flush. @throws ClustorError `CLUSTOR_FORMAT_UNSUPPORTED` for one of an unknown kind. */
export function readLedgerRecords(reader: ByteReader): LedgerRecord[] {
  const records: LedgerRecord[] = [];
  while (reader.remaining > 0) {
    const kind = reader.u8();
    const payload = reader.section(reader.u16());
    records.push(readPayload(kind, payload));
  }
  return records;
}

function readPayload(kind: number, reader: ByteReader): LedgerRecord {
  switch (kind) {
    case kinds.hardState:
      return readHardState(reader);
    case kinds.durability:
      return {
        kind: 'durability',
        partitionId: reader.uuid() as PartitionId,
        term: reader.u64() as Term,
        index: reader.u64() as LogIndex,
        commitIndex: reader.u64() as LogIndex,
      };
    case kinds.truncated:
      return {
        kind: 'truncated',
        partitionId: reader.uuid() as PartitionId,
        fromIndex: reader.u64() as LogIndex,
        segmentSeq: reader.u64(),
        offset: reader.u64(),
      };
    case kinds.configuration:
      return {
        kind: 'configuration',
        partitionId: reader.uuid() as PartitionId,
        configuration: readConfiguration(reader),
      };
    case kinds.snapshotBase:
      return {
        kind: 'snapshotBase',
        partitionId: reader.uuid() as PartitionId,
        index: reader.u64() as LogIndex,
        term: reader.u64() as Term,
      };
    case kinds.segmentOpened:
      return { kind: 'segmentOpened', segmentSeq: reader.u64(), reservedBlocks: reader.u64() };
    case kinds.segmentClosed:
      return readSegmentClosed(reader);
    case kinds.doubt:
      return {
        kind: 'doubt',
        partitionId: reader.uuid() as PartitionId,
        incarnation: reader.uuid() as Incarnation,
        reason: reader.text(doubtReasonBytesMax),
      };
    case kinds.durabilityTransition:
      return readTransition(reader);
    case kinds.nonceAbandon:
      return readNonceAbandon(reader);
    case kinds.segmentRewriting:
      return readSegmentRewriting(reader);
    case kinds.rangeMoved:
      return readRangeMoved(reader);
    case kinds.quarantine:
      return {
        kind: 'quarantine',
        partitionId: reader.uuid() as PartitionId,
        ...readQuarantine(reader),
      };
    case kinds.hold:
      return { kind: 'hold', partitionId: reader.uuid() as PartitionId, ...readHold(reader) };
    default:
      throw new ClustorError(
        'CLUSTOR_FORMAT_UNSUPPORTED',
        `the ledger has a record of the unknown kind ${kind}`,
      );
  }
}

function readSegmentClosed(reader: ByteReader): LedgerRecord {
  return {
    kind: 'segmentClosed',
    segmentSeq: reader.u64(),
    endOffset: reader.u64(),
    trailerOffset: reader.u64(),
    blocksSpent: reader.u64(),
  };
}

function readTransition(reader: ByteReader): LedgerRecord {
  const partitionId = reader.uuid() as PartitionId;
  const mode = durabilityModes[reader.u8()];
  if (mode === undefined)
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      'the ledger has an unknown durability mode',
    );
  const epoch = reader.u32();
  return {
    kind: 'durabilityTransition',
    partitionId,
    mode,
    epoch,
    index: reader.u64() as LogIndex,
  };
}

function readSegmentRewriting(reader: ByteReader): LedgerRecord {
  return {
    kind: 'segmentRewriting',
    segmentSeq: reader.u64(),
    dekEpoch: reader.u32(),
    reservedBlocks: reader.u64(),
  };
}

function readNonceAbandon(reader: ByteReader): LedgerRecord {
  const segmentSeq = reader.u64();
  const reason = abandonReasons[reader.u8()];
  if (reason === undefined)
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      'the ledger abandons block numbers for an unknown reason',
    );
  return {
    kind: 'nonceAbandon',
    segmentSeq,
    reason,
    reservedBlocks: reader.u64(),
    blocksSpent: reader.u64(),
  };
}

function readRangeMoved(reader: ByteReader): LedgerRecord {
  const record: LedgerRecord = {
    kind: 'rangeMoved',
    partitionId: reader.uuid() as PartitionId,
    firstIndex: reader.u64() as LogIndex,
    lastIndex: reader.u64() as LogIndex,
    lastTerm: reader.u64() as Term,
    toSegment: reader.u64(),
    endOffset: reader.u64(),
  };
  const cause = reader.u8();
  if (cause === movedByRepair) return record;
  throw unsupported(`moves entries for the unknown cause ${cause}`);
}

function readQuarantine(reader: ByteReader): QuarantineRow {
  const incarnation = reader.uuid() as Incarnation;
  const reason = reader.u8();
  if (reason !== integrityReason)
    throw unsupported(`has a quarantine of the unknown reason ${reason}`);
  const isActive = reader.bool();
  const sinceMs = reader.u64();
  const begunMs = Array.from({ length: reader.u16() }, () => reader.u64());
  const ranges = Array.from({ length: reader.u16() }, () => ({
    firstIndex: reader.u64() as LogIndex,
    lastIndex: reader.u64() as LogIndex,
  }));
  return { incarnation, isActive, sinceMs, begunMs, ranges };
}

function unsupported(what: string): ClustorError {
  return new ClustorError('CLUSTOR_FORMAT_UNSUPPORTED', `a ledger record ${what}`);
}

function readHardState(reader: ByteReader): LedgerRecord {
  const partitionId = reader.uuid() as PartitionId;
  const term = reader.u64() as Term;
  const hasVote = reader.bool();
  const vote = { replicaId: reader.u64() as ReplicaId, incarnation: reader.uuid() as Incarnation };
  return {
    kind: 'hardState',
    partitionId,
    term,
    votedFor: hasVote ? vote : undefined,
    durabilityModeEpoch: reader.u32(),
  };
}
