/** Reading entries of one partition out of the journal, wherever they are by now. */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';
import type { Journal } from './journal.ts';
import type { FrameBatch } from './log-store-types.ts';
import type { PartitionLog } from './partition-log.ts';
import type { RunPlace, SegmentReader } from './segment-reader.ts';

/** Which entries are wanted: at least one, and about so many bytes. */
export interface WantedEntries {
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly bytesMax: number;
}

/** Reads durable entries, verified. @throws ClustorError `CLUSTOR_LOG_COMPACTED`, `CLUSTOR_INTEGRITY`. */
export async function readEntries(
  place: {
    readonly log: PartitionLog;
    readonly journal: Journal;
    readonly reader: SegmentReader;
  },
  range: WantedEntries,
): Promise<FrameBatch> {
  const { log, journal, reader } = place;
  const { partitionId } = log;
  const found = log.index.locate(range.firstIndex);
  if (found === undefined)
    throw new ClustorError(
      'CLUSTOR_LOG_COMPACTED',
      `entry ${range.firstIndex} of partition ${partitionId} is not in the journal`,
    );
  let run: RunPlace;
  let { lastIndex } = range;
  if (found.kind === 'open') {
    const { segment, endOffset } = journal.writer;
    run = { segmentSeq: segment.segmentSeq, endOffset, run: found.run };
  } else {
    const { segmentSeq } = found.range;
    lastIndex = Math.min(lastIndex, found.range.lastIndex) as LogIndex;
    run = await reader.runInClosed(
      { segmentSeq, endOffset: journal.closedEnd(segmentSeq) },
      { partitionId, index: range.firstIndex },
    );
  }
  return reader.readRun(run, { partitionId, ...range, lastIndex });
}
