/**
 * What one data directory proves about entries of a partition (specification §5.5): for each index the ledger flush and
 * record that cover it, and the live, whole frame in the journal at or before the position that this flush covers.
 *
 * A frame alone proves nothing, because what was written but never covered may be cut at the next start. A record alone
 * proves nothing either, because the disk may have lost what it covers. Only both together are evidence.
 */
import type { Incarnation, LogIndex, PartitionId, ReplicaId, Term } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import type { Configuration } from '../base/membership.ts';
import { frameCrc, frameLeaf, verifyLeaf } from '../codec/entry-frame.ts';
import { ledgerHeaderBytes } from '../codec/ledger-format.ts';
import type { QuarantineRow } from '../codec/ledger-records.ts';
import { segmentSeqOfFileName } from '../codec/segment-format.ts';
import { configurationOfFrame } from '../codec/system-entry.ts';
import type { Cryptography } from '../ports/cryptography.ts';
import type { FileSystem } from '../ports/file-system.ts';
import {
  LiveLog,
  segmentsOf,
  walkSegment,
  withOpened,
  type DirectoryPlace,
  type OpenedDirectory,
  type WalkedFrame,
} from './journal-walk.ts';
import { ledgerFileName } from './durability-ledger.ts';
import { isBefore, type JournalPosition } from './ledger-image.ts';
import type { ReplayedFlush } from './ledger-replay.ts';
import { walFolder } from './recovery.ts';

/** The ledger record that covers an entry, and the flush it stands in. */
export interface LedgerEvidence {
  readonly generation: number;
  readonly flushSeq: number;
  /** File offset of the flush's first copy. */
  readonly offset: number;
  readonly copies: ReplayedFlush['copies'];
  /** The first flush of a generation, which carries over what the one before said: a truncation may have lowered the index, not the term. */
  readonly isCarriedOver: boolean;
  readonly record: {
    readonly index: LogIndex;
    readonly term: Term;
    readonly commitIndex: LogIndex;
  };
  /** Journal position that the flush covers; where a repair wrote the entry again, the position of that flush. */
  readonly covers: JournalPosition;
  /** The flush that says where a repair wrote the entry, if one did. */
  readonly movedBy?: { readonly generation: number; readonly flushSeq: number } | undefined;
}

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
  readonly ledger: LedgerEvidence;
}

/** What the directory says about one index. */
export type EntryFinding =
  EntryEvidence | { readonly kind: 'notHeld'; readonly index: LogIndex; readonly reason: string };

/** What one directory says. */
export interface DirectoryEvidence {
  readonly clusterId: string;
  readonly nodeId: number;
  readonly replica:
    { readonly replicaId: ReplicaId; readonly incarnation: Incarnation } | undefined;
  /** Why this replica counts for nothing, if so. */
  readonly doubt: string | undefined;
  readonly commitIndex: LogIndex;
  /** Live configurations that its ledger knows. */
  readonly configurations: readonly Configuration[];
  readonly findings: ReadonlyMap<LogIndex, EntryFinding>;
}

/** Which entries are asked about. */
export interface EvidenceQuestion {
  readonly partitionId: PartitionId;
  readonly indexes: ReadonlySet<LogIndex>;
  readonly cryptography: Cryptography;
}

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
  /** It stands where the ledger says that a repair wrote it. */
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
  const findings = new Map<LogIndex, EntryFinding>();
  for (const index of question.indexes) {
    const frame = journal.frames.get(index);
    const ledger = covered.of(index, frame?.isMoved === true);
    const isGivenUp = isQuarantined(row.quarantine, replica?.incarnation, index);
    findings.set(index, findingOf({ doubt, index, frame, ledger, isGivenUp }, journal.damage));
  }
  const commitIndex = row.durability?.commitIndex ?? (0 as LogIndex);
  return {
    clusterId: registry.clusterId,
    nodeId: registry.nodeId,
    replica,
    doubt,
    commitIndex,
    configurations: [...row.configurations, ...journal.configurations],
    findings,
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
      await fileSystem.syncFile(`${folder}/${name}`);
  }
  await fileSystem.syncDirectory(folder);
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
  readonly ledger: LedgerEvidence | undefined;
}

