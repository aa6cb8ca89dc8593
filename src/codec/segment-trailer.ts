/**
 * The trailer of a closed segment: 94 bytes in a 4,096-byte block of its own, the last one of the file (specification §4.1).
 *
 * ```
 * version u8 = 1 · mac_suite_id u8 (0 none, 1 HMAC-SHA256) · segment_seq u64 · first_index u64 · last_index u64
 * · entry_count u32 · entries_crc32c 16 · offsets_crc32c 16 · mac 32 · zero to the end of the block
 * ```
 * A segment is shared by partitions: `first_index` and `last_index` are those of the first and of the last frame in it.
 * *Lanes.* A stream of bytes is cut into little-endian u32 words; word i belongs to lane i mod 4; the last word is padded
 * with zeros once; each lane has a CRC-32C; the four stand as little-endian u32, lane 0 first. `entries` is the stream of
 * header ‖ body of all whole frames, `offsets` the stream of their positions, u64 each, among the bytes of whole frames.
 * *MAC.* HMAC-SHA256 over `segment-mac-v1` (ASCII) ‖ segment_seq ‖ first_index ‖ last_index ‖ entry_count ‖ entries ‖ offsets.
 * Version and suite are not under the MAC and are looked at before it: suite 0, with a zero MAC, is right only in a segment
 * whose header has `integrity_mac_epoch` 0, so that nobody gets rid of a MAC by changing one byte.
 *
 * A crash before the ledger's `SegmentClosed` names the trailer leaves a segment without one: then it is made again.
 */
import { assert } from '../base/assert.ts';
import { ByteReader, ByteWriter, utf8Encode, writeU64 } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import { frameIndex, framePayloadEnd, frameTotalBytes } from './entry-frame.ts';
import { layoutBytes, writeLayout, type Layout } from './layout.ts';
import { blockBytes } from './segment-format.ts';

/** Bytes of four lanes. */
export const laneBytes = 16;

const trailerVersion = 1;
const macBytes = 32;

/** Fields of a trailer that its MAC covers, behind the prefix. */
const trailerFields: Layout = [
  { name: 'segmentSeq', type: 'u64', note: 'number of the segment' },
  { name: 'firstIndex', type: 'u64', note: 'index of its first frame' },
  { name: 'lastIndex', type: 'u64', note: 'index of its last frame' },
  { name: 'entryCount', type: 'u32', note: 'whole frames in it' },
  {
    name: 'entries',
    type: 'bytes',
    count: laneBytes,
    note: 'CRC-32C of each of four lanes over header and body of all frames',
  },
  {
    name: 'offsets',
    type: 'bytes',
    count: laneBytes,
    note: 'the same over the positions of the frames, u64 each',
  },
];

/** The last block of a closed segment. */
export const segmentTrailerLayout: Layout = [
  { name: 'version', type: 'u8', note: 'of the trailer: 1' },
  { name: 'macSuite', type: 'u8', note: '0 none, 1 HMAC-SHA256' },
  ...trailerFields,
  {
    name: 'mac',
    type: 'bytes',
    count: macBytes,
    note: 'over `segment-mac-v1` and the six fields before it; zeros with suite 0',
  },
];

/** Bytes of a trailer. */
export const segmentTrailerBytes: number = layoutBytes(segmentTrailerLayout);
const laneCount = 4;
const wordBytes = 4;
const gatherBytes = 16 * 1024;
const macPrefix = utf8Encode('segment-mac-v1');

/** What a trailer says about its segment. */
export interface SegmentTrailerFields {
  readonly segmentSeq: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly entryCount: number;
  readonly entries: Uint8Array;
  readonly offsets: Uint8Array;
}

/** Makes a MAC over the trailer's fields. */
export type SegmentMac = (input: Uint8Array) => Uint8Array;

/** The bytes under the MAC. */
export function segmentMacInput(fields: SegmentTrailerFields): Uint8Array {
  const writer = new ByteWriter(128);
  writer.raw(macPrefix);
  writeLayout(writer, trailerFields, fields);
  return writer.take();
}

/** Writes a trailer's block into the 4,096 bytes at the start of `target`; without `mac` it has suite 0. */
export function writeSegmentTrailer(
  target: Uint8Array,
  fields: SegmentTrailerFields,
  mac: SegmentMac | undefined,
): void {
  const writer = new ByteWriter(128);
  const code = mac === undefined ? new Uint8Array(macBytes) : mac(segmentMacInput(fields));
  writeLayout(writer, segmentTrailerLayout, {
    ...fields,
    version: trailerVersion,
    macSuite: mac === undefined ? 0 : 1,
    mac: code,
  });
  assert(writer.length === 94, 'a trailer has 94 bytes');
  target.fill(0, 0, blockBytes);
  target.set(writer.take(), 0);
}

/**
 * How a trailer's MAC is looked at: `none` when the segment's header has epoch 0, `unchecked` when the key of its epoch is
 * not at hand, else the MAC of that epoch.
 */
