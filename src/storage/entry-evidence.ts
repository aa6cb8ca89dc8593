/**
 * What one data directory proves about entries of a partition (specification §5.5): for each index the ledger flush and
 * record that cover it, and the live, whole frame in the journal at or before the position that this flush covers.
 *
 * A frame alone proves nothing, because what was written but never covered may be cut at the next start. A record alone
 * proves nothing either, because the disk may have lost what it covers. Only both together are evidence.
 *
 * An entry at or below the one that the log begins behind has no frame any more. What proves it is the ledger record that
 * says so, and a snapshot at or behind that entry which the log goes on from, read whole and compared with its manifest. It
 * holds what the entry did, and not the entry: which one it was, other directories may tell (`policy/entry-proof`).
 */
import { ClustorError } from '../base/errors.ts';
import type { Incarnation, LogIndex, PartitionId, ReplicaId, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import { frameCrc, frameLeaf, verifyLeaf } from '../codec/entry-frame.ts';
import type { QuarantineRow } from '../codec/ledger-records.ts';
import { segmentSeqOfFileName } from '../codec/segment-format.ts';
import { TrailerTally } from '../codec/segment-trailer.ts';
import { configurationOfFrame } from '../codec/system-entry.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import type { FileSystem } from '../ports/file-system.ts';
import { CoverageTrail, type BaseEvidence, type LedgerEvidence } from './coverage-trail.ts';
import {
  LiveLog,
  segmentsOf,
  walkSegment,
  withOpened,
  type DirectoryPlace,
  type OpenedDirectory,
  type TermRange,
  type WalkedFrame,
  type WalkedSegment,
} from './journal-walk.ts';
import { ledgerFileName } from './durability-ledger.ts';
import { isBefore } from './ledger-image.ts';
import { walFolder } from './recovery.ts';
import type { SegmentScanResult } from './segment-scan.ts';
import type { SnapshotManifest, SnapshotPlace } from './snapshot-folder.ts';
import { goodSnapshot, listSnapshots, syncSnapshots, unlessGone } from './snapshot-listing.ts';
import { checkTrailer } from './trailer-check.ts';

/** Proof that this directory holds an entry on stable storage. */
export interface EntryEvidence {
  readonly kind: 'held';
  readonly index: LogIndex;
  readonly term: Term;
  readonly segmentSeq: number;
  readonly block: number;
  readonly offset: number;
  readonly bytes: number;
  readonly crc: number;
  /** Whether the frame carries a Merkle leaf; it was verified then. */
  readonly hasLeaf: boolean;
  readonly segmentMac: SegmentMacState;
  readonly ledger: LedgerEvidence;
}

/**
 * What the trailer of the frame's segment says: `good` with a MAC that was checked; `open` while the segment has no trailer yet;
 * `none` where its trailer is right and has no MAC, because the directory is not encrypted; `unchecked` where the key of its
 * epoch is not at hand, where the disk does not give it back, or where damage to other entries leaves nothing to compare it with.
 */
export type SegmentMacState = 'good' | 'open' | 'none' | 'unchecked';

/** Proof that this directory holds what an entry did, in a snapshot on stable storage. */
export interface SnapshotEvidence {
  readonly kind: 'inSnapshot';
  readonly index: LogIndex;
  /** Where the log begins, and the flush that says so. */
  readonly base: BaseEvidence;
  /** A snapshot that was read whole, and is what its manifest says. */
  readonly snapshot: SnapshotPlace & {
    /** SHA-256 of what the manifest says. */
    readonly contentHash: string;
    readonly createdMs: number;
    readonly bytes: number;
    readonly parts: number;
  };
}

/** What the directory says about one index. */
export type EntryFinding =
  | EntryEvidence
  | SnapshotEvidence
  | { readonly kind: 'notHeld'; readonly index: LogIndex; readonly reason: string };

/** What one directory says. */
export interface DirectoryEvidence {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly replica:
    | { readonly replicaId: ReplicaId; readonly incarnation: Incarnation }
    | undefined;
  /** Why this replica counts for nothing, if so. */
  readonly doubt: string | undefined;
  readonly commitIndex: LogIndex;
  /** Live configurations that its ledger knows, and those of its snapshots. */
  readonly configurations: readonly Configuration[];
  /** The log begins behind this entry; 0 where it begins with its first one. */
  readonly baseIndex: LogIndex;
  /** Terms of the covered entries that are in the journal. */
  readonly terms: readonly TermRange[];
  /** Entries that are known to be committed, and so everything before them: where the log begins, and the snapshot that was read. */
  readonly committed: readonly SnapshotPlace[];
  readonly findings: ReadonlyMap<LogIndex, EntryFinding>;
}

/** Which entries are asked about. */
export interface EvidenceQuestion {
  readonly partitionId: PartitionId;
  readonly indexes: ReadonlySet<LogIndex>;
  readonly cryptography: Cryptography;
  /** Asked between slices of the journal, under a node that runs; resolves with whether to go on. */
  readonly pace?: (() => Promise<boolean>) | undefined;
}

const notCovered = 'the ledger does not cover it';
/** Of a directory in use. */
const readingsMax = 3;

interface FoundFrame {
  readonly term: Term;
  readonly segmentSeq: number;
  readonly block: number;
  readonly offset: number;
  readonly bytes: number;
  readonly crc: number;
  readonly hasLeaf: boolean;
  readonly isLeafRight: boolean;
  readonly endOffset: number;
  /** It stands where the ledger says that it was written anew. */
  readonly isMoved: boolean;
}

/** Reads a directory. @throws ClustorError as {@link withOpened}. */
export function gatherEvidence(
  place: DirectoryPlace,
  question: EvidenceQuestion,
): Promise<DirectoryEvidence> {
  const covered = new CoverageTrail(question.partitionId);
  return withOpened(
    place,
    (opened) => gathered(opened, question, covered),
    (flush) => {
      covered.add(flush);
    },
  );
}

/**
 * Reads the directory of a node that runs, which changes under the reader: it is read again, up to three times, as long as something
 * seems to be wrong with it. @throws ClustorError as {@link withOpened}.
 */
export async function gatherWhileUsed(
  place: DirectoryPlace,
  question: EvidenceQuestion,
): Promise<DirectoryEvidence> {
  let evidence = await gatherEvidence(place, question);
  for (let reading = 1; reading < readingsMax && seemsDamaged(evidence); reading++)
    evidence = await gatherEvidence(place, question);
  return evidence;
}

/** Where no replica is there is nothing to read again. */
function seemsDamaged({ replica, doubt, findings }: DirectoryEvidence): boolean {
  if (replica === undefined) return false;
  if (doubt !== undefined) return true;
  return [...findings.values()].some(
    (finding) => finding.kind === 'notHeld' && finding.reason !== notCovered,
  );
}

async function gathered(
  opened: OpenedDirectory,
  question: EvidenceQuestion,
  covered: CoverageTrail,
): Promise<DirectoryEvidence> {
  const { registry, replay } = opened;
  const replica = registry.replicas.find((row) => row.partitionId === question.partitionId);
  const row = replay.image.row(question.partitionId);
  const doubt =
    replica === undefined
      ? 'the directory hosts no replica of the partition'
      : (replay.fault ?? row.doubts.get(replica.incarnation));
  const journal = await framesOf(opened, question);
  const snapshots = await snapshotsOf(opened, question, { log: journal.log, base: covered.base });
  const findings = new Map<LogIndex, EntryFinding>();
  for (const index of question.indexes) {
    if (index <= journal.log.baseIndex && doubt === undefined) {
      findings.set(index, inSnapshot(index, snapshots));
      continue;
    }
    const frame = journal.frames.get(index);
    const segment = frame && journal.segments.get(frame.segmentSeq);
    const ledger = covered.of(index, frame?.isMoved === true);
    const isGivenUp = isQuarantined(row.quarantine, replica?.incarnation, index);
    findings.set(
      index,
      findingOf({ doubt, index, frame, segment, ledger, isGivenUp }, journal.damage),
    );
  }
  const commitIndex = row.durability?.commitIndex ?? (0 as LogIndex);
  return {
    clusterId: registry.clusterId,
    nodeId: registry.nodeId,
    replica,
    doubt,
    commitIndex,
    configurations: [...row.configurations, ...journal.configurations, ...snapshots.configurations],
    baseIndex: journal.log.baseIndex,
    terms: journal.log.terms,
    committed: doubt === undefined ? snapshots.committed : [],
    findings,
  };
}

/** What the snapshots of a directory say of entries that are in the journal no more. */
interface SnapshotsRead {
  readonly base: BaseEvidence | undefined;
  /** The newest good one that the log goes on from. */
  readonly manifest: SnapshotManifest | undefined;
  readonly faults: readonly string[];
  readonly configurations: readonly Configuration[];
  readonly committed: readonly SnapshotPlace[];
}

/** Reads a snapshot only where an entry is asked about that none but a snapshot has. */
async function snapshotsOf(
  opened: OpenedDirectory,
  { partitionId, indexes, cryptography, pace }: EvidenceQuestion,
  { log, base }: { readonly log: LiveLog; readonly base: BaseEvidence | undefined },
): Promise<SnapshotsRead> {
  const listing = await listSnapshots(opened, { partitionId, cryptography });
  const configurations = listing.folder.published.map(({ configuration }) => configuration);
  const isAsked = [...indexes].some((index) => index <= log.baseIndex);
  const { manifest, faults } = isAsked
    ? await goodSnapshot(listing, log, pace)
    : { manifest: undefined, faults: [] };
  const committed = [base, manifest].flatMap((place) =>
    place === undefined ? [] : [{ index: place.index, term: place.term }],
  );
  return { base, manifest, faults, configurations, committed };
}

function inSnapshot(index: LogIndex, { base, manifest, faults }: SnapshotsRead): EntryFinding {
  if (base === undefined || manifest === undefined) {
    const why = faults.length === 0 ? '' : `: ${faults.join('; ')}`;
    return {
      kind: 'notHeld',
      index,
      reason: `the log begins behind entry ${base?.index ?? 0}, and no good snapshot is at or behind that entry${why}`,
    };
  }
  const { index: at, term, contentHash, createdMs, stateBytes, machineBytes, parts } = manifest;
  return {
    kind: 'inSnapshot',
    index,
    base,
    snapshot: {
      index: at,
      term,
      contentHash,
      createdMs,
      bytes: stateBytes + machineBytes,
      parts: parts.length,
    },
  };
}

/**
 * Makes what will be read durable first: after a kill the page cache is not the disk, and a proof speaks for the disk
 * (KER-11).
 */
export async function syncBeforeReading(fileSystem: FileSystem, directory: string): Promise<void> {
  const folder = walFolder(directory);
  for (const name of await fileSystem.listDirectory(folder)) {
    if (name === ledgerFileName || segmentSeqOfFileName(name) !== undefined)
      await unlessGone(fileSystem.syncFile(`${folder}/${name}`));
  }
  await fileSystem.syncDirectory(folder);
  await syncSnapshots(fileSystem, directory);
}

/** Whether a quarantine that is in force counts the entry as damaged, whatever can be read of it now (specification §5.6). */
function isQuarantined(
  quarantine: QuarantineRow | undefined,
  incarnation: Incarnation | undefined,
  index: LogIndex,
): boolean {
  return (
    quarantine?.isActive === true &&
    quarantine.incarnation === incarnation &&
    quarantine.ranges.some(({ firstIndex, lastIndex }) => firstIndex <= index && lastIndex >= index)
  );
}

interface Considered {
  readonly doubt: string | undefined;
  readonly isGivenUp: boolean;
  readonly index: LogIndex;
  readonly frame: FoundFrame | undefined;
  readonly segment: SegmentTrailer | undefined;
  readonly ledger: LedgerEvidence | undefined;
}

/** How the trailer of a segment stands. */
interface SegmentTrailer {
  readonly mac: SegmentMacState;
  readonly fault?: string;
}

function findingOf(considered: Considered, damage: string): EntryFinding {
  const { doubt, index, frame, segment, ledger, isGivenUp } = considered;
  const not = (reason: string): EntryFinding => ({ kind: 'notHeld', index, reason });
  if (doubt !== undefined) return not(`the replica is in doubt: ${doubt}`);
  if (ledger === undefined) return not(notCovered);
  if (frame === undefined)
    return not(
      `ledger flush ${ledger.flushSeq} covers it, but the journal holds no good live frame of it${damage}`,
    );
  if (isGivenUp) return not('its replica is in quarantine, which counts the entry as damaged');
  if (!frame.isLeafRight) return not('the Merkle leaf of its frame is wrong');
  const { segmentSeq, endOffset } = frame;
  if (segment?.fault !== undefined) return not(`segment ${segmentSeq}: ${segment.fault}`);
  if (isBefore(ledger.covers, { segmentSeq, endOffset }))
    return not(
      `its frame stands behind the position that ledger flush ${ledger.flushSeq} covers, and is no evidence`,
    );
  const { record } = ledger;
  const isTermRight =
    index === record.index && !ledger.isCarriedOver
      ? frame.term === record.term
      : frame.term <= record.term;
  if (!isTermRight)
    return not(
      `its frame has term ${frame.term}, the record of entry ${record.index} in ledger flush ${ledger.flushSeq} term ${record.term}`,
    );
  const { term, block, offset, bytes, crc, hasLeaf } = frame;
  return {
    kind: 'held',
    index,
    term,
    segmentSeq,
    block,
    offset,
    bytes,
    crc,
    hasLeaf,
    segmentMac: segment?.mac ?? 'open',
    ledger,
  };
}

async function framesOf(
  opened: OpenedDirectory,
  { partitionId, indexes, cryptography, pace }: EvidenceQuestion,
): Promise<{
  readonly log: LiveLog;
  readonly frames: ReadonlyMap<LogIndex, FoundFrame>;
  /** By number. */
  readonly segments: ReadonlyMap<number, SegmentTrailer>;
  readonly configurations: readonly Configuration[];
  readonly damage: string;
}> {
  const frames = new Map<LogIndex, FoundFrame>();
  const segments = new Map<number, SegmentTrailer>();
  const configurations: Configuration[] = [];
  const damage: string[] = [];
  const log = new LiveLog(opened.replay.image.row(partitionId));
  for (const segment of segmentsOf(opened)) {
    if (segment.row === undefined) continue;
    const tally = segment.row.trailerOffset > 0 ? new TrailerTally() : undefined;
    let badFrames = 0;
    const result = await walkSegment(opened, segment, {
      pace,
      onBadFrame: () => {
        badFrames++;
      },
      onFrame: (walked) => {
        tally?.add(walked.frame.bytes, walked.frame.start);
        if (walked.partitionId !== partitionId || !log.take(walked)) return;
        // A configuration that is not covered yet is in force all the same.
        const { bytes, start } = walked.frame;
        const configuration = configurationOfFrame(bytes, start);
        if (configuration !== undefined) configurations.push(configuration);
        if (indexes.has(walked.index))
          frames.set(walked.index, {
            ...foundFrame(walked, cryptography),
            isMoved: log.isMovedTo(walked.index, walked.segmentSeq),
          });
      },
    });
    if (result.endedAt === 'stopped')
      throw new ClustorError('CLUSTOR_CLOSED', 'the reading was ended before it was done');
    const isWhole =
      badFrames + result.damagedBlocks === 0 && result.endOffset >= segment.coveredEnd;
    segments.set(
      segment.segmentSeq,
      await trailerState(opened, { segment, result, tally, isWhole }),
    );
    if (result.damagedBlocks > 0)
      damage.push(`segment ${segment.segmentSeq} has ${result.damagedBlocks} damaged blocks`);
  }
  return {
    log,
    frames,
    segments,
    configurations,
    damage: damage.length === 0 ? '' : `; ${damage.join(', ')}`,
  };
}

/** A segment that was not read whole, or is gone by now, has nothing that its trailer could be compared with. */
async function trailerState(
  opened: OpenedDirectory,
  read: {
    readonly segment: WalkedSegment;
    readonly result: SegmentScanResult;
    /** Where the ledger names a trailer. */
    readonly tally: TrailerTally | undefined;
    readonly isWhole: boolean;
  },
): Promise<SegmentTrailer> {
  const { segment, tally, isWhole } = read;
  const { row, segmentSeq } = segment;
  const { header } = read.result;
  if (row === undefined || tally === undefined) return { mac: 'open' };
  if (header === undefined || !isWhole) return { mac: 'unchecked' };
  const { trailerOffset } = row;
  const fields = tally.finish(segmentSeq);
  const verdict = await unlessGone(
    checkTrailer(opened, { segmentSeq, trailerOffset, header, fields }),
  );
  if (verdict === undefined || verdict.mac === 'unchecked') return { mac: 'unchecked' };
  const mac = verdict.mac === 'checked' ? 'good' : verdict.mac;
  return verdict.fault === undefined ? { mac } : { mac, fault: verdict.fault };
}

function foundFrame(
  { frame, segmentSeq, term }: WalkedFrame,
  hashes: Cryptography,
): Omit<FoundFrame, 'isMoved'> {
  const { bytes, start, length, block, offset, endOffset } = frame;
  return {
    term,
    segmentSeq,
    block,
    offset,
    bytes: length,
    crc: frameCrc(bytes, start),
    hasLeaf: frameLeaf(bytes, start) !== undefined,
    isLeafRight: verifyLeaf(bytes, start, hashes),
    endOffset,
  };
}
