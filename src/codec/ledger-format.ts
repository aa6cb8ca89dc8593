/**
 * The durability ledger: `wal/durability.log`.
 *
 * ```
 * file    header 4,096 twice · flushes
 * header  magic 8 · version u8 · reserved 7 · cluster 16 · node u64 · generation u64 · mac_epoch u32 · crc32c u32 · zero
 * flush   whole 4,096 blocks, written twice in different blocks under one sync:
 *         magic u32 · generation u64 · flush_seq u64 · synced_flush_seq u64 · segment_seq u64 · end_offset u64 ·
 *         io_writer_mode u8 · reserved 3 · len u32 · crc32c u32 (over the header with crc 0 ‖ records) · records · zero
 * record  kind u8 · len u16 · payload
 * ```
 * `end_offset` is the journal position behind the data that this flush covers: everything before it was synced before this
 * flush was written (specification §5.5). A flush starts only after the one before is synced, so the newest flush that must
 * exist is the newest that a good flush knew as synced; a bad flush that nobody knew was a torn write and is cut.
 */
import { assert } from '../base/assert.ts';
import { ByteReader, type ByteWriter } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import { ClustorError } from '../base/errors.ts';
import type {
  ClusterId,
  Incarnation,
  LogIndex,
  NodeId,
  PartitionId,
  ReplicaId,
  Term,
} from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import { durabilityModes, type DurabilityMode } from '../base/durability-mode.ts';
import type { IoWriterMode } from '../ports/file-system.ts';
import { readStored } from './stored-fields.ts';
import { readConfiguration, writeConfiguration } from './system-entry.ts';

/** Bytes of a ledger block. */
export const ledgerBlockBytes = 4096;
/** Bytes in front of the first flush. */
export const ledgerHeaderBytes: number = 2 * ledgerBlockBytes;

const fileMagic = Uint8Array.of(0x43, 0x4c, 0x53, 0x54, 0x52, 0x4c, 0x44, 0x47);
const flushMagic = 0x4853_4c46;
const formatVersion = 1;
const flushHeaderBytes = 56;
const crcOffset = 52;
const two32 = 0x1_0000_0000;
const noCrc = new Uint8Array(4);
const fileCrcOffset = 52;
const recordBytesMax = 0xffff;
/** A longer reason is cut when it is written; a UTF-16 unit has at most three bytes. */
const doubtReasonLengthMax = 256;
const doubtReasonBytesMax = 1024;
const modes: readonly IoWriterMode[] = ['Direct', 'Pooled', 'Blocking'];

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
    };

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
};

/** What the ledger file's header says. */
export interface LedgerFileHeader {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly generation: number;
}

/** What a flush's header says. */
export interface LedgerFlushHeader {
  readonly generation: number;
  readonly flushSeq: number;
  readonly syncedFlushSeq: number;
  readonly segmentSeq: number;
  readonly endOffset: number;
  readonly ioWriterMode: IoWriterMode;
}

/** A flush that was read. */
export interface LedgerFlush extends LedgerFlushHeader {
  /** Blocks of one copy. */
  readonly blocks: number;
  readonly records: readonly LedgerRecord[];
}

/** Writes the file header (one copy, 4,096 bytes) behind what `writer` holds. */
export function writeLedgerFileHeader(writer: ByteWriter, header: LedgerFileHeader): void {
  const start = writer.length;
  writer.raw(fileMagic);
  writer.u8(formatVersion);
  writer.zeros(7);
  writer.uuid(header.clusterId);
  writer.u64(header.nodeId);
  writer.u64(header.generation);
  writer.u32(0);
  writer.u32(0);
  writer.zeros(ledgerBlockBytes - (writer.length - start));
  writer.patchU32(start + fileCrcOffset, writer.crc(start, start + fileCrcOffset));
}

/** Reads one copy of the file header, or `undefined` when it is damaged. @throws ClustorError `CLUSTOR_FORMAT_UNSUPPORTED`, `CLUSTOR_INTEGRITY`. */
export function readLedgerFileHeader(
  bytes: Uint8Array,
  offset: number,
): LedgerFileHeader | undefined {
  if (bytes.length < offset + ledgerBlockBytes) return undefined;
  const reader = new ByteReader(bytes, offset);
  if (!fileMagic.every((value) => reader.u8() === value)) return undefined;
  const stored = new DataView(bytes.buffer, bytes.byteOffset + offset).getUint32(
    fileCrcOffset,
    true,
  );
  if (crc32c(bytes, offset, offset + fileCrcOffset) !== stored) return undefined;
  const version = reader.u8();
  if (version !== formatVersion)
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      `the ledger has format ${version}, this version reads ${formatVersion}`,
    );
  reader.take(7);
  return readStored('a ledger header', () => ({
    clusterId: reader.uuid() as ClusterId,
    nodeId: reader.u64() as NodeId,
    generation: reader.u64(),
  }));
}

