/**
 * What a data directory holds after a crash (specification §5.3, KER-9, KER-11).
 *
 * The ledger decides: what it covers must be readable, or the replica is in quarantine until its peers have repaired it; what
 * stands behind it counts only where whole frames continue a log. A ledger that lacks evidence itself is a doubt for good. Nothing is repaired in place: old segments are only read, everything new goes to a new
 * segment and a new ledger generation, which the caller writes before anything is said.
 */
import { ClustorError } from '../base/errors.ts';
import type { ClusterId, LogIndex, NodeId, PartitionId, Term } from '../base/ids.ts';
import { segmentIndexFileName, type SegmentIndexRow } from '../codec/idx-format.ts';
import {
  blockBytes,
  blockOffset,
  segmentFileName,
  segmentSeqOfFileName,
} from '../codec/segment-format.ts';
import { judgeDamage, judgeReplica, repairDelayMs } from '../policy/scrub.ts';
import type { Clock } from '../ports/clock.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { configurationOfFrame } from '../codec/system-entry.ts';
import { ledgerFileName } from './durability-ledger.ts';
import type { JournalKeys } from './journal-keys.ts';
import { LedgerImage, type JournalPosition, type SegmentRow } from './ledger-image.ts';
import { replayLedger, type LedgerReplay } from './ledger-replay.ts';
import type { BootReport, RecoveredPartition } from './log-store-types.ts';
import { readRegistry, registryPath, type NodeRegistry } from './node-registry.ts';
import { missingOf, RecoveredLog, termRunsOf } from './recovered-log.ts';
import { renewTails } from './renew-tail.ts';
import { RunRows, rowOf } from './run-rows.ts';
import { readSegmentIndex } from './segment-index-file.ts';
import { scanSegment } from './segment-scan.ts';

/** A segment that recovery found and that stays. */
export interface RecoveredSegment {
  readonly segmentSeq: number;
  readonly endOffset: number;
  /** What was kept behind coverage begins here; `endOffset` when nothing was. */
  readonly coveredEnd: number;
  /** Rows to be written to its `.idx`; `undefined` when that is there already. */
  readonly rowsToWrite: readonly SegmentIndexRow[] | undefined;
}

/** Everything that recovery found. */
export interface Recovery {
  readonly registry: NodeRegistry;
  readonly image: LedgerImage;
  readonly generation: number;
  readonly flushSeq: number;
  readonly segments: readonly RecoveredSegment[];
  /** Segments that hold nothing and may be removed. */
  readonly emptySegmentSeqs: readonly number[];
  /** Whether the ledger says all that it ever said. */
  readonly isLedgerWhole: boolean;
  readonly nextSegmentSeq: number;
  readonly logs: readonly RecoveredLog[];
  readonly partitions: readonly RecoveredPartition[];
  readonly report: Omit<BootReport, 'durationMs'>;
}

interface Place {
  readonly fileSystem: FileSystem;
  readonly directory: string;
  readonly clusterId: ClusterId;
  readonly nodeId: NodeId;
  readonly keys: JournalKeys;
  readonly clock: Clock;
}

interface Tally {
  segmentsRead: number;
  blocksRead: number;
  framesRead: number;
  framesKeptBehindCoverage: number;
  /** Blocks at or before coverage that are bad, of the segments that were read whole. */
  damagedBlocks: number;
  journalEndedAt: string;
}

/** What the journal gave. */
interface JournalRead {
  readonly logs: ReadonlyMap<PartitionId, RecoveredLog>;
  readonly segments: readonly RecoveredSegment[];
  readonly emptySegmentSeqs: readonly number[];
  readonly tally: Tally;
  /** Places at or before coverage where good blocks hold no good frame. */
  readonly badFrames: number;
}

/** Folder of the journal and the ledger. */
export function walFolder(directory: string): string {
  return `${directory}/wal`;
}

