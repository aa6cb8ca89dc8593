/** Frames in the order of a segment, gathered to rows of its index: one for each run of a partition and term within a flush. */
import { frameIndex, framePartitionId, frameTerm } from '../codec/entry-frame.ts';
import type { SegmentIndexRow } from '../codec/idx-format.ts';
import type { ScannedFrame } from './segment-scan.ts';

/** The row of one frame alone. */
export function rowOf(frame: ScannedFrame): SegmentIndexRow {
  return {
    partitionId: framePartitionId(frame.bytes, frame.start),
    term: frameTerm(frame.bytes, frame.start),
    firstIndex: frameIndex(frame.bytes, frame.start),
    count: 1,
    block: frame.block,
    offset: frame.offset,
  };
}

/** See the file comment. */
export class RunRows {
  readonly rows: SegmentIndexRow[] = [];
  #newestFlush = -1;

  /** Takes in the next frame. */
  add(row: SegmentIndexRow, flush: number): void {
    const newest = this.rows[this.rows.length - 1];
    const continues =
      newest?.partitionId === row.partitionId &&
      newest.term === row.term &&
      newest.firstIndex + newest.count === row.firstIndex &&
      this.#newestFlush === flush;
    if (newest !== undefined && continues)
      this.rows[this.rows.length - 1] = { ...newest, count: newest.count + 1 };
    else this.rows.push(row);
    this.#newestFlush = flush;
  }

  /** A frame that does not count stands here: no run goes on behind it. */
  interrupt(): void {
    this.#newestFlush = -1;
  }
}
