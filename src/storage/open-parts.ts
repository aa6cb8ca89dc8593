/**
 * Opening a data directory: recover, then a new segment and a new ledger generation.
 *
 * The new generation is what makes recovery's findings durable in one step: it holds the newest of every family in two good
 * copies, leaves a torn end behind, covers the frames kept behind the old coverage, records doubts, closes the old segment
 * and opens the new one. Until its rename is synced the old generation and the old files say the same.
 */
import { present } from '../base/assert.ts';
import type { LedgerRecord } from '../codec/ledger-format.ts';
import { segmentIndexFileName } from '../codec/idx-format.ts';
import { segmentFileName, segmentSeqOfFileName } from '../codec/segment-format.ts';
import type { DirectoryLock } from '../ports/file-system.ts';
import { DurabilityLedger } from './durability-ledger.ts';
import { Journal } from './journal.ts';
import { segmentClosedRecord, type LedgerImage } from './ledger-image.ts';
import type { BootReport, LogStoreLimits, LogStoreOptions } from './log-store-types.ts';
import { recover, walFolder, type Recovery } from './recovery.ts';
import { SegmentReader } from './segment-reader.ts';

/** What a store is made of. */
export interface StoreParts {
  readonly limits: LogStoreLimits;
  readonly lock: DirectoryLock;
  readonly recovery: Recovery;
  readonly journal: Journal;
  readonly ledger: DurabilityLedger;
  readonly reader: SegmentReader;
  readonly bootReport: BootReport;
}

/** Recovers a locked directory and makes it ready to be written. */
export async function openParts(
  options: LogStoreOptions,
  limits: LogStoreLimits,
  lock: DirectoryLock,
): Promise<StoreParts> {
  const { fileSystem, clock, entropy, observer, directory, clusterId, nodeId } = options;
  const startedMs = clock.monotonicMs();
  const folder = walFolder(directory);
  const recovery = await recover({ fileSystem, directory, clusterId, nodeId });
  await fileSystem.makeDirectory(folder);
  const reader = new SegmentReader(fileSystem, folder);
  const journal = new Journal({
    fileSystem,
    clock,
    entropy,
    observer,
    folder,
    clusterId,
    nodeId,
    segmentBytes: limits.segmentBytes,
    nextSegmentSeq: recovery.nextSegmentSeq,
    reader,
    macKey: options.macKey,
  });
  const { image } = recovery;
  const opened = await journal.begin();
  for (const segmentSeq of recovery.emptySegmentSeqs) image.retireSegment(segmentSeq);
  for (const record of foundRecords(recovery, image)) image.apply(record);
  image.apply(opened);
  image.cover({
    segmentSeq: journal.writer.segment.segmentSeq,
    endOffset: journal.writer.endOffset,
  });
  const { generation, flushSeq } = recovery;
  const ledger = new DurabilityLedger({
    fileSystem,
    entropy,
    folder,
    clusterId,
    nodeId,
    ledgerBytes: limits.ledgerBytes,
    image,
    generation,
    flushSeq,
  });
  await ledger.rotate();
  const isHealthy = recovery.report.scrubState === 'Healthy';
  for (const segment of recovery.segments) {
    const { trailerOffset } = present(image.segments.get(segment.segmentSeq), 'its row');
    // Where something is damaged, files stay as they were found.
    await journal.adopt({ ...segment, needsTrailer: isHealthy && trailerOffset === 0 });
  }
  if (isHealthy) await removeStrays(options, journal.writer.segment.segmentSeq, recovery);
  const bootReport: BootReport = {
    ...recovery.report,
    durationMs: Math.round(clock.monotonicMs() - startedMs),
  };
  return { limits, lock, recovery, journal, ledger, reader, bootReport };
}

/** What recovery found, as records that the old ledger lacks. */
function foundRecords(recovery: Recovery, image: LedgerImage): LedgerRecord[] {
  const records: LedgerRecord[] = [];
  for (const { segmentSeq, endOffset } of recovery.segments) {
    if (image.segments.get(segmentSeq)?.endOffset === undefined)
      records.push(segmentClosedRecord(segmentSeq, endOffset));
  }
  for (const partition of recovery.partitions) {
    const { partitionId, incarnation, doubt, lastIndex, recordedCommitIndex } = partition;
    const row = image.row(partitionId);
    if (doubt !== undefined) {
      if (!row.doubts.has(incarnation))
        records.push({ kind: 'doubt', partitionId, incarnation, reason: doubt });
      continue;
    }
    const log = recovery.logs.find((candidate) => candidate.replica.partitionId === partitionId);
    for (const configuration of log?.configurationsFound ?? [])
      records.push({ kind: 'configuration', partitionId, configuration });
    if (log !== undefined && lastIndex > (row.durability?.index ?? 0)) {
      records.push({
        kind: 'durability',
        partitionId,
        term: log.lastTerm,
        index: lastIndex,
        commitIndex: recordedCommitIndex,
      });
    }
  }
  return records;
}

/** Removes files that the ledger does not know: segments made ready ahead and segments that hold nothing. */
async function removeStrays(
  options: LogStoreOptions,
  current: number,
  recovery: Recovery,
): Promise<void> {
  const folder = walFolder(options.directory);
  const names = await options.fileSystem.listDirectory(folder);
  const kept = new Set([current, ...recovery.segments.map((segment) => segment.segmentSeq)]);
  let removed = 0;
  for (const name of names) {
    const segmentSeq = segmentSeqOfFileName(name);
    if (segmentSeq === undefined || kept.has(segmentSeq)) continue;
    await options.fileSystem.remove(`${folder}/${segmentFileName(segmentSeq)}`);
    await options.fileSystem.remove(`${folder}/${segmentIndexFileName(segmentSeq)}`);
    removed++;
  }
  if (removed > 0) await options.fileSystem.syncDirectory(folder);
}