/** Reads a data directory whose lock is held. @throws ClustorError for a foreign, newer or incomplete directory. */
export async function recover(place: Place): Promise<Recovery> {
  const found = await ownRegistry(place);
  const registry = found ?? { clusterId: place.clusterId, nodeId: place.nodeId, replicas: [] };
  const names = await place.fileSystem.listDirectory(walFolder(place.directory));
  const replay = await readLedger(place, names, registry);
  if (found === undefined) refuseForgottenReplicas(place, replay);
  await checkReplicaFiles(place, registry);
  const { logs, segments, emptySegmentSeqs, tally } = await readJournal(place, {
    names,
    registry,
    image: replay.image,
  });
  const partitions = [...logs.values()].map((log) => recoveredPartition(log, replay.fault));
  const known = [
    0,
    ...replay.image.segments.keys(),
    ...names.map((name) => segmentSeqOfFileName(name) ?? 0),
    replay.image.coverage.segmentSeq,
  ];
  await makeDurable(place, names, segments);
  const doubts = partitions.flatMap(({ partitionId, doubt }) =>
    doubt === undefined ? [] : [`${partitionId}: ${doubt}`],
  );
  const damaged = partitions.filter(({ quarantine }) => quarantine !== undefined);
  return {
    registry,
    image: replay.image,
    generation: replay.generation,
    flushSeq: replay.flushSeq,
    segments,
    emptySegmentSeqs,
    isLedgerWhole: replay.fault === undefined,
    nextSegmentSeq: known.reduce((left, right) => Math.max(left, right)) + 1,
    logs: [...logs.values()],
    partitions,
    report: {
      scrubState: doubts.length > 0 || damaged.length > 0 ? 'Quarantine' : 'Healthy',
      ledgerFlushesRead: replay.flushesRead,
      ledgerFlushesFromSecondCopy: replay.fromSecondCopy,
      ledgerTornFlushCut: replay.isTornFlushCut,
      ...tally,
      doubts,
    },
  };
}

interface JournalToRead {
  readonly names: readonly string[];
  readonly registry: NodeRegistry;
  readonly image: LedgerImage;
}

/** Entries that are missing where good blocks hold a bad frame are missing only when they are so each time (SCR-4). */
async function readJournal(place: Place, journal: JournalToRead): Promise<JournalRead> {
  for (let reads = 1; ; reads++) {
    const read = await readSegments(place, journal);
    const verdict = judgeDamage({ isCovered: true, isTagRight: read.badFrames > 0, reads });
    if (verdict !== 'tryAgain' || !lacksEntries(read.logs.values())) return read;
    await new Promise<void>((resolve) => {
      place.clock.setTimer(repairDelayMs(reads - 1), resolve);
    });
  }
}

function lacksEntries(logs: Iterable<RecoveredLog>): boolean {
  return [...logs].some((log) => missingOf(log.pieces(), log).length > 0);
}

async function readSegments(
  place: Place,
  { names, registry, image }: JournalToRead,
): Promise<JournalRead> {
  const logs = new Map<PartitionId, RecoveredLog>();
  for (const replica of registry.replicas)
    logs.set(replica.partitionId, new RecoveredLog(replica, image.row(replica.partitionId)));
  const tally: Tally = {
    segmentsRead: 0,
    blocksRead: 0,
    framesRead: 0,
    framesKeptBehindCoverage: 0,
    damagedBlocks: 0,
    journalEndedAt: 'no segment',
  };
  let badFrames = 0;
  const onBadFrame = (): void => {
    badFrames++;
  };
  const segments: RecoveredSegment[] = [];
  const emptySegmentSeqs: number[] = [];
  const rows = [...image.segments.values()].sort(
    (left, right) => left.segmentSeq - right.segmentSeq,
  );
  for (const row of rows) {
    const { coverage } = image;
    const segment = await readSegment({ place, names, row, coverage, logs, tally, onBadFrame });
    if (segment.endOffset > blockOffset(0)) segments.push(segment);
    else emptySegmentSeqs.push(segment.segmentSeq);
  }
  return { logs, segments, emptySegmentSeqs, tally, badFrames };
}