/** Begins a flush: the header, to be completed by {@link endLedgerFlush}. Returns where it starts. */
export function beginLedgerFlush(writer: ByteWriter, header: LedgerFlushHeader): number {
  const start = writer.length;
  writer.u32(flushMagic);
  writer.u64(header.generation);
  writer.u64(header.flushSeq);
  writer.u64(header.syncedFlushSeq);
  writer.u64(header.segmentSeq);
  writer.u64(header.endOffset);
  writer.u8(modes.indexOf(header.ioWriterMode));
  writer.zeros(3);
  writer.u32(0);
  writer.u32(0);
  return start;
}

/** Completes one copy of a flush: length, CRC, zeros to the end of its last block. */
export function endLedgerFlush(writer: ByteWriter, start: number): void {
  const end = writer.length;
  writer.patchU32(start + 48, end - start - flushHeaderBytes);
  writer.patchU32(start + crcOffset, writer.crc(start, end));
  const used = (end - start) % ledgerBlockBytes;
  if (used > 0) writer.zeros(ledgerBlockBytes - used);
}

/**
 * Reads the flush at `offset`, or `undefined` when none or a damaged one stands there, or one of another generation than
 * the one wanted, if any is. @throws ClustorError `CLUSTOR_FORMAT_UNSUPPORTED`, `CLUSTOR_INTEGRITY`.
 */
export function readLedgerFlush(
  bytes: Uint8Array,
  offset: number,
  wantedGeneration?: number,
): LedgerFlush | undefined {
  if (bytes.length < offset + ledgerBlockBytes) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset);
  if (view.getUint32(0, true) !== flushMagic) return undefined;
  // A file that is used again is full of flushes of older generations: those are not even checked.
  if (wantedGeneration !== undefined && view.getUint32(4, true) !== wantedGeneration % two32)
    return undefined;
  const length = view.getUint32(48, true);
  const total = flushHeaderBytes + length;
  if (offset + total > bytes.length) return undefined;
  // The CRC is over the flush with zeros in the place of the CRC.
  const crcStart = offset + crcOffset;
  const crcBefore = crc32c(noCrc, 0, noCrc.length, crc32c(bytes, offset, crcStart));
  if (crc32c(bytes, crcStart + 4, offset + total, crcBefore) !== view.getUint32(crcOffset, true))
    return undefined;
  const reader = new ByteReader(bytes, offset + 4, offset + total);
  const blocks = Math.ceil(total / ledgerBlockBytes);
  return readStored('a ledger flush', () => readFlush(reader, blocks));
}

function readFlush(reader: ByteReader, blocks: number): LedgerFlush {
  const generation = reader.u64();
  const flushSeq = reader.u64();
  const syncedFlushSeq = reader.u64();
  const segmentSeq = reader.u64();
  const endOffset = reader.u64();
  const ioWriterMode = modes[reader.u8()];
  if (ioWriterMode === undefined) throw unknown('writer mode');
  reader.take(flushHeaderBytes - 45);
  return {
    generation,
    flushSeq,
    syncedFlushSeq,
    segmentSeq,
    endOffset,
    ioWriterMode,
    blocks,
    records: readRecords(reader),
  };
}

function unknown(what: string): ClustorError {
  return new ClustorError('CLUSTOR_FORMAT_UNSUPPORTED', `the ledger has an unknown ${what}`);
}

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
      writer.uuid(record.partitionId);
      writer.u8(durabilityModes.indexOf(record.mode));
      writer.u32(record.epoch);
      writer.u64(record.index);
      return;
  }
}

function readRecords(reader: ByteReader): LedgerRecord[] {
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
      return {
        kind: 'segmentClosed',
        segmentSeq: reader.u64(),
        endOffset: reader.u64(),
        trailerOffset: reader.u64(),
        blocksSpent: reader.u64(),
      };
    case kinds.doubt:
      return {
        kind: 'doubt',
        partitionId: reader.uuid() as PartitionId,
        incarnation: reader.uuid() as Incarnation,
        reason: reader.text(doubtReasonBytesMax),
      };
    case kinds.durabilityTransition:
      return readTransition(reader);
    default:
      throw unknown(`kind of record, ${kind}`);
  }
}

function readTransition(reader: ByteReader): LedgerRecord {
  const partitionId = reader.uuid() as PartitionId;
  const mode = durabilityModes[reader.u8()];
  if (mode === undefined) throw unknown('durability mode');
  const epoch = reader.u32();
  return {
    kind: 'durabilityTransition',
    partitionId,
    mode,
    epoch,
    index: reader.u64() as LogIndex,
  };
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
