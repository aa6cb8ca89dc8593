/**
 * Opening a data directory: recover, then a new segment and a new ledger generation.
 *
 * The new generation is what makes recovery's findings durable in one step: it holds the newest of every family in two good
 * copies, leaves a torn end behind, covers the frames kept behind the old coverage, records doubts, closes the old segment
 * and opens the new one. Until its rename is synced the old generation and the old files say the same.
 */
import { present } from '../base/assert.ts';
import { coarsened } from '../base/index-ranges.ts';
import type { LogIndex } from '../base/ids.ts';
import {
  quarantineRangesMax,
  quarantinesKept,
  type LedgerRecord,
} from '../codec/ledger-records.ts';
import { segmentIndexFileName } from '../codec/idx-format.ts';
import {
  blockBytes,
  blockOffset,
  segmentFileName,
  segmentSeqOfFileName,
} from '../codec/segment-format.ts';
import type { DirectoryLock, FileSystem } from '../ports/file-system.ts';
import { isBadSector } from './block-reads.ts';
import { DiskGuard } from './disk-guard.ts';
import { DurabilityLedger } from './durability-ledger.ts';
import { asDiskHard, PatientDisk } from './full-disk.ts';
import { firstSegmentBytesMax, Journal } from './journal.ts';
import { JournalKeys } from './journal-keys.ts';
import { segmentClosedRecord, type LedgerImage } from './ledger-image.ts';
import type {
  BootReport,
  LogStoreLimits,
  LogStoreOptions,
  RecoveredPartition,
} from './log-store-types.ts';
import { abandonedAtStart } from './nonce-accounts.ts';
import { recover, walFolder, type Recovery } from './recovery.ts';
import { SegmentReader } from './segment-reader.ts';
import { rewriteSuffix } from './segment-rewriter.ts';
import { SegmentReserve } from './segment-reserve.ts';

/** What a store is made of. */
export interface StoreParts {
  readonly limits: LogStoreLimits;
  readonly lock: DirectoryLock;
  readonly recovery: Recovery;
  readonly journal: Journal;
  readonly ledger: DurabilityLedger;
  readonly reader: SegmentReader;
  readonly keys: JournalKeys;
  readonly bootReport: BootReport;
  readonly guard: DiskGuard;
  readonly disk: PatientDisk;
  readonly reserve: SegmentReserve;
}

/** Recovers a locked directory and makes it ready to be written. @throws ClustorError `CLUSTOR_DISK_HARD` where it has no room. */
export async function openParts(
  options: LogStoreOptions,
  limits: LogStoreLimits,
  lock: DirectoryLock,
): Promise<StoreParts> {
  const { fileSystem, clock, observer, directory } = options;
  const { logBytesMax } = limits;
  const guard = new DiskGuard({ fileSystem, clock, observer, directory, logBytesMax });
  const refused = guard.refused.bind(guard);
  const disk = new PatientDisk({ fileSystem, clock, refused });
  const folder = walFolder(directory);
  const segmentBytes = Math.min(limits.segmentBytes, firstSegmentBytesMax);
  const reserve = new SegmentReserve({ fileSystem, observer, guard, folder, segmentBytes });
  const watch = { guard, disk, reserve };
  try {
    await guard.probe();
    const parts = await openWatched(options, limits, watch);
    disk.begin();
    return { ...parts, ...watch, limits, lock };
  } catch (error) {
    await guard.close();
    throw asDiskHard(error);
  }
}

async function openWatched(
  options: LogStoreOptions,
  limits: LogStoreLimits,
  watch: Pick<StoreParts, 'guard' | 'disk' | 'reserve'>,
): Promise<Omit<StoreParts, 'guard' | 'disk' | 'reserve' | 'limits' | 'lock'>> {
  const { fileSystem, clock, entropy, observer, directory, clusterId, nodeId } = options;
  const startedMs = clock.monotonicMs();
  const folder = walFolder(directory);
  const keys = await JournalKeys.open({ ...options, folder });
  const recovery = await recover({ fileSystem, directory, clusterId, nodeId, keys, clock });
  await fileSystem.makeDirectory(folder);
  await removeRewritings(fileSystem, folder);
  await watch.reserve.open();
  await keys.begin({
    segmentSeq: recovery.nextSegmentSeq,
    ledgerGeneration: recovery.generation + 1,
    entropy,
    wallMs: clock.wallMs(),
  });
  const { image } = recovery;
  const { isDead } = image;
  const reader = new SegmentReader(fileSystem, folder, { clusterId, nodeId, keys, isDead });
  const journal = new Journal({
    fileSystem,
    clock,
    entropy,
    observer,
    folder,
    clusterId,
    nodeId,
    keys,
    segmentBytes: limits.segmentBytes,
    nextSegmentSeq: recovery.nextSegmentSeq,
    reader,
    ...watch,
  });
  const opened = await journal.begin();
  for (const segmentSeq of recovery.emptySegmentSeqs) image.retireSegment(segmentSeq);
  const ends = new Map(recovery.segments.map((row) => [row.segmentSeq, row.endOffset]));
  const abandoned = abandonedAtStart(image, keys, ends);
  const found = { wallMs: clock.wallMs(), segmentSeq: journal.writer.segment.segmentSeq };
  for (const record of [...foundRecords(recovery, image, found), ...abandoned]) image.apply(record);
  for (const segment of image.segments.values()) segment.rewriting = undefined;
  image.apply(opened);
  const { segment, endOffset } = journal.writer;
  image.cover({ segmentSeq: segment.segmentSeq, endOffset });
  const ledger = new DurabilityLedger({
    fileSystem,
    entropy,
    folder,
    clusterId,
    nodeId,
    keys,
    ledgerBytes: limits.ledgerBytes,
    image,
    ...watch,
    generation: recovery.generation,
    flushSeq: recovery.flushSeq,
  });
  await ledger.rotate();
  const isWhole = recovery.report.scrubState === 'Healthy';
  await adoptSegments(recovery, journal, isWhole);
  await removeStrays(options, journal.writer.segment.segmentSeq, recovery);
  const bootReport: BootReport = {
    ...recovery.report,
    durationMs: Math.round(clock.monotonicMs() - startedMs),
  };
  return { recovery, journal, ledger, reader, keys, bootReport };
}

