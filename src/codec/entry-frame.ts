/**
 * The frame of one log entry: built once by the leader; the same bytes go to the journal, to every peer and to apply.
 *
 * ```
 * header  12  version u8 = 1 · codec u8 = 0 · flags u16 (bit 0 system entry, bit 1 leaf by BLAKE3) · body_len u32 ·
 *             trailer_len u32 (4 or 36)
 * body        partition_id 16 · term u64 · index u64 · metadata_len u16 · metadata · payload
 * trailer     crc32c u32 over header ‖ body · [Merkle leaf 32 = SHA-256 or BLAKE3 (header ‖ body ‖ crc)]
 * ```
 * All integers little-endian. A frame carries its own partition, term and index, so that a frame found on disk says what
 * it is, and a torn or foreign one is told apart by its CRC. After a crash a frame counts only if it is whole.
 * The functions below work on offsets, without an object per entry.
 */
import { assert } from '../base/assert.ts';
import { readU32, readU64, writeU64 } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import {
  uuidFromBytes,
  uuidToBytes,
  type LogIndex,
  type PartitionId,
  type Term,
} from '../base/ids.ts';
import type { Layout } from './layout.ts';

/** Header of a frame. Frames are written and read by hand, field by field as this and the next tables say. */
export const entryHeaderLayout: Layout = [
  { name: 'version', type: 'u8', note: 'of the format: 1' },
  { name: 'codec', type: 'u8', note: 'of the payload: 0, as it is' },
  {
    name: 'flags',
    type: 'u16',
    note: "bit 0: an entry of the system's own; bit 1: its leaf is by BLAKE3",
  },
  { name: 'bodyBytes', type: 'u32', note: 'bytes of the body' },
  { name: 'trailerBytes', type: 'u32', note: 'bytes of the trailer: 4, or 36 with a leaf' },
];

/** Beginning of a frame's body; metadata and payload follow. */
export const entryBodyLayout: Layout = [
  { name: 'partitionId', type: 'uuid', note: 'the partition' },
  { name: 'term', type: 'u64', note: 'term of the entry' },
  { name: 'index', type: 'u64', note: 'its place in the log of the partition' },
  {
    name: 'metadataBytes',
    type: 'u16',
    note: 'bytes of metadata; the rest of the body is payload',
  },
];

/** Trailer of a frame; without a leaf it ends behind the CRC. */
export const entryTrailerLayout: Layout = [
  { name: 'crc', type: 'u32', note: 'CRC-32C over header and body' },
  {
    name: 'leaf',
    type: 'bytes',
    count: 32,
    note: 'SHA-256, or BLAKE3 where the flag says so, over header, body and CRC',
  },
];

/** Bytes of the header. */
export const entryHeaderBytes = 12;
/** Bytes of a trailer without a leaf. */
export const entryTrailerBytes = 4;
/** Bytes of a trailer with a Merkle leaf. */
export const entryLeafTrailerBytes = 36;
const leafBytes: number = entryLeafTrailerBytes - entryTrailerBytes;
const bodyFixedBytes = 34;
/** Bytes of a frame besides metadata and payload. */
export const entryFrameOverheadBytes: number =
  entryHeaderBytes + bodyFixedBytes + entryTrailerBytes;
/** Largest body: a full entry fits a 4 MiB wire frame. */
export const entryBodyBytesMax: number = 4 * 1024 * 1024 - 4096;
const flagSystem = 1;
const flagBlake3 = 2;
const flagsKnown = flagSystem | flagBlake3;

/** How leaves are hashed. @public */
export type LeafHashName = 'sha256' | 'blake3';

/** Whoever reads leaves needs all: a frame says by which one its leaf was made. Each gives 32 bytes. */
export type LeafHashes = Readonly<Record<LeafHashName, (bytes: Uint8Array) => Uint8Array>>;

/** Which leaves a writer makes, and with what. */
export interface LeafRecipe {
  readonly name: LeafHashName;
  readonly hashes: LeafHashes;
}

/** Fields of an entry to be framed; the object may be reused. */
export interface EntryToFrame {
  readonly term: Term;
  readonly index: LogIndex;
  readonly isSystem: boolean;
  readonly metadata: Uint8Array;
  readonly payload: Uint8Array;
}

/** Writes frames of one partition, with a Merkle leaf each when it is given how to hash one. */
export class EntryFrameWriter {
  readonly #partition = new Uint8Array(16);
  readonly #leaf: LeafRecipe | undefined;
  readonly #leafFlag: number;
  /** Bytes of each frame besides metadata and payload. */
  readonly overheadBytes: number;

