/**
 * A journal segment: `wal/segment-<seq>.log`.
 *
 * ```
 * file   block −1  header, one 4,096-byte plaintext block
 *        block i   bytes [4096·(i+1), 4096·(i+2))
 * header magic 8 · wal_format_version u8 · encryption u8 (0 none, 1 AES-256-GCM) · crypto_block_bytes u16 = 4096 ·
 *        cluster 16 · node u64 · segment_seq u64 · dek_epoch u32 · integrity_mac_epoch u32 · salt 16 · created_ms u64 ·
 *        crc32c u32 · hmac 32 (HMAC-SHA256 over everything before it; zero without encryption) · zero to the end
 * unit   1 to 16 blocks that are sealed together: plain_len u16 · first_frame u16 (offset of the first frame start, 0xFFFF
 *        none) · flags u16 (bit 0 last, bit 1 first of a flush) · reserved u16 · plaintext · tag 16 · zero padding to the
 *        end of a block. It has the number of its first block, and as many blocks as its plaintext needs. In format 1 it is
 *        always one block, with a plaintext ≤ 4,072
 * tag    without encryption: crc32c u32 over (salt ‖ unit number u64 ‖ header ‖ plaintext) · 12 zero bytes; with it see
 *        `encrypted-unit`
 * ```
 * Every flush starts on a fresh block and is a stream of whole frames over the plaintexts of its units. A unit is sealed
 * once and never rewritten; the salt and the number in its tag make a unit of another place or another file a bad one.
 * After a crash, blocks behind the ledger's coverage may be missing, torn or out of order: the first bad unit ends the journal.
 * Behind a bad one a reader looks for the next at each block: how long the bad one was is not known.
 */
import { ByteReader, ByteWriter, writeU64 } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import { ClustorError } from '../base/errors.ts';
import type { ClusterId, NodeId } from '../base/ids.ts';
import {
  layoutBytes,
  offsetOf,
  readLayout,
  storedSource,
  writeLayout,
  type Layout,
} from './layout.ts';
import { readStored } from './stored-fields.ts';

/** Bytes of a block on disk. */
export const blockBytes = 4096;
/** Bytes of a unit's header. */
export const unitHeaderBytes = 8;
/** Blocks of the largest unit: its plaintext's length, and where in it a frame starts, are a u16. */
export const unitBlocksMax = 16;
/** `first_frame` of a unit in which no frame starts. */
export const noFirstFrame = 0xffff;
/** Flag: the last unit of its flush. */
export const flagLastOfFlush = 1;
/** Flag: the first unit of its flush. */
export const flagFirstOfFlush = 2;
/** What a unit holds besides its plaintext: header and tag. */
const unitOverheadBytes = unitHeaderBytes + 16;

const magic = Uint8Array.of(0x43, 0x4c, 0x53, 0x54, 0x52, 0x53, 0x45, 0x47);
const formatVersion = 2;
/** The oldest that is read: its units have one block each. */
const oldestFormatVersion = 1;
const encryptionAesGcm = 1;
const headerMacBytes = 32;

/** Fields of a segment's header that its CRC covers. */
const headerFields: Layout = [
  { name: 'magic', type: 'constant', bytes: magic, note: '`CLSTRSEG`' },
  { name: 'version', type: 'u8', note: 'of the format: 2, or 1 where every unit has one block' },
  { name: 'encryption', type: 'u8', note: '0 none, 1 AES-256-GCM' },
  { name: 'blockBytes', type: 'u16', note: 'bytes of a block: 4,096' },
  { name: 'clusterId', type: 'uuid', note: 'whose segment it is: the cluster' },
  { name: 'nodeId', type: 'u64', note: 'and the node' },
  { name: 'segmentSeq', type: 'u64', note: 'number of the segment, as in its name' },
  { name: 'dekEpoch', type: 'u32', note: 'epoch of the data key; 0 without encryption' },
  { name: 'integrityMacEpoch', type: 'u32', note: 'epoch of the MAC key; 0 without encryption' },
  {
    name: 'salt',
    type: 'bytes',
    count: 16,
    note: 'drawn for this file; part of its key and of every tag',
  },
  { name: 'createdMs', type: 'u64', note: 'wall time, in milliseconds since 1970' },
];

