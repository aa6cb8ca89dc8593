/**
 * What a place on a node's disk holds, for whoever wants to damage it: entries of which partitions, or what the whole node
 * stands on. Where it cannot tell it says more, never less.
 */
import type { PartitionId } from '../base/ids.ts';
import { frameBytesAt, frameIndex, framePartitionId } from '../codec/entry-frame.ts';
import {
  blockBytes,
  blockOffset,
  flagFirstOfFlush,
  flagLastOfFlush,
  readSegmentHeader,
  segmentSeqOfFileName,
  unitBlocks,
  unitBlocksMax,
  unitFlags,
  unitHeaderBytes,
  UnitSealer,
} from '../codec/segment-format.ts';
import { wholeLog, type LogRange } from './fault-atlas.ts';
import type { SimDisk } from './sim-disk.ts';

/** A byte of a file. */
export interface DiskPlace {
  readonly path: string;
  readonly position: number;
}

/** Blocks of one flush that are looked at, to either side. */
const flushBlocksMax = 4_096;

/** Copies of entries that stand at a place; everything of every partition where that is not known. */
export function rangesAt(
  disk: SimDisk,
  { path, position }: DiskPlace,
  partitionIds: readonly PartitionId[],
): readonly LogRange[] {
  const everything = partitionIds.map(wholeLog);
  const segmentSeq = segmentSeqOfFileName(path.slice(path.lastIndexOf('/') + 1));
  const bytes = segmentSeq === undefined ? undefined : disk.syncedBytes(path);
  if (bytes === undefined || position < blockOffset(0)) return everything;
  const start = position - (position % blockBytes);
  // Nothing was ever written here; what is written later replaces the damage.
  if (bytes.subarray(start, start + blockBytes).every((value) => value === 0)) return [];
  return entriesOfBlock(bytes, Math.floor(position / blockBytes) - 1) ?? everything;
}

/** A unit that is good. */
interface GoodUnit {
  readonly number: number;
  readonly plainBytes: number;
}

/** Entries of which a part stands in the unit of a block; `undefined` when the flush around it cannot be read. */
function entriesOfBlock(bytes: Uint8Array, wanted: number): readonly LogRange[] | undefined {
  const sealer = new UnitSealer(readSegmentHeader(bytes).salt);
  const unitAt = (number: number): GoodUnit | undefined => {
    const plainBytes = number < 0 ? 0 : sealer.open(bytes, blockOffset(number), number);
    return plainBytes > 0 ? { number, plainBytes } : undefined;
  };
  const unitOf = (block: number): GoodUnit | undefined => {
    for (let number = block; number > block - unitBlocksMax; number--) {
      const unit = unitAt(number);
      if (unit !== undefined && behind(unit) > block) return unit;
    }
    return undefined;
  };
  const hit = unitOf(wanted);
  let first = hit;
  while (
    first !== undefined &&
    (unitFlags(bytes, blockOffset(first.number)) & flagFirstOfFlush) === 0
  ) {
    if (wanted - first.number > flushBlocksMax) return undefined;
    first = unitOf(first.number - 1);
  }
  if (hit === undefined || first === undefined) return undefined;
  const plain: number[] = [];
  let [wantedFrom, wantedTo] = [0, 0];
  for (let unit: GoodUnit | undefined = first; ; unit = unitAt(behind(unit))) {
    if (unit === undefined || unit.number - first.number > flushBlocksMax) return undefined;
    const from = blockOffset(unit.number) + unitHeaderBytes;
    if (unit.number === hit.number)
      [wantedFrom, wantedTo] = [plain.length, plain.length + unit.plainBytes];
    for (const value of bytes.subarray(from, from + unit.plainBytes)) plain.push(value);
    if ((unitFlags(bytes, blockOffset(unit.number)) & flagLastOfFlush) !== 0) break;
  }
  return rangesOf(Uint8Array.from(plain), wantedFrom, wantedTo);
}

/** Number of the block behind a unit. */
function behind({ number, plainBytes }: GoodUnit): number {
  return number + unitBlocks(plainBytes);
}

function rangesOf(stream: Uint8Array, from: number, to: number): readonly LogRange[] | undefined {
  const ranges: LogRange[] = [];
  for (let offset = 0; offset < Math.min(to, stream.length);) {
    const frameBytes = frameBytesAt(stream, offset, stream.length);
    if (frameBytes <= 0) return undefined;
    if (offset + frameBytes > from) {
      const index = frameIndex(stream, offset);
      ranges.push({
        partitionId: framePartitionId(stream, offset),
        firstIndex: index,
        lastIndex: index,
      });
    }
    offset += frameBytes;
  }
  return ranges;
}