/** Hands the segments of earlier processes over to the journal. */
async function adoptSegments(
  { segments, image }: Recovery,
  journal: Journal,
  isWhole: boolean,
): Promise<void> {
  for (const segment of segments) {
    const { trailerOffset } = present(image.segments.get(segment.segmentSeq), 'its row');
    await journal.adopt({ ...segment, isWhole, trailerOffset });
  }
}

/** What recovery found, as records that the old ledger lacks. */
function foundRecords(
  recovery: Recovery,
  image: LedgerImage,
  { wallMs, segmentSeq }: { readonly wallMs: number; readonly segmentSeq: number },
): LedgerRecord[] {
  const records: LedgerRecord[] = [];
  for (const segment of recovery.segments) {
    if (image.segments.get(segment.segmentSeq)?.endOffset === undefined)
      records.push(segmentClosedRecord(segment.segmentSeq, segment.endOffset));
  }
  for (const partition of recovery.partitions) {
    const { partitionId, incarnation, doubt, lastIndex } = partition;
    const row = image.row(partitionId);
    if (doubt !== undefined) {
      if (!row.doubts.has(incarnation))
        records.push({ kind: 'doubt', partitionId, incarnation, reason: doubt });
      // Nobody counts this life any more; its log goes on behind what can be read of it.
      if (lastIndex < (row.durability?.index ?? 0))
        records.push({
          kind: 'truncated',
          partitionId,
          fromIndex: (lastIndex + 1) as LogIndex,
          segmentSeq,
          offset: blockOffset(0),
        });
      continue;
    }
    records.push(...foundEntries(recovery, partition), ...foundDamage(partition, wallMs));
  }
  return records;
}

/** Removes what interrupted rewritings left: the segments themselves are whole. */
async function removeRewritings(fileSystem: FileSystem, folder: string): Promise<void> {
  for (const name of await fileSystem.listDirectory(folder))
    if (name.endsWith(rewriteSuffix)) await fileSystem.remove(`${folder}/${name}`);
}

/** Configurations and entries that were kept behind coverage. */
function foundEntries(recovery: Recovery, { partitionId }: RecoveredPartition): LedgerRecord[] {
  const log = recovery.logs.find((candidate) => candidate.replica.partitionId === partitionId);
  if (log === undefined) return [];
  const records: LedgerRecord[] = log.configurationsFound.map((configuration) => ({
    kind: 'configuration',
    partitionId,
    configuration,
  }));
  const { durability } = log.row;
  if (log.endIndex > (durability?.index ?? 0))
    records.push({
      kind: 'durability',
      partitionId,
      term: log.endTerm,
      index: log.endIndex,
      commitIndex: Math.min(durability?.commitIndex ?? 0, log.endIndex) as LogIndex,
    });
  return records;
}

/** A quarantine is on the disk before anything is said (KER-9). */
function foundDamage(partition: RecoveredPartition, wallMs: number): LedgerRecord[] {
  const { partitionId, incarnation, quarantine } = partition;
  if (quarantine === undefined) return [];
  const { sinceMs, begunMs, missing } = quarantine;
  return [
    {
      kind: 'quarantine',
      partitionId,
      incarnation,
      isActive: true,
      sinceMs: sinceMs ?? wallMs,
      begunMs: sinceMs === undefined ? [...begunMs, wallMs].slice(-quarantinesKept) : begunMs,
      ranges: coarsened(missing, quarantineRangesMax),
    },
  ];
}

/**
 * Removes files that the ledger does not know: segments made ready ahead and segments that hold nothing. While something is
 * damaged, only those that were never written: the others may be all that is left of it.
 */
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
    const isSurelyEmpty =
      recovery.report.scrubState === 'Healthy' ||
      (recovery.isLedgerWhole && recovery.emptySegmentSeqs.includes(segmentSeq)) ||
      (await isNeverEntered(options.fileSystem, `${folder}/${segmentFileName(segmentSeq)}`));
    if (!isSurelyEmpty) continue;
    await options.fileSystem.remove(`${folder}/${segmentFileName(segmentSeq)}`);
    await options.fileSystem.remove(`${folder}/${segmentIndexFileName(segmentSeq)}`);
    removed++;
  }
  if (removed > 0) await options.fileSystem.syncDirectory(folder);
}

/** Whether a segment was made ready and never got its header. */
async function isNeverEntered(fileSystem: FileSystem, path: string): Promise<boolean> {
  const file = await fileSystem.open(path, { access: 'durableWrite' });
  try {
    if ((await fileSystem.size(file)) < blockBytes) return false;
    const first = await fileSystem.read(file, 0, blockBytes);
    return first.every((byte) => byte === 0);
  } catch (error) {
    if (isBadSector(error)) return false;
    throw error;
  } finally {
    await fileSystem.close(file);
  }
}
