/**
 * The index of a closed segment: `wal/segment-<seq>.idx`.
 *
 * ```
 * header  magic 8 · version u8 · reserved 7 · segment_seq u64 · end_offset u64 · slot_count u32 · row_count u32
 * slots   partition_id 16 each
 * rows    slot u32 · term u64 · index u64 · block u32 · offset u32 · count u32 (frames of one partition and term in a row)
 * tail    crc32c u32 over everything before
 * ```
 * It can be rebuilt from its segment at any time: written after the segment was closed, never synced data's only home, and
 * a row is believed only after the frame's own partition, term, index and CRC agree.
 */
import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { crc32c } from '../base/crc32c.ts';
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';

/** Frames of one partition and one term that follow each other in a segment. */
export interface SegmentIndexRow {
  readonly partitionId: PartitionId;
  readonly term: Term;
  readonly firstIndex: LogIndex;
  readonly count: number;
  readonly block: number;
  readonly offset: number;
}

/** The rows of a closed segment, in the order in which each partition's entries were sealed. */
export interface SegmentIndex {
  readonly segmentSeq: number;
  readonly endOffset: number;
  readonly rows: readonly SegmentIndexRow[];
}

const magic = Uint8Array.of(0x43, 0x4c, 0x53, 0x54, 0x52, 0x49, 0x44, 0x58);
const formatVersion = 1;
const headerBytes = 40;
const rowBytes = 32;

/** Name of a segment's index file. */
export function segmentIndexFileName(segmentSeq: number): string {
  return `segment-${segmentSeq.toString().padStart(16, '0')}.idx`;
}

/** Encodes an index. */
export function encodeSegmentIndex(index: SegmentIndex): Uint8Array {
  const slots = new Map<PartitionId, number>();
  for (const row of index.rows)
    if (!slots.has(row.partitionId)) slots.set(row.partitionId, slots.size);
  const writer = new ByteWriter(headerBytes + slots.size * 16 + index.rows.length * rowBytes + 4);
  writer.raw(magic);
  writer.u8(formatVersion);
  writer.zeros(7);
  writer.u64(index.segmentSeq);
  writer.u64(index.endOffset);
  writer.u32(slots.size);
  writer.u32(index.rows.length);
  for (const partitionId of slots.keys()) writer.uuid(partitionId);
  for (const row of index.rows) {
    writer.u32(slots.get(row.partitionId) ?? 0);
    writer.u64(row.term);
    writer.u64(row.firstIndex);
    writer.u32(row.block);
    writer.u32(row.offset);
    writer.u32(row.count);
  }
  writer.u32(writer.crc(0, writer.length));
  return writer.take();
}

/** Decodes an index, or `undefined` when it is damaged, of another version or of another segment: then it is rebuilt. */
export function decodeSegmentIndex(
  bytes: Uint8Array,
  expected: { readonly segmentSeq: number; readonly endOffset: number },
): SegmentIndex | undefined {
  if (
    bytes.length < headerBytes + 4 ||
    !magic.every((value, at) => bytes[at] === value) ||
    bytes[8] !== formatVersion
  )
    return undefined;
  const end = bytes.length - 4;
  if (
    crc32c(bytes, 0, end) !== new DataView(bytes.buffer, bytes.byteOffset + end).getUint32(0, true)
  )
    return undefined;
  try {
    const index = readSegmentIndex(new ByteReader(bytes, 16, end));
    const isExpected =
      index.segmentSeq === expected.segmentSeq && index.endOffset === expected.endOffset;
    return isExpected ? index : undefined;
  } catch (error) {
    // Bytes that fit their CRC and are no index: as good as damaged, because an index can always be rebuilt.
    if (error instanceof ClustorError) return undefined;
    throw error;
  }
}

/** @throws ClustorError when the bytes are not exactly one index */
function readSegmentIndex(reader: ByteReader): SegmentIndex {
  const segmentSeq = reader.u64();
  const endOffset = reader.u64();
  const slotCount = reader.u32();
  const rowCount = reader.u32();
  if (reader.remaining !== slotCount * 16 + rowCount * rowBytes) throw notAnIndex();
  const slots = Array.from({ length: slotCount }, () => reader.uuid() as PartitionId);
  const rows: SegmentIndexRow[] = [];
  for (let position = 0; position < rowCount; position++) {
    const partitionId = slots[reader.u32()];
    if (partitionId === undefined) throw notAnIndex();
    const term = reader.u64() as Term;
    const firstIndex = reader.u64() as LogIndex;
    const block = reader.u32();
    const offset = reader.u32();
    rows.push({ partitionId, term, firstIndex, block, offset, count: reader.u32() });
  }
  return { segmentSeq, endOffset, rows };
}

function notAnIndex(): ClustorError {
  return new ClustorError('CLUSTOR_WIRE_BAD_VALUE', 'the bytes are no segment index');
}