function findingOf(considered: Considered, damage: string): EntryFinding {
  const { doubt, index, frame, ledger, isGivenUp } = considered;
  const not = (reason: string): EntryFinding => ({ kind: 'notHeld', index, reason });
  if (doubt !== undefined) return not(`the replica is in doubt: ${doubt}`);
  if (ledger === undefined) return not('the ledger does not cover it');
  if (frame === undefined)
    return not(
      `ledger flush ${ledger.flushSeq} covers it, but the journal holds no good live frame of it${damage}`,
    );
  if (isGivenUp) return not('its replica is in quarantine, which counts the entry as damaged');
  if (!frame.isLeafRight) return not('the Merkle leaf of its frame is wrong');
  const { segmentSeq, endOffset } = frame;
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
    ledger,
  };
}

async function framesOf(
  opened: OpenedDirectory,
  { partitionId, indexes, cryptography }: EvidenceQuestion,
): Promise<{
  readonly frames: ReadonlyMap<LogIndex, FoundFrame>;
  readonly configurations: readonly Configuration[];
  readonly damage: string;
}> {
  const frames = new Map<LogIndex, FoundFrame>();
  const configurations: Configuration[] = [];
  const damage: string[] = [];
  const log = new LiveLog(opened.replay.image.row(partitionId));
  for (const segment of segmentsOf(opened)) {
    if (segment.row === undefined) continue;
    const result = await walkSegment(opened, segment, {
      onFrame: (walked) => {
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
    if (result.damagedBlocks > 0)
      damage.push(`segment ${segment.segmentSeq} has ${result.damagedBlocks} damaged blocks`);
  }
  return {
    frames,
    configurations,
    damage: damage.length === 0 ? '' : `; ${damage.join(', ')}`,
  };
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
    isLeafRight: verifyLeaf(bytes, start, (input) => hashes.sha256(input)),
    endOffset,
  };
}

/** The records that cover entries of one partition, what was truncated since left out; ascending in what they reach. */
class CoverageTrail {
  readonly #partitionId: PartitionId;
  #trail: { readonly evidence: LedgerEvidence; readonly reach: number }[] = [];
  /** Moves by repairs, the newest last; which of them hold is for the image to say. */
  readonly #moves: (IndexRange & Pick<LedgerEvidence, 'movedBy' | 'covers'>)[] = [];

  constructor(partitionId: PartitionId) {
    this.#partitionId = partitionId;
  }

  add({ flush, offset, copies }: ReplayedFlush): void {
    const { generation, flushSeq, segmentSeq, endOffset } = flush;
    for (const record of flush.records) {
      if (record.kind === 'truncated' && record.partitionId === this.#partitionId)
        this.#cut(record.fromIndex - 1);
      if (record.kind === 'rangeMoved' && record.partitionId === this.#partitionId) {
        const { firstIndex, lastIndex } = record;
        const movedBy = { generation, flushSeq };
        this.#moves.push({ firstIndex, lastIndex, movedBy, covers: { segmentSeq, endOffset } });
      }
      if (record.kind !== 'durability' || record.partitionId !== this.#partitionId) continue;
      const { index, term, commitIndex } = record;
      if (index <= this.#reach) continue;
      const evidence = {
        generation,
        flushSeq,
        offset,
        copies,
        isCarriedOver: offset === ledgerHeaderBytes,
        record: { index, term, commitIndex },
        covers: { segmentSeq, endOffset },
      };
      this.#trail.push({ evidence, reach: index });
    }
  }

  /** The first record that reaches an entry, with the newest move of it if it was moved. */
  of(index: LogIndex, isMoved: boolean): LedgerEvidence | undefined {
    const evidence = this.#firstTo(index);
    if (evidence === undefined || !isMoved) return evidence;
    const isOf = (move: IndexRange): boolean => move.firstIndex <= index && move.lastIndex >= index;
    const move = [...this.#moves].reverse().find(isOf);
    return move === undefined
      ? evidence
      : { ...evidence, movedBy: move.movedBy, covers: move.covers };
  }

  #firstTo(index: LogIndex): LedgerEvidence | undefined {
    let low = 0;
    let high = this.#trail.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#trail[middle]?.reach ?? 0) < index) low = middle + 1;
      else high = middle;
    }
    return this.#trail[low]?.evidence;
  }

  get #reach(): number {
    return this.#trail[this.#trail.length - 1]?.reach ?? 0;
  }

  /** Records that reached further go on to speak for what is left: a truncation takes nothing below it away. */
  #cut(reach: number): void {
    const kept = this.#trail.filter((row) => row.reach <= reach);
    const first = this.#trail[kept.length];
    const left = kept[kept.length - 1]?.reach ?? 0;
    this.#trail = first !== undefined && reach > left ? [...kept, { ...first, reach }] : kept;
  }
}
