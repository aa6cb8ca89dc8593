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
import {
  layoutBytes,
  numbered,
  offsetOf,
  readLayout,
  storedSource,
  writeLayout,
  type Layout,
} from './layout.ts';
import { readLedgerRecords, type LedgerRecord } from './ledger-records.ts';
import { readStored } from './stored-fields.ts';

/** Bytes of a ledger block. */
export const ledgerBlockBytes = 4096;
/** Bytes in front of the first flush. */
export const ledgerHeaderBytes: number = 2 * ledgerBlockBytes;

const fileMagic = Uint8Array.of(0x43, 0x4c, 0x53, 0x54, 0x52, 0x4c, 0x44, 0x47);
const flushMagic = Uint8Array.of(0x46, 0x4c, 0x53, 0x48);
const flushMagicNumber = 0x4853_4c46;
const formatVersion = 1;
const two32 = 0x1_0000_0000;
const noCrc = new Uint8Array(4);
const fileMacBytes = 32;
const modes: readonly IoWriterMode[] = ['Direct', 'Pooled', 'Blocking'];

/** Fields of the file's header that its CRC covers. */
const fileFields: Layout = [
  { name: 'magic', type: 'constant', bytes: fileMagic, note: '`CLSTRLDG`' },
  { name: 'version', type: 'u8', note: 'of the format: 1' },
  { name: 'reserved', type: 'zeros', count: 7, note: '0' },
  { name: 'clusterId', type: 'uuid', note: 'whose ledger it is: the cluster' },
  { name: 'nodeId', type: 'u64', note: 'and the node' },
  { name: 'generation', type: 'u64', note: 'rises by one with each new file' },
  { name: 'macEpoch', type: 'u32', note: 'epoch of the MAC key; 0 without encryption' },
];
const fileFieldBytes = layoutBytes(fileFields);

/** One copy of the header in front of a ledger's flushes. */
export const ledgerFileHeaderLayout: Layout = [
  ...fileFields,
  { name: 'crc', type: 'u32', note: 'CRC-32C over everything before it' },
  {
    name: 'hmac',
    type: 'bytes',
    count: fileMacBytes,
    note: 'HMAC-SHA256 over everything before it; zeros without encryption',
  },
  {
    name: 'unused',
    type: 'zeros',
    count: ledgerBlockBytes - fileFieldBytes - 4 - fileMacBytes,
    note: 'zeros to the end of the block',
  },
];

/** Fields of a flush's header that are known when it begins. */
const flushFields: Layout = [
  { name: 'magic', type: 'constant', bytes: flushMagic, note: '`FLSH`' },
  {
    name: 'generation',
    type: 'u64',
    note: 'of the file; another one is left from a file that was used again',
  },
  { name: 'flushSeq', type: 'u64', note: 'rises by one with each flush' },
  {
    name: 'syncedFlushSeq',
    type: 'u64',
    note: 'the newest flush that was known to be synced when this one was written',
  },
  { name: 'segmentSeq', type: 'u64', note: 'the flush covers the journal up to this segment' },
  {
    name: 'endOffset',
    type: 'u64',
    note: 'and this offset in it: all before it was synced before',
  },
  {
    name: 'ioWriterMode',
    type: 'enum',
    values: numbered(modes),
    note: 'how it was written: 0 Direct, 1 Pooled, 2 Blocking',
  },
  { name: 'reserved', type: 'zeros', count: 3, note: '0' },
];

/** In front of the records of a flush. */
export const ledgerFlushLayout: Layout = [
  ...flushFields,
  { name: 'recordBytes', type: 'u32', note: 'bytes of the records behind this header' },
  { name: 'crc', type: 'u32', note: 'CRC-32C over this header, with zeros here, and the records' },
];
const flushSource = storedSource('the ledger');
const flushHeaderBytes = layoutBytes(ledgerFlushLayout);
const lengthOffset = offsetOf(ledgerFlushLayout, 'recordBytes');
const crcOffset = offsetOf(ledgerFlushLayout, 'crc');
const fileMacOffset = offsetOf(ledgerFileHeaderLayout, 'hmac');
const fileVersionOffset = offsetOf(fileFields, 'version');

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
  writeLayout(fields, fileFields, { ...header, version: formatVersion });
  fields.u32(fields.crc(0, fileFieldBytes));
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
  if (!fileMagic.every((value, at) => bytes[offset + at] === value)) return undefined;
  const stored = new DataView(bytes.buffer, bytes.byteOffset + offset).getUint32(
    fileFieldBytes,
    true,
  );
  if (crc32c(bytes, offset, offset + fileFieldBytes) !== stored) return undefined;
  const version = bytes[offset + fileVersionOffset];
  if (version !== formatVersion)
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      `the ledger has format ${version ?? 0}, this version reads ${formatVersion}`,
    );
  const what = 'a ledger header';
  const values = readStored(what, () =>
    readLayout(new ByteReader(bytes, offset), fileFields, storedSource(what)),
  );
  const { version: _, ...header } = values;
  return header as unknown as LedgerFileHeader;
}

/** Begins a flush: the header, to be completed by {@link endLedgerFlush}. Returns where it starts. */
export function beginLedgerFlush(writer: ByteWriter, header: LedgerFlushHeader): number {
  const start = writer.length;
  writeLayout(writer, flushFields, header);
  // Length and CRC, when the records are there.
  writer.zeros(flushHeaderBytes - (writer.length - start));
  return start;
}

/** Completes one copy of a flush: length, CRC, zeros to the end of its last block. */
export function endLedgerFlush(writer: ByteWriter, start: number): void {
  const end = writer.length;
  writer.patchU32(start + lengthOffset, end - start - flushHeaderBytes);
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
  if (view.getUint32(0, true) !== flushMagicNumber) return undefined;
  // A file that is used again is full of flushes of older generations: those are not even checked.
  if (wantedGeneration !== undefined && view.getUint32(4, true) !== wantedGeneration % two32)
    return undefined;
  const length = view.getUint32(lengthOffset, true);
  const total = flushHeaderBytes + length;
  if (offset + total > bytes.length) return undefined;
  // The CRC is over the flush with zeros in the place of the CRC.
  const crcStart = offset + crcOffset;
  const crcBefore = crc32c(noCrc, 0, noCrc.length, crc32c(bytes, offset, crcStart));
  if (crc32c(bytes, crcStart + 4, offset + total, crcBefore) !== view.getUint32(crcOffset, true))
    return undefined;
  const reader = new ByteReader(bytes, offset, offset + total);
  const blocks = Math.ceil(total / ledgerBlockBytes);
  return readStored('a ledger flush', () => readFlush(reader, blocks));
}

function readFlush(reader: ByteReader, blocks: number): LedgerFlush {
  const values = readLayout(reader, ledgerFlushLayout, flushSource);
  const { recordBytes: _, crc: __, ...header } = values;
  return {
    ...(header as unknown as LedgerFlushHeader),
    blocks,
    records: readLedgerRecords(reader),
  };
}