/** The block in front of a segment's blocks. */
export const segmentHeaderLayout: Layout = [
  ...headerFields,
  { name: 'crc', type: 'u32', note: 'CRC-32C over everything before it' },
  {
    name: 'hmac',
    type: 'bytes',
    count: headerMacBytes,
    note: 'HMAC-SHA256 over everything before it; zeros without encryption',
  },
  {
    name: 'unused',
    type: 'zeros',
    count: blockBytes - layoutBytes(headerFields) - 4 - headerMacBytes,
    note: 'zeros to the end of the block',
  },
];

/** In front of the plaintext of a unit. */
export const unitHeaderLayout: Layout = [
  {
    name: 'plainBytes',
    type: 'u16',
    note: 'bytes of plaintext, at most 65,512 (4,072 in format 1); 0 where nothing was ever written',
  },
  {
    name: 'firstFrame',
    type: 'u16',
    note: 'where in the plaintext the first frame starts; 0xFFFF where none does',
  },
  { name: 'flags', type: 'u16', note: 'bit 0: last unit of its flush; bit 1: first one' },
  { name: 'reserved', type: 'zeros', count: 2, note: '0' },
];

const headerFieldBytes = layoutBytes(headerFields);
const headerMacOffset = offsetOf(segmentHeaderLayout, 'hmac');
const versionOffset = offsetOf(headerFields, 'version');

/** What a segment's header says. */
export interface SegmentHeader {
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly segmentSeq: number;
  /** Whether units are sealed with AES-256-GCM; if not, both epochs are 0. */
  readonly isEncrypted: boolean;
  readonly dekEpoch: number;
  readonly integrityMacEpoch: number;
  readonly salt: Uint8Array;
  readonly createdMs: number;
}

/** Name of a segment's file. */
export function segmentFileName(segmentSeq: number): string {
  return `segment-${segmentSeq.toString().padStart(16, '0')}.log`;
}

/** Sequence of a segment's file name, or `undefined` for other names. */
export function segmentSeqOfFileName(name: string): number | undefined {
  const match = /^segment-(\d{16})\.log$/.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** Offset in the file of block `block`. */
export function blockOffset(block: number): number {
  return blockBytes * (block + 1);
}

/** Plaintext that fits a unit of so many blocks. */
export function unitPlainBytesMax(blocks: number): number {
  return blocks * blockBytes - unitOverheadBytes;
}

/** Blocks that a unit takes. */
export function unitBlocks(plainBytes: number): number {
  return Math.ceil((plainBytes + unitOverheadBytes) / blockBytes);
}

/** Seals and opens the units of one segment: one class per way of sealing. */
export interface UnitSuite {
  /** Unit `number` will be sealed next, probably. */
  prepare(number: number): void;
  /** Finishes the unit at `offset` of `target`, whose plaintext stands in place already; the rest is zeroed. */
  seal(target: Uint8Array, offset: number, unit: UnitToSeal): void;
  /**
   * The plaintext length of the unit at `offset`, or 0 when it is unwritten, cut, torn, rotten or foreign. The plaintext then
   * stands in place; a unit opens once.
   */
  open(bytes: Uint8Array, offset: number, number: number): number;
}

/** What a unit is sealed with. */
export interface UnitToSeal {
  /** That of its first block. */
  readonly number: number;
  readonly plainBytes: number;
  readonly firstFrame: number;
  readonly flags: number;
}

/** Writes a header into the 4,096 zeroed bytes at the start of `target`. */
export function writeSegmentHeader(target: Uint8Array, header: SegmentHeader): void {
  const writer = new ByteWriter(128);
  writeLayout(writer, headerFields, {
    ...header,
    version: formatVersion,
    encryption: header.isEncrypted ? encryptionAesGcm : 0,
    blockBytes,
  });
  const fields = writer.take();
  target.fill(0, 0, blockBytes);
  target.set(fields, 0);
  new DataView(target.buffer, target.byteOffset).setUint32(headerFieldBytes, crc32c(fields), true);
}

/** Reads a header. @throws ClustorError `CLUSTOR_INTEGRITY` or `CLUSTOR_FORMAT_UNSUPPORTED`. */
export function readSegmentHeader(bytes: Uint8Array): SegmentHeader {
  if (bytes.length < blockBytes || !magic.every((value, at) => bytes[at] === value)) {
    throw new ClustorError('CLUSTOR_INTEGRITY', 'a segment does not begin with its magic bytes');
  }
  const crc = new DataView(bytes.buffer, bytes.byteOffset).getUint32(headerFieldBytes, true);
  if (crc32c(bytes, 0, headerFieldBytes) !== crc)
    throw new ClustorError('CLUSTOR_INTEGRITY', 'the CRC of a segment header is wrong');
  const version = bytes[versionOffset];
  if (version === undefined || version < oldestFormatVersion || version > formatVersion)
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      `a segment has format ${version ?? 0}, this version reads ${oldestFormatVersion} to ${formatVersion}`,
    );
  const what = 'a segment header';
  const values = readStored(what, () =>
    readLayout(new ByteReader(bytes), headerFields, storedSource(what)),
  );
  const { encryption, blockBytes: blocksHave, version: _, ...fields } = values;
  if (Number(encryption) > encryptionAesGcm || blocksHave !== blockBytes) {
    throw new ClustorError(
      'CLUSTOR_FORMAT_UNSUPPORTED',
      'a segment is encrypted in another way or has other blocks than this version reads',
    );
  }
  const isEncrypted = encryption === encryptionAesGcm;
  const header = { ...fields, isEncrypted } as SegmentHeader;
  if (isEncrypted !== header.dekEpoch > 0 || isEncrypted !== header.integrityMacEpoch > 0)
    throw new ClustorError('CLUSTOR_INTEGRITY', 'the key epochs of a segment header make no sense');
  return header;
}