export type TrailerMacCheck = SegmentMac | 'none' | 'unchecked';

/** Why a trailer is not that of its segment; `undefined` when it is. */
export function segmentTrailerFault(
  bytes: Uint8Array,
  expected: SegmentTrailerFields,
  mac: TrailerMacCheck,
): string | undefined {
  if (bytes.length < blockBytes) return 'the trailer is cut short';
  if (bytes.subarray(segmentTrailerBytes, blockBytes).some((value) => value !== 0))
    return 'bytes stand behind the trailer';
  const reader = new ByteReader(bytes);
  const version = reader.u8();
  if (version !== trailerVersion) return `the trailer has the unknown version ${version}`;
  const suite = reader.u8();
  if (suite !== (mac === 'none' ? 0 : 1))
    return `the trailer has MAC suite ${suite}, which is not the segment's`;
  const wanted = new ByteWriter(128);
  writeLayout(wanted, trailerFields, expected);
  const fields = wanted.take();
  if (!isSame(reader.take(fields.length), fields)) return 'the trailer is not that of the frames';
  if (mac === 'unchecked') return undefined;
  const code = mac === 'none' ? new Uint8Array(macBytes) : mac(segmentMacInput(expected));
  return isSame(reader.take(macBytes), code) ? undefined : 'the MAC of the trailer is wrong';
}

/** CRCs of four lanes over a stream that comes in pieces. */
export class LaneCrcs {
  readonly #gathered = new Uint8Array(gatherBytes);
  readonly #view = new DataView(this.#gathered.buffer);
  readonly #words = new Uint32Array(this.#gathered.buffer);
  readonly #lane = new Uint32Array(gatherBytes / laneBytes);
  readonly #laneBytes = new Uint8Array(this.#lane.buffer);
  readonly #crcs: number[] = Array.from({ length: laneCount }, () => 0);
  #length = 0;

  /** Takes in `bytes[start, end)`. */
  add(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    for (let from = start; from < end;) {
      const size = Math.min(gatherBytes - this.#length, end - from);
      this.#gathered.set(bytes.subarray(from, from + size), this.#length);
      this.#length += size;
      from += size;
      if (this.#length === gatherBytes) this.#fold();
    }
  }

  /** Takes in a safe integer as u64, in a stream of nothing else. */
  addU64(value: number): void {
    writeU64(this.#view, this.#length, value);
    this.#length += 8;
    if (this.#length === gatherBytes) this.#fold();
  }

  /** The four lanes; nothing may be added afterwards. */
  finish(): Uint8Array {
    const words = Math.ceil(this.#length / wordBytes);
    this.#gathered.fill(0, this.#length, words * wordBytes);
    this.#length = words * wordBytes;
    this.#fold();
    const packed = new Uint8Array(laneBytes);
    const view = new DataView(packed.buffer);
    this.#crcs.forEach((crc, lane) => {
      view.setUint32(lane * wordBytes, crc, true);
    });
    return packed;
  }

  /** What was gathered begins on lane 0: its size is a multiple of 16 but at the end of the stream. */
  #fold(): void {
    const words = this.#length / wordBytes;
    for (let lane = 0; lane < laneCount; lane++) {
      let count = 0;
      for (let word = lane; word < words; word += laneCount)
        this.#lane[count++] = this.#words[word] ?? 0;
      if (count > 0)
        this.#crcs[lane] = crc32c(this.#laneBytes, 0, count * wordBytes, this.#crcs[lane]);
    }
    this.#length = 0;
  }
}

/** Puts a trailer's fields together from the frames of a segment, in the order in which they stand. */
export class TrailerTally {
  readonly #entries = new LaneCrcs();
  readonly #offsets = new LaneCrcs();
  #bytes = 0;
  #count = 0;
  #firstIndex = 0;
  #lastIndex = 0;

  /** Takes in the next whole frame. */
  add(bytes: Uint8Array, start: number): void {
    this.#entries.add(bytes, start, framePayloadEnd(bytes, start));
    this.#offsets.addU64(this.#bytes);
    this.#bytes += frameTotalBytes(bytes, start);
    const index = frameIndex(bytes, start);
    if (this.#count === 0) this.#firstIndex = index;
    this.#lastIndex = index;
    this.#count++;
  }

  /** The fields; nothing may be added afterwards. */
  finish(segmentSeq: number): SegmentTrailerFields {
    return {
      segmentSeq,
      firstIndex: this.#firstIndex,
      lastIndex: this.#lastIndex,
      entryCount: this.#count,
      entries: this.#entries.finish(),
      offsets: this.#offsets.finish(),
    };
  }
}

/** Compares in a time that does not tell where the difference is. */
function isSame(left: Uint8Array, right: Uint8Array): boolean {
  let difference = left.length ^ right.length;
  for (let at = 0; at < left.length; at++) difference |= (left[at] ?? 0) ^ (right[at] ?? 0);
  return difference === 0;
}
