/**
 * What a place on a node's disk holds, for whoever wants to damage it: entries of which partitions, or what the whole node
 * stands on. Where it cannot tell it says more, never less.
 */
import type { PartitionId } from '../base/ids.ts';
import { frameBytesAt, frameIndex, framePartitionId } from '../codec/entry-frame.ts';
import {
  blockBytes,
  blockFlags,
  blockHeaderBytes,
  blockOffset,
  BlockSealer,
  flagFirstOfFlush,
  flagLastOfFlush,
  readSegmentHeader,
  segmentSeqOfFileName,
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

/** Entries of which a part stands in a block; `undefined` when the flush around it cannot be read. */
function entriesOfBlock(bytes: Uint8Array, wanted: number): readonly LogRange[] | undefined {
  const sealer = new BlockSealer(readSegmentHeader(bytes).salt);
  const plainBytesOf = (block: number): number =>
    block < 0 ? 0 : sealer.open(bytes, blockOffset(block), block);
  let first = wanted;
  while ((blockFlags(bytes, blockOffset(first)) & flagFirstOfFlush) === 0) {
    if (plainBytesOf(first) === 0 || wanted - first > flushBlocksMax) return undefined;
    first--;
  }
  const plain: number[] = [];
  let [wantedFrom, wantedTo] = [0, 0];
  for (let block = first; ; block++) {
    const plainBytes = plainBytesOf(block);
    if (plainBytes === 0 || block - first > flushBlocksMax) return undefined;
    const from = blockOffset(block) + blockHeaderBytes;
    if (block === wanted) [wantedFrom, wantedTo] = [plain.length, plain.length + plainBytes];
    for (const value of bytes.subarray(from, from + plainBytes)) plain.push(value);
    if ((blockFlags(bytes, blockOffset(block)) & flagLastOfFlush) !== 0) break;
  }
  return rangesOf(Uint8Array.from(plain), wantedFrom, wantedTo);
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