async function ownRegistry(place: Place): Promise<NodeRegistry | undefined> {
  const registry = await readRegistry(place.fileSystem, place.directory);
  if (registry === undefined) return undefined;
  if (registry.clusterId !== place.clusterId || registry.nodeId !== place.nodeId) {
    throw new ClustorError(
      'CLUSTOR_WRONG_DATA_DIRECTORY',
      `${registryPath(place.directory)} belongs to node ${registry.nodeId} of cluster ${registry.clusterId}`,
    );
  }
  return registry;
}

/**
 * Without a registry there may be first records of replicas that were never named. One that has voted or holds entries was
 * named, so the registry is lost, and the directory is not one without replicas.
 */
function refuseForgottenReplicas(place: Place, { image, fault }: LedgerReplay): void {
  if (fault !== undefined) {
    throw new ClustorError(
      'CLUSTOR_INTEGRITY',
      `${registryPath(place.directory)} is gone, and the ledger cannot say which replicas there were: ${fault}`,
    );
  }
  const partitionId = namedReplicaOf(image);
  if (partitionId === undefined) return;
  throw new ClustorError(
    'CLUSTOR_REPLICA_FILES_MISSING',
    `the ledger in ${walFolder(place.directory)} knows a replica of partition ${partitionId}, but ${registryPath(place.directory)} is gone`,
  );
}

/** A replica that has voted or holds entries by the ledger, so that a registry must have named it. */
export function namedReplicaOf(image: LedgerImage): PartitionId | undefined {
  for (const [partitionId, { hardState, durability }] of image.partitions)
    if ((hardState?.term ?? 0) > 0 || durability !== undefined) return partitionId;
  return undefined;
}

async function readLedger(
  place: Place,
  names: readonly string[],
  registry: NodeRegistry,
): Promise<LedgerReplay> {
  if (names.includes(ledgerFileName))
    return replayLedger(place.fileSystem, `${walFolder(place.directory)}/${ledgerFileName}`, place);
  if (registry.replicas.length > 0) {
    throw new ClustorError(
      'CLUSTOR_REPLICA_FILES_MISSING',
      `${registryPath(place.directory)} lists ${registry.replicas.length} replica(s), but ${walFolder(place.directory)}/${ledgerFileName} is gone; a replica without its ledger may have forgotten votes and is not begun afresh`,
    );
  }
  return {
    image: new LedgerImage(),
    generation: 0,
    flushSeq: 0,
    flushesRead: 0,
    fromSecondCopy: 0,
    isTornFlushCut: false,
    fault: undefined,
  };
}

/** Path of a replica's `metadata.json`. */
export function metadataPath(directory: string, partitionId: PartitionId): string {
  return `${directory}/partitions/${partitionId}/metadata.json`;
}

async function checkReplicaFiles(place: Place, registry: NodeRegistry): Promise<void> {
  for (const { partitionId } of registry.replicas) {
    const path = metadataPath(place.directory, partitionId);
    if ((await place.fileSystem.readFile(path)) !== undefined) continue;
    throw new ClustorError(
      'CLUSTOR_REPLICA_FILES_MISSING',
      `${registryPath(place.directory)} lists a replica of partition ${partitionId}, but ${path} is gone`,
    );
  }
}

interface SegmentToRead {
  readonly place: Place;
  readonly names: readonly string[];
  readonly row: SegmentRow;
  readonly coverage: JournalPosition;
  readonly logs: ReadonlyMap<PartitionId, RecoveredLog>;
  readonly tally: Tally;
  /** Called for each bad frame at or before coverage. */
  readonly onBadFrame: () => void;
}

