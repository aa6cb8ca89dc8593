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
import { layoutBytes, readLayout, storedSource, writeLayout, type Layout } from './layout.ts';

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

/** In front of the slots and rows of an index. */
export const indexHeaderLayout: Layout = [
  { name: 'magic', type: 'constant', bytes: magic, note: '`CLSTRIDX`' },
  { name: 'version', type: 'u8', note: 'of the format: 1' },
  { name: 'reserved', type: 'zeros', count: 7, note: '0' },
  { name: 'segmentSeq', type: 'u64', note: 'number of the segment' },
  { name: 'endOffset', type: 'u64', note: 'where its blocks end' },
  { name: 'slotCount', type: 'u32', note: 'partitions named' },
  { name: 'rowCount', type: 'u32', note: 'rows behind them' },
];

/** A partition that rows name by its number, from 0. */
export const indexSlotLayout: Layout = [{ name: 'partitionId', type: 'uuid', note: 'a partition' }];

/** Frames of one partition and one term that follow each other. */
export const indexRowLayout: Layout = [
  { name: 'slot', type: 'u32', note: 'whose they are' },
  { name: 'term', type: 'u64', note: 'their term' },
  { name: 'firstIndex', type: 'u64', note: 'index of the first' },
  { name: 'block', type: 'u32', note: 'block in which it starts' },
  { name: 'offset', type: 'u32', note: 'where in the plaintext of that block' },
  { name: 'count', type: 'u32', note: 'how many there are' },
];

/** Behind the rows. */
export const indexTailLayout: Layout = [
  { name: 'crc', type: 'u32', note: 'CRC-32C over everything before it' },
];

const headerBytes = layoutBytes(indexHeaderLayout);
const rowBytes = layoutBytes(indexRowLayout);

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
  writeLayout(writer, indexHeaderLayout, {
    ...index,
    version: formatVersion,
    slotCount: slots.size,
    rowCount: index.rows.length,
  });
  // As many as there were flushes: without a table.
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
    const index = readSegmentIndex(new ByteReader(bytes, 0, end));
    const isExpected =
      index.segmentSeq === expected.segmentSeq && index.endOffset === expected.endOffset;
    return isExpected ? index : undefined;
  } catch (error) {
    // Bytes that fit their CRC and are no index: as good as damaged, because an index can always be rebuilt.
    if (error instanceof ClustorError) return undefined;
    throw error;
  }
}

interface IndexHeader {
  readonly segmentSeq: number;
  readonly endOffset: number;
  readonly slotCount: number;
  readonly rowCount: number;
}

/** @throws ClustorError when the bytes are not exactly one index */
function readSegmentIndex(reader: ByteReader): SegmentIndex {
  const header = readLayout(reader, indexHeaderLayout, storedSource('a segment index'));
  const { segmentSeq, endOffset, slotCount, rowCount } = header as unknown as IndexHeader;
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
