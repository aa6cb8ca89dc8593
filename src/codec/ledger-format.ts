/**
 * The durability ledger: `wal/durability.log`.
 *
 * ```
 * file    header 4,096 twice · flushes
 * header  magic 8 · version u8 · reserved 7 · cluster 16 · node u64 · generation u64 · mac_epoch u32 · crc32c u32 ·
 *         hmac 32 (HMAC-SHA256 over everything before it; zero while mac_epoch is 0) · zero
 * flush   whole 4,096 blocks, written twice in different blocks under one sync:
 *         magic u32 · generation u64 · flush_seq u64 · synced_flush_seq u64 · segment_seq u64 · end_offset u64 ·
 *         io_writer_mode u8 · reserved 3 · len u32 · crc32c u32 (over the header with crc 0 ‖ records) · records · zero
 * record  kind u8 · len u16 · payload
 * ```
 * `end_offset` is the journal position behind the data that this flush covers: everything before it was synced before this
 * flush was written (specification §5.5). A flush starts only after the one before is synced, so the newest flush that must
 * exist is the newest that a good flush knew as synced; a bad flush that nobody knew was a torn write and is cut.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import { ClustorError } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import type { IoWriterMode } from '../ports/file-system.ts';
import { readLedgerRecords, type LedgerRecord } from './ledger-records.ts';
import { readStored } from './stored-fields.ts';

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
const fileMacOffset = 56;
const fileMacBytes = 32;
const modes: readonly IoWriterMode[] = ['Direct', 'Pooled', 'Blocking'];

/** What the ledger file's header says. */
export interface LedgerFileHeader {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly generation: number;
  /** Epoch of the key of its HMAC; 0 where there is none. */
  readonly macEpoch: number;
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

/** Writes the file header (one copy, 4,096 bytes) behind what `writer` holds; `sign` makes its HMAC. */
export function writeLedgerFileHeader(
  writer: ByteWriter,
  header: LedgerFileHeader,
  sign?: (bytes: Uint8Array) => Uint8Array,
): void {
  const fields = new ByteWriter(fileMacOffset);
  fields.raw(fileMagic);
  fields.u8(formatVersion);
  fields.zeros(7);
  fields.uuid(header.clusterId);
  fields.u64(header.nodeId);
  fields.u64(header.generation);
  fields.u32(header.macEpoch);
  fields.u32(fields.crc(0, fileCrcOffset));
  const signed = fields.take();
  writer.raw(signed);
  writer.raw(sign?.(signed) ?? new Uint8Array(fileMacBytes));
  writer.zeros(ledgerBlockBytes - fileMacOffset - fileMacBytes);
}

/** What the HMAC of the header copy at `offset` covers. */
export function ledgerHeaderMacInput(bytes: Uint8Array, offset: number): Uint8Array {
  return bytes.subarray(offset, offset + fileMacOffset);
}

/** The HMAC of the header copy at `offset`. */
export function ledgerHeaderMac(bytes: Uint8Array, offset: number): Uint8Array {
  return bytes.subarray(offset + fileMacOffset, offset + fileMacOffset + fileMacBytes);
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
    macEpoch: reader.u32(),
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
    records: readLedgerRecords(reader),
  };
}

function unknown(what: string): ClustorError {
  return new ClustorError('CLUSTOR_FORMAT_UNSUPPORTED', `the ledger has an unknown ${what}`);
}