/** What the HMAC of a header covers. */
export function segmentHeaderMacInput(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(0, headerMacOffset);
}

/** Where the HMAC of a header stands. */
export function segmentHeaderMac(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(headerMacOffset, headerMacOffset + headerMacBytes);
}

/** Seals and opens units of one segment without encryption. */
export class UnitSealer implements UnitSuite {
  readonly #saltCrc: number;
  readonly #number = new Uint8Array(8);
  readonly #numberView = new DataView(this.#number.buffer);

  constructor(salt: Uint8Array) {
    this.#saltCrc = crc32c(salt);
  }

  prepare(): void {
    // A sum needs no preparation.
  }

  seal(target: Uint8Array, offset: number, unit: UnitToSeal): void {
    const end = writeUnitHeader(target, offset, unit);
    new DataView(target.buffer, target.byteOffset + end, 4).setUint32(
      0,
      this.#tag(target, offset, unit),
      true,
    );
  }

  open(bytes: Uint8Array, offset: number, number: number): number {
    const plainBytes = claimedPlainBytes(bytes, offset);
    if (plainBytes === 0) return 0;
    const end = offset + unitHeaderBytes + plainBytes;
    const stored = new DataView(bytes.buffer, bytes.byteOffset + end, 4).getUint32(0, true);
    return this.#tag(bytes, offset, { number, plainBytes }) === stored ? plainBytes : 0;
  }

  #tag(
    bytes: Uint8Array,
    offset: number,
    unit: { readonly number: number; readonly plainBytes: number },
  ): number {
    writeU64(this.#numberView, 0, unit.number);
    const seed = crc32c(this.#number, 0, 8, this.#saltCrc);
    return crc32c(bytes, offset, offset + unitHeaderBytes + unit.plainBytes, seed);
  }
}

/** Writes a unit's header and zeroes what is behind its plaintext; returns where that ends. */
export function writeUnitHeader(target: Uint8Array, offset: number, unit: UnitToSeal): number {
  const view = new DataView(target.buffer, target.byteOffset + offset, unitHeaderBytes);
  view.setUint16(0, unit.plainBytes, true);
  view.setUint16(2, unit.firstFrame, true);
  view.setUint16(4, unit.flags, true);
  view.setUint16(6, 0, true);
  const end = offset + unitHeaderBytes + unit.plainBytes;
  target.fill(0, end, offset + unitBlocks(unit.plainBytes) * blockBytes);
  return end;
}

/** The plaintext length that the unit at `offset` says it has, or 0 when there is no such unit. */
export function claimedPlainBytes(bytes: Uint8Array, offset: number): number {
  const plainBytes = u16(bytes, offset);
  const blocks = unitBlocks(plainBytes);
  return blocks > unitBlocksMax || offset + blocks * blockBytes > bytes.length ? 0 : plainBytes;
}

/** Blocks that the unit at `offset` says it has, whether they are there or not. */
export function claimedBlocks(bytes: Uint8Array, offset: number): number {
  return Math.min(unitBlocksMax, unitBlocks(u16(bytes, offset)));
}

/** Offset of the first frame that starts in the unit at `offset`. */
export function unitFirstFrame(bytes: Uint8Array, offset: number): number {
  return u16(bytes, offset + 2);
}

/** Flags of the unit at `offset`. */
export function unitFlags(bytes: Uint8Array, offset: number): number {
  return u16(bytes, offset + 4);
}

function u16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8);
}