async function readSegment(options: SegmentToRead): Promise<RecoveredSegment> {
  const { row, logs } = options;
  const { segmentSeq, endOffset } = row;
  if (endOffset !== undefined && (await hasWholeFile(options, endOffset))) {
    const index = await indexOf(options, endOffset);
    if (index !== undefined) {
      offerRows(logs, { segmentSeq, endOffset, rows: index });
      return { segmentSeq, endOffset, coveredEnd: endOffset, rowsToWrite: undefined };
    }
  }
  return scanned(options);
}

function offerRows(
  logs: ReadonlyMap<PartitionId, RecoveredLog>,
  index: {
    readonly segmentSeq: number;
    readonly endOffset: number;
    readonly rows: readonly SegmentIndexRow[];
  },
): void {
  const offsetOf = (row: SegmentIndexRow): number => blockOffset(row.block) + row.offset;
  const starts = index.rows.map(offsetOf).sort((left, right) => left - right);
  const next = new Map<number, number>();
  starts.forEach((start, position) => next.set(start, starts[position + 1] ?? index.endOffset));
  for (const row of index.rows)
    logs.get(row.partitionId)?.offer({
      ...row,
      segmentSeq: index.segmentSeq,
      bytes: (next.get(offsetOf(row)) ?? index.endOffset) - offsetOf(row),
      isCovered: true,
    });
}

async function hasWholeFile(
  { place, names, row }: SegmentToRead,
  endOffset: number,
): Promise<boolean> {
  const name = segmentFileName(row.segmentSeq);
  if (!names.includes(name)) return false;
  const file = await place.fileSystem.open(`${walFolder(place.directory)}/${name}`, {
    access: 'read',
  });
  const size = await place.fileSystem.size(file);
  await place.fileSystem.close(file);
  return size >= endOffset;
}

async function indexOf(
  { place, names, row }: SegmentToRead,
  endOffset: number,
): Promise<readonly SegmentIndexRow[] | undefined> {
  const name = segmentIndexFileName(row.segmentSeq);
  if (!names.includes(name)) return undefined;
  const closed = { segmentSeq: row.segmentSeq, endOffset };
  return (await readSegmentIndex(place.fileSystem, walFolder(place.directory), closed))?.rows;
}

async function scanned({
  place,
  row,
  coverage,
  logs,
  tally,
  onBadFrame,
}: SegmentToRead): Promise<RecoveredSegment> {
  const { segmentSeq } = row;
  const isCoverageHere = coverage.segmentSeq === segmentSeq;
  const coveredEnd = row.endOffset ?? (isCoverageHere ? coverage.endOffset : blockOffset(0));
  const rows = new RunRows();
  /** Behind coverage only blocks up to the last frame kept stay part of the segment. */
  let keptEnd = coveredEnd;
  const result = await scanSegment({
    fileSystem: place.fileSystem,
    path: `${walFolder(place.directory)}/${segmentFileName(segmentSeq)}`,
    segmentSeq,
    owner: place,
    coveredEnd,
    closedEnd: row.endOffset,
    badSectors: 'damage',
    onDamagedBlock: () => rows.interrupt(),
    onBadFrame: ({ block }) => {
      rows.interrupt();
      if (blockOffset(block + 1) <= coveredEnd) onBadFrame();
    },
    onFrame: (frame) => {
      const run = rowOf(frame);
      const log = logs.get(run.partitionId);
      const isCovered = frame.endOffset <= coveredEnd;
      const found = { ...run, segmentSeq, bytes: frame.length, isCovered };
      if ((log?.offer(found) ?? 0) === 0) {
        rows.interrupt();
        return;
      }
      if (!isCovered) {
        tally.framesKeptBehindCoverage++;
        const configuration = configurationOfFrame(frame.bytes, frame.start);
        if (configuration !== undefined) log?.configurationsFound.push(configuration);
      }
      keptEnd = Math.max(keptEnd, frame.endOffset);
      rows.add(run, frame.flush);
    },
  });
  tally.segmentsRead++;
  tally.blocksRead += result.blocksRead;
  tally.framesRead += result.framesRead;
  tally.damagedBlocks += result.damagedBlocks;
  tally.journalEndedAt = `segment ${segmentSeq}: ${result.endedAt}`;
  return { segmentSeq, endOffset: keptEnd, coveredEnd, rowsToWrite: rows.rows };
}

