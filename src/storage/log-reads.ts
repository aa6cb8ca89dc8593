/**
 * Reading entries of a partition back from the journal. A place that cannot be read is told to whoever watches over the
 * partition's integrity; blocks that are right and hold a wrong frame are read three times before (specification §5.3).
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import { judgeDamage, repairDelayMs } from '../policy/scrub.ts';
import { DamagedEntries } from './gathered-frames.ts';
import type { Journal } from './journal.ts';
import type { FrameBatch } from './log-store-types.ts';
import type { PartitionLog } from './partition-log.ts';
import type { RunPlace, SegmentReader } from './segment-reader.ts';

/** What reading needs. */
export interface LogReadParts {
  readonly journal: Journal;
  readonly reader: SegmentReader;
  /** Waits so many milliseconds. @throws ClustorError `CLUSTOR_CLOSED` when the store is closed meanwhile. */
  readonly pause: (ms: number) => Promise<void>;
  readonly damaged: (log: PartitionLog, range: IndexRange) => void;
}

/** Entries to be read. */
export interface WantedEntries extends IndexRange {
  readonly bytesMax: number;
}

/** Reads at least one entry and about `bytesMax` bytes, verified. @throws ClustorError `CLUSTOR_INTEGRITY`, `CLUSTOR_LOG_COMPACTED`. */
export async function readEntries(
  parts: LogReadParts,
  log: PartitionLog,
  wanted: WantedEntries,
): Promise<FrameBatch> {
  for (let reads = 1; ; reads++) {
    try {
      // A read that failed is made again before anybody is told: one at a time by its nature.
      return await readOnce(parts, log, wanted);
    } catch (error) {
      if (!(error instanceof DamagedEntries)) throw error;
      // The log may have begun further behind meanwhile, and the segment be gone.
      if (log.index.locate(wanted.firstIndex) === undefined) throw notThere(log, wanted.firstIndex);
      const { isTagRight, range } = error;
      if (judgeDamage({ isCovered: true, isTagRight, reads }) !== 'tryAgain') {
        parts.damaged(log, range);
        throw error;
      }
    }
    await parts.pause(repairDelayMs(reads - 1));
  }
}

async function readOnce(
  { journal, reader }: LogReadParts,
  log: PartitionLog,
  wanted: WantedEntries,
): Promise<FrameBatch> {
  const { partitionId } = log;
  const { firstIndex } = wanted;
  const place = log.index.locate(firstIndex);
  if (place === undefined) throw notThere(log, firstIndex);
  const nextMoved = log.index.nextMoved(firstIndex) ?? Number.MAX_SAFE_INTEGER;
  let lastIndex = Math.min(wanted.lastIndex, nextMoved - 1);
  let run: RunPlace;
  let placeEnd: LogIndex | undefined;
  if (place.kind === 'open') {
    const { segment, endOffset } = journal.writer;
    run = { segmentSeq: segment.segmentSeq, endOffset, run: place.run };
  } else {
    const { segmentSeq } = place.range;
    lastIndex = Math.min(lastIndex, place.range.lastIndex);
    // Entries in between may have been moved; what was truncated stands elsewhere.
    placeEnd = Math.max(place.range.lastIndex, log.index.lastClosedIn(segmentSeq)) as LogIndex;
    run = await reader.runInClosed(
      { segmentSeq, endOffset: journal.closedEnd(segmentSeq) },
      { partitionId, firstIndex, lastIndex: place.range.lastIndex },
    );
  }
  return reader.readRun(run, {
    ...wanted,
    placeEnd,
    partitionId,
    lastIndex: lastIndex as LogIndex,
  });
}

function notThere({ partitionId }: PartitionLog, index: LogIndex): ClustorError {
  return new ClustorError(
    'CLUSTOR_LOG_COMPACTED',
    `entry ${index} of partition ${partitionId} is not in the journal`,
  );
}
