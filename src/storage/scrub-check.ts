/** One segment read back in the background: blocks, frames, leaves, trailer, and the entries that should be in it. */
import type { LogIndex, PartitionId } from '../base/ids.ts';
import { frameIndex, framePartitionId, verifyLeaf, type LeafHash } from '../codec/entry-frame.ts';
import { segmentFileName, type SegmentHeader } from '../codec/segment-format.ts';
import {
  segmentTrailerFault,
  TrailerTally,
  type SegmentMacKey,
  type TrailerMacCheck,
} from '../codec/segment-trailer.ts';
import type { IndexRange } from './journal-walk.ts';
import type { DamagedRange, SegmentDamage } from './log-store-types.ts';
import { scanSegment, type SegmentScanOptions } from './segment-scan.ts';
import { addToTally, readTrailer } from './trailer-writer.ts';

/** Reasons told of one segment. */
const reasonsMax = 16;

/** What is read, and what should be there. */
export interface SegmentToCheck extends Pick<SegmentScanOptions, 'fileSystem' | 'owner' | 'pace'> {
  readonly folder: string;
  readonly segmentSeq: number;
  readonly endOffset: number;
  /** 0 when the ledger names no trailer. */
  readonly trailerOffset: number;
  readonly macKey: SegmentMacKey | undefined;
  readonly leafHash: LeafHash | undefined;
  /** Live entries of each partition in it, asked before and after the reading: what was truncated meanwhile is not missed. */
  readonly expected: () => ReadonlyMap<PartitionId, IndexRange>;
}

/** Checks a segment; `undefined` when it is whole. */
export async function checkSegment(segment: SegmentToCheck): Promise<SegmentDamage | undefined> {
  const { fileSystem, folder, owner, segmentSeq, endOffset, leafHash, pace } = segment;
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
    ...(pace === undefined ? {} : { pace }),
    onFrame: (frame) => {
      addToTally(tally, frame);
      const { bytes, start, block } = frame;
      if (leafHash !== undefined && !verifyLeaf(bytes, start, leafHash)) {
        reasons.push(`the Merkle leaf of a frame in block ${block} is wrong`);
        return;
      }
      const partitionId = framePartitionId(bytes, start);
      let indexes = seen.get(partitionId);
      if (indexes === undefined) seen.set(partitionId, (indexes = new SeenIndexes()));
      indexes.add(frameIndex(bytes, start));
    },
    onBadFrame: ({ block, reason }) => reasons.push(`a frame in block ${block}: ${reason}`),
  });
  if (result.endedAt === 'stopped') return undefined;
  if (result.damagedBlocks > 0) reasons.push(`${result.damagedBlocks} blocks are damaged`);
  const { header } = result;
  if (header === undefined) reasons.push(result.endedAt);
  if (header !== undefined && segment.trailerOffset > 0) {
    const bytes = await readTrailer(fileSystem, path, segment.trailerOffset);
    const check = macCheckOf(header, segment.macKey);
    const fault = segmentTrailerFault(bytes, tally.finish(segmentSeq), check);
    if (fault !== undefined) reasons.push(fault);
  }
  const ranges = missingOf(before, segment.expected(), seen);
  if (ranges.length > 0 && reasons.length === 0) reasons.push('covered entries are not in it');
  return reasons.length === 0
    ? undefined
    : { segmentSeq, reasons: reasons.slice(0, reasonsMax), ranges };
}

function macCheckOf(header: SegmentHeader, macKey: SegmentMacKey | undefined): TrailerMacCheck {
  if (header.integrityMacEpoch === 0) return 'none';
  return header.integrityMacEpoch === macKey?.epoch ? macKey.mac : 'unchecked';
}

function missingOf(
  before: ReadonlyMap<PartitionId, IndexRange>,
  after: ReadonlyMap<PartitionId, IndexRange>,
  seen: ReadonlyMap<PartitionId, SeenIndexes>,
): DamagedRange[] {
  const missing: DamagedRange[] = [];
  for (const [partitionId, range] of before) {
    const left = after.get(partitionId);
    if (left === undefined) continue;
    const first = Math.max(range.firstIndex, left.firstIndex);
    const last = Math.min(range.lastIndex, left.lastIndex);
    for (const hole of (seen.get(partitionId) ?? new SeenIndexes()).holes(first, last))
      missing.push({ partitionId, ...hole });
  }
  return missing;
}

/** Indexes of one partition as runs; a frame that goes back ends what stood behind it, as a truncation did. */
class SeenIndexes {
  readonly #runs: { first: number; last: number }[] = [];

  add(index: number): void {
    for (
      let run = this.#runs.at(-1);
      run !== undefined && run.last >= index;
      run = this.#runs.at(-1)
    ) {
      run.last = index - 1;
      if (run.last >= run.first) break;
      this.#runs.pop();
    }
    const newest = this.#runs.at(-1);
    if (newest !== undefined && newest.last + 1 === index) newest.last = index;
    else this.#runs.push({ first: index, last: index });
  }

  holes(first: number, last: number): IndexRange[] {
    const holes: IndexRange[] = [];
    let next = first;
    const hole = (end: number): void => {
      if (next <= end) holes.push({ firstIndex: next as LogIndex, lastIndex: end as LogIndex });
    };
    for (const run of this.#runs) {
      if (run.last < next) continue;
      hole(Math.min(run.first - 1, last));
      next = Math.max(next, run.last + 1);
    }
    hole(last);
    return holes;
  }
}
