/** Where entries of one partition stand: in the segment in use, or in a closed one. */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex } from '../base/ids.ts';
import type { Journal } from './journal.ts';
import type { PartitionLog } from './partition-log.ts';
import type { RunPlace, SegmentReader } from './segment-reader.ts';

/** Which entries, and how many bytes of them. */
export interface WantedEntries {
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly bytesMax: number;
}

/** Finds the run that holds the first wanted entry, and up to where it may be read. @throws ClustorError `CLUSTOR_LOG_COMPACTED`. */
export async function locateRun(
  parts: {
    readonly log: PartitionLog;
    readonly journal: Journal;
    readonly reader: SegmentReader;
  },
  { firstIndex, lastIndex }: WantedEntries,
): Promise<{ readonly run: RunPlace; readonly lastIndex: LogIndex }> {
  const { log, journal, reader } = parts;
  const { partitionId } = log;
  const place = log.index.locate(firstIndex);
  if (place === undefined)
    throw new ClustorError(
      'CLUSTOR_LOG_COMPACTED',
      `entry ${firstIndex} of partition ${partitionId} is not in the journal`,
    );
  if (place.kind === 'open') {
    const { segment, endOffset } = journal.writer;
    return { run: { segmentSeq: segment.segmentSeq, endOffset, run: place.run }, lastIndex };
  }
  const { segmentSeq } = place.range;
  const run = await reader.runInClosed(
    { segmentSeq, endOffset: journal.closedEnd(segmentSeq) },
    { partitionId, index: firstIndex },
  );
  return { run, lastIndex: Math.min(lastIndex, place.range.lastIndex) as LogIndex };
}