function recoveredPartition(
  log: RecoveredLog,
  ledgerFault: string | undefined,
): RecoveredPartition {
  const { row, replica, baseIndex } = log;
  const pieces = log.pieces();
  const missing = missingOf(pieces, log);
  const configurations = log.configurations();
  const { quarantine } = row;
  const isQuarantined =
    quarantine?.isActive === true && quarantine.incarnation === replica.incarnation;
  const hardState = row.hardState ?? { term: 0 as Term, votedFor: undefined };
  const newestEntryTerm = log.endTerm;
  const verdict = judgeReplica({
    recordedDoubt: row.doubts.get(replica.incarnation),
    ledgerFault,
    hasHardState: row.hardState !== undefined,
    hardStateTerm: hardState.term,
    newestEntryTerm,
    hasConfiguration: configurations.length > 0,
    isQuarantined,
    missing,
  });
  // The core knows the log up to the first hole; what stands behind it waits until the hole is mended.
  const lastIndex = ((missing[0]?.firstIndex ?? log.endIndex + 1) - 1) as LogIndex;
  const commitOf = (end: LogIndex): LogIndex =>
    Math.max(baseIndex, Math.min(row.durability?.commitIndex ?? 0, end)) as LogIndex;
  return {
    ...replica,
    // Whoever lacks a term that its log has is in doubt and never votes: no vote is lost by going on from there.
    hardState:
      newestEntryTerm > hardState.term ? { term: newestEntryTerm, votedFor: undefined } : hardState,
    baseIndex,
    baseTerm: log.baseTerm,
    lastIndex,
    termRuns: termRunsOf(pieces.filter((piece) => piece.firstIndex <= lastIndex)),
    recordedCommitIndex: commitOf(lastIndex),
    configurations,
    doubt: verdict.kind === 'doubt' ? verdict.reason : undefined,
    quarantine:
      verdict.kind === 'quarantine'
        ? {
            missing,
            readable: pieces.map(({ firstIndex, lastIndex: last, term }) => ({
              firstIndex,
              lastIndex: last,
              term,
            })),
            endIndex: log.endIndex,
            endTerm: log.endTerm,
            commitIndex: commitOf(log.endIndex),
            sinceMs: isQuarantined ? quarantine.sinceMs : undefined,
            begunMs: quarantine?.incarnation === replica.incarnation ? quarantine.begunMs : [],
          }
        : undefined,
  };
}

/** Whatever was read back is on the medium when it resolves (KER-11). */
async function makeDurable(
  place: Place,
  names: readonly string[],
  segments: readonly RecoveredSegment[],
): Promise<void> {
  const folder = walFolder(place.directory);
  await renewTails(
    place.fileSystem,
    segments.map(({ segmentSeq, coveredEnd, endOffset }) => ({
      path: `${folder}/${segmentFileName(segmentSeq)}`,
      from: coveredEnd,
      to: Math.ceil(endOffset / blockBytes) * blockBytes,
    })),
  );
  for (const segment of segments) {
    if (segment.rowsToWrite !== undefined && names.includes(segmentFileName(segment.segmentSeq))) {
      await place.fileSystem.syncFile(`${folder}/${segmentFileName(segment.segmentSeq)}`);
    }
  }
  if (names.includes(ledgerFileName))
    await place.fileSystem.syncFile(`${folder}/${ledgerFileName}`);
  if (names.length > 0) await place.fileSystem.syncDirectory(folder);
  if ((await place.fileSystem.readFile(registryPath(place.directory))) !== undefined)
    await place.fileSystem.syncDirectory(place.directory);
}