  constructor(partitionId: PartitionId, leaf?: LeafRecipe) {
    uuidToBytes(partitionId, this.#partition, 0);
    this.#leaf = leaf;
    this.#leafFlag = leaf?.name === 'blake3' ? flagBlake3 : 0;
    this.overheadBytes = entryFrameOverheadBytes + (leaf === undefined ? 0 : leafBytes);
  }

  /** Writes a frame at `offset` and returns the offset behind it. `view` spans `target`. */
  write(target: Uint8Array, view: DataView, offset: number, entry: EntryToFrame): number {
    const { metadata, payload } = entry;
    const body = offset + entryHeaderBytes;
    view.setUint8(offset, 1);
    view.setUint8(offset + 1, 0);
    view.setUint16(offset + 2, (entry.isSystem ? flagSystem : 0) | this.#leafFlag, true);
    view.setUint32(offset + 4, bodyFixedBytes + metadata.length + payload.length, true);
    const recipe = this.#leaf;
    const trailerBytes = recipe === undefined ? entryTrailerBytes : entryLeafTrailerBytes;
    view.setUint32(offset + 8, trailerBytes, true);
    target.set(this.#partition, body);
    writeU64(view, body + 16, entry.term);
    writeU64(view, body + 24, entry.index);
    view.setUint16(body + 32, metadata.length, true);
    target.set(metadata, body + bodyFixedBytes);
    target.set(payload, body + bodyFixedBytes + metadata.length);
    const end = body + bodyFixedBytes + metadata.length + payload.length;
    view.setUint32(end, crc32c(target, offset, end), true);
    if (recipe !== undefined) {
      const leaf = recipe.hashes[recipe.name](target.subarray(offset, end + entryTrailerBytes));
      assert(leaf.length === leafBytes, 'a leaf has 32 bytes');
      target.set(leaf, end + entryTrailerBytes);
    }
    return end + trailerBytes;
  }
}

/** Length of the frame at `offset`; 0 when fewer bytes are there than it needs, −1 when it cannot be a frame. */
export function frameBytesAt(bytes: Uint8Array, offset: number, end: number): number {
  if (end - offset < entryHeaderBytes) return 0;
  if (bytes[offset] !== 1 || bytes[offset + 1] !== 0) return -1;
  const flags = u16At(bytes, offset + 2);
  if (flags > flagsKnown) return -1;
  const bodyBytes = readU32(bytes, offset + 4);
  const trailerBytes = readU32(bytes, offset + 8);
  if (bodyBytes < bodyFixedBytes || bodyBytes > entryBodyBytesMax) return -1;
  if (trailerBytes !== entryTrailerBytes && trailerBytes !== entryLeafTrailerBytes) return -1;
  if ((flags & flagBlake3) !== 0 && trailerBytes !== entryLeafTrailerBytes) return -1;
  const total = entryHeaderBytes + bodyBytes + trailerBytes;
  if (end - offset < total) return 0;
  const metadataBytes = u16At(bytes, offset + entryHeaderBytes + 32);
  return bodyFixedBytes + metadataBytes > bodyBytes ? -1 : total;
}

/** Length of a frame known to be whole and well-formed. */
export function frameTotalBytes(bytes: Uint8Array, offset: number): number {
  return entryHeaderBytes + readU32(bytes, offset + 4) + readU32(bytes, offset + 8);
}

/** Whether the CRC of a whole frame at `offset` is right. */
export function verifyFrame(bytes: Uint8Array, offset: number): boolean {
  const end = offset + entryHeaderBytes + readU32(bytes, offset + 4);
  return crc32c(bytes, offset, end) === readU32(bytes, end);
}

/** The CRC that a whole frame carries. */
export function frameCrc(bytes: Uint8Array, offset: number): number {
  return readU32(bytes, offset + entryHeaderBytes + readU32(bytes, offset + 4));
}

/** The Merkle leaf that a whole frame carries, if it has one. */
export function frameLeaf(bytes: Uint8Array, offset: number): Uint8Array | undefined {
  if (readU32(bytes, offset + 8) !== entryLeafTrailerBytes) return undefined;
  const end = offset + frameTotalBytes(bytes, offset);
  return bytes.subarray(end - leafBytes, end);
}

/** By what the leaf of a frame is made that has one. */
export function frameLeafHash(bytes: Uint8Array, offset: number): LeafHashName {
  return (u16At(bytes, offset + 2) & flagBlake3) === 0 ? 'sha256' : 'blake3';
}

/** What a leaf is the hash of: header, body and CRC (specification ENT-5). */
export function frameLeafInput(bytes: Uint8Array, offset: number): Uint8Array {
  const end = offset + entryHeaderBytes + readU32(bytes, offset + 4) + entryTrailerBytes;
  return bytes.subarray(offset, end);
}

/** Whether a whole frame has no leaf, or the right one. */
export function verifyLeaf(bytes: Uint8Array, offset: number, hashes: LeafHashes): boolean {
  const leaf = frameLeaf(bytes, offset);
  if (leaf === undefined) return true;
  const right = hashes[frameLeafHash(bytes, offset)](frameLeafInput(bytes, offset));
  return right.length === leafBytes && leaf.every((value, at) => right[at] === value);
}

/** Term of the frame; NaN where it is no safe integer. */
export function frameTerm(bytes: Uint8Array, offset: number): Term {
  return readU64(bytes, offset + entryHeaderBytes + 16) as Term;
}

/** Index of the frame; NaN where it is no safe integer. */
export function frameIndex(bytes: Uint8Array, offset: number): LogIndex {
  return readU64(bytes, offset + entryHeaderBytes + 24) as LogIndex;
}

/** Whether the entry is the system's own. */
export function frameIsSystem(bytes: Uint8Array, offset: number): boolean {
  return ((bytes[offset + 2] ?? 0) & flagSystem) !== 0;
}

/** First byte of the metadata. */
export function frameMetadataStart(_bytes: Uint8Array, offset: number): number {
  return offset + entryHeaderBytes + bodyFixedBytes;
}

/** Behind the last byte of the metadata. */
export function frameMetadataEnd(bytes: Uint8Array, offset: number): number {
  return offset + entryHeaderBytes + bodyFixedBytes + u16At(bytes, offset + entryHeaderBytes + 32);
}

/** First byte of the payload. */
export function framePayloadStart(bytes: Uint8Array, offset: number): number {
  return frameMetadataEnd(bytes, offset);
}

/** Behind the last byte of the payload. */
export function framePayloadEnd(bytes: Uint8Array, offset: number): number {
  return offset + entryHeaderBytes + readU32(bytes, offset + 4);
}

/** Partition of the frame. */
export function framePartitionId(bytes: Uint8Array, offset: number): PartitionId {
  return uuidFromBytes(bytes, offset + entryHeaderBytes) as PartitionId;
}

/** Whether the frame belongs to the partition whose 16 bytes are given. */
export function frameHasPartition(
  bytes: Uint8Array,
  offset: number,
  partition: Uint8Array,
): boolean {
  const at = offset + entryHeaderBytes;
  for (let position = 0; position < 16; position++)
    if (bytes[at + position] !== partition[position]) return false;
  return true;
}

/** What frames behind an append's previous entry must be. */
export interface FrameExpectation {
  readonly partitionId: PartitionId;
  readonly firstIndex: LogIndex;
  readonly count: number;
  readonly prevTerm: Term;
}

/** Verdict on received frames; `termRuns` are flat pairs (first index, term). */
export type FrameCheck =
  | {
      readonly kind: 'good';
      readonly lastTerm: Term;
      readonly termRuns: readonly number[];
      /** Where frames of the system's own entries begin. */
      readonly systemOffsets: readonly number[];
    }
  | { readonly kind: 'bad'; readonly reason: string };

/** Checks received frames: whole, of the partition, contiguous, terms that do not fall, CRCs right, nothing left over. */
export function checkFrames(bytes: Uint8Array, expected: FrameExpectation): FrameCheck {
  const partition = new Uint8Array(16);
  uuidToBytes(expected.partitionId, partition, 0);
  const termRuns: number[] = [];
  const systemOffsets: number[] = [];
  let lastTerm = expected.prevTerm;
  let offset = 0;
  for (let position = 0; position < expected.count; position++) {
    const size = frameBytesAt(bytes, offset, bytes.length);
    if (size <= 0)
      return {
        kind: 'bad',
        reason: `frame ${position} is ${size === 0 ? 'cut short' : 'malformed'}`,
      };
    if (!frameHasPartition(bytes, offset, partition))
      return { kind: 'bad', reason: `frame ${position} belongs to another partition` };
    if (frameIndex(bytes, offset) !== expected.firstIndex + position)
      return { kind: 'bad', reason: `frame ${position} has another index` };
    const term = frameTerm(bytes, offset);
    if (!(term >= lastTerm)) return { kind: 'bad', reason: `the term of frame ${position} falls` };
    if (!verifyFrame(bytes, offset))
      return { kind: 'bad', reason: `the CRC of frame ${position} is wrong` };
    if (term > lastTerm || position === 0) termRuns.push(expected.firstIndex + position, term);
    if (frameIsSystem(bytes, offset)) systemOffsets.push(offset);
    lastTerm = term;
    offset += size;
  }
  return offset === bytes.length
    ? { kind: 'good', lastTerm, termRuns, systemOffsets }
    : { kind: 'bad', reason: 'bytes are left over behind the last frame' };
}

function u16At(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8);
}
