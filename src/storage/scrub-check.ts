/** One segment read back in the background: blocks, frames, leaves, trailer, and the entries that should be in it. */
import type { LogIndex, PartitionId } from '../base/ids.ts';
import { frameIndex, framePartitionId, verifyLeaf, type LeafHashes } from '../codec/entry-frame.ts';
import { cutRange, type IndexRange } from '../base/index-ranges.ts';
import { segmentFileName } from '../codec/segment-format.ts';
import { TrailerTally } from '../codec/segment-trailer.ts';
import type { JournalKeys } from './journal-keys.ts';
import type { DamagedRange, SegmentDamage } from './log-store-types.ts';
import { scanSegment, type SegmentScanOptions } from './segment-scan.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { checkTrailer } from './trailer-check.ts';

/** Reasons told of one segment. */
const reasonsMax = 16;

/** What is read, and what should be there. */
export interface SegmentToCheck extends Pick<SegmentScanOptions, 'owner' | 'pace'> {
  readonly fileSystem: FileSystem;
  readonly folder: string;
  readonly segmentSeq: number;
  readonly endOffset: number;
  /** 0 when the ledger names no trailer. */
  readonly trailerOffset: number;
  /** Make the MAC of its trailer. */
  readonly keys: JournalKeys;
  /** Whether its file and its trailer are still those that were named: not sealed anew meanwhile. */
  readonly isSame: () => boolean;
  /** Whether a truncation made the frame dead that begins in the block. */
  readonly isDead: (frame: {
    readonly partitionId: PartitionId;
    readonly index: LogIndex;
    readonly block: number;
  }) => boolean;
  readonly leafHashes: LeafHashes | undefined;
  /** Live entries of each partition in it, asked before and after the reading: what was truncated meanwhile is not missed. */
  readonly expected: () => ReadonlyMap<PartitionId, readonly IndexRange[]>;
}

/** Checks a segment; `undefined` when it is whole, or was sealed anew meanwhile. */
export async function checkSegment(segment: SegmentToCheck): Promise<SegmentDamage | undefined> {
  const { fileSystem, folder, owner, segmentSeq, endOffset, leafHashes, pace } = segment;
  const path = `${folder}/${segmentFileName(segmentSeq)}`;
  const before = segment.expected();
  const seen = new Map<PartitionId, SeenIndexes>();
  const tally = new TrailerTally();
  const reasons: string[] = [];
  const result = await scanSegment({
    fileSystem,
    path,
    segmentSeq,
    owner,
    coveredEnd: endOffset,
    closedEnd: endOffset,
    badSectors: 'damage',
    ...(pace === undefined ? {} : { pace }),
    onFrame: (frame) => {
      tally.add(frame.bytes, frame.start);
      const { bytes, start, block } = frame;
      if (leafHashes !== undefined && !verifyLeaf(bytes, start, leafHashes)) {
        reasons.push(`the Merkle leaf of a frame in block ${block} is wrong`);
        return;
      }
      const partitionId = framePartitionId(bytes, start);
      const index = frameIndex(bytes, start);
      if (segment.isDead({ partitionId, index, block })) return;
      let indexes = seen.get(partitionId);
      if (indexes === undefined) seen.set(partitionId, (indexes = new SeenIndexes()));
      indexes.add(index);
    },
    onBadFrame: ({ block, reason }) => reasons.push(`a frame in block ${block}: ${reason}`),
  });
  if (result.endedAt === 'stopped') return undefined;
  if (result.damagedBlocks > 0) reasons.push(`${result.damagedBlocks} blocks are damaged`);
  if (result.unreadableBlocks > 0)
    reasons.push(`${result.unreadableBlocks} of them cannot be read`);
  const { header } = result;
  if (header === undefined) reasons.push(result.endedAt);
  if (header !== undefined && segment.trailerOffset > 0) {
    const { trailerOffset } = segment;
    const fields = tally.finish(segmentSeq);
    const trailed = { segmentSeq, trailerOffset, header, fields };
    const { fault } = await checkTrailer({ fileSystem, folder, keys: segment.keys }, trailed);
    if (fault !== undefined) reasons.push(fault);
  }
  const ranges = missingOf(before, segment.expected(), seen);
  if (ranges.length > 0 && reasons.length === 0) reasons.push('covered entries are not in it');
  return reasons.length === 0 || !segment.isSame()
    ? undefined
    : { segmentSeq, reasons: reasons.slice(0, reasonsMax), ranges };
}

/** What was there before and is still there, and was not met. */
function missingOf(
  before: ReadonlyMap<PartitionId, readonly IndexRange[]>,
  after: ReadonlyMap<PartitionId, readonly IndexRange[]>,
  seen: ReadonlyMap<PartitionId, SeenIndexes>,
): DamagedRange[] {
  const missing: DamagedRange[] = [];
  for (const [partitionId, ranges] of before) {
    for (const range of ranges)
      for (const left of after.get(partitionId) ?? []) {
        const firstIndex = Math.max(range.firstIndex, left.firstIndex) as LogIndex;
        const lastIndex = Math.min(range.lastIndex, left.lastIndex) as LogIndex;
        if (firstIndex > lastIndex) continue;
        const holes = seen.get(partitionId)?.holes({ firstIndex, lastIndex });
        for (const hole of holes ?? [{ firstIndex, lastIndex }])
          missing.push({ partitionId, ...hole });
      }
  }
  return missing;
}

/** Indexes of the live frames of one partition, as runs in the order of the segment. */
class SeenIndexes {
  readonly #runs: { firstIndex: LogIndex; lastIndex: LogIndex }[] = [];

  add(index: LogIndex): void {
    const newest = this.#runs.at(-1);
    if (newest !== undefined && newest.lastIndex + 1 === index) newest.lastIndex = index;
    else this.#runs.push({ firstIndex: index, lastIndex: index });
  }

  holes(range: IndexRange): IndexRange[] {
    return this.#runs.reduce<IndexRange[]>(
      (left, run) => left.flatMap((hole) => cutRange(hole, run)),
      [range],
    );
  }
}
