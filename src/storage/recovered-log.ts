/**
 * One partition's log as recovery puts it together from the journal, run by run, in journal order.
 *
 * Damage leaves holes. What stands behind a hole and is covered is live all the same: truncations are known from the ledger,
 * so it is kept, as data and as evidence of where this log stands (specification §5.3, §5.6).
 */
import { present } from '../base/assert.ts';
import { cutRange, withoutRange, type IndexRange } from '../base/index-ranges.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import { blockOffset } from '../codec/segment-format.ts';
import type { SegmentIndexRow } from '../codec/idx-format.ts';
import type { PartitionRow } from './ledger-image.ts';
import type { ClosedRange } from './journal-index.ts';
import type { RecoveredPartition } from './log-store-types.ts';
import type { RegisteredReplica } from './node-registry.ts';
import { PartitionLog, type PartitionLogOwner } from './partition-log.ts';

/** Entries of one term in one segment. */
export interface LogPiece extends ClosedRange {
  readonly term: Term;
  /** A repair wrote it there, or compaction. */
  readonly isMoved: boolean;
}

/** A run of frames that was found. */
export type FoundRun = Omit<SegmentIndexRow, 'partitionId'> & {
  readonly segmentSeq: number;
  readonly bytes: number;
  /** It ends at or before the journal's coverage. */
  readonly isCovered: boolean;
};

/** See the file comment. */
export class RecoveredLog {
  readonly replica: RegisteredReplica;
  readonly row: PartitionRow;
  readonly baseIndex: LogIndex;
  readonly baseTerm: Term;
  /** Live entries where they were first written. */
  readonly #pieces: LogPiece[] = [];
  /** Live entries where they were written anew. */
  #moved: LogPiece[] = [];
  /** Configurations of entries that were found behind coverage, which the ledger does not know yet. */
  readonly configurationsFound: Configuration[] = [];
  #lastIndex: LogIndex;
  #lastTerm: Term;
  /** Bytes of its live frames; from an index, which knows no sizes, up to the next run's start. */
  frameBytes = 0;
  /** Runs that did not continue the log. */
  strayRuns = 0;

  constructor(replica: RegisteredReplica, row: PartitionRow) {
    this.replica = replica;
    this.row = row;
    this.baseIndex = row.base?.index ?? (0 as LogIndex);
    this.baseTerm = row.base?.term ?? (0 as Term);
    this.#lastIndex = this.baseIndex;
    this.#lastTerm = this.baseTerm;
  }

  /** The newest index that the ledger covers. */
  get coveredIndex(): LogIndex {
    return Math.max(this.row.durability?.index ?? 0, this.baseIndex) as LogIndex;
  }

  /** Where this log ends by what was found and what the ledger covers. */
  get endIndex(): LogIndex {
    return Math.max(this.#lastIndex, this.coveredIndex) as LogIndex;
  }

  /** Term of the entry at {@link RecoveredLog.endIndex}. */
  get endTerm(): Term {
    return this.#lastIndex >= this.coveredIndex
      ? this.#lastTerm
      : (this.row.durability?.term ?? this.baseTerm);
  }

  /** Readable live entries, by rising index. */
  pieces(): readonly LogPiece[] {
    let pieces: LogPiece[] = [...this.#pieces];
    for (const moved of this.#moved)
      pieces = [...pieces.flatMap((piece) => cutRange(piece, moved)), moved];
    const { quarantine } = this.row;
    if (quarantine?.isActive === true && quarantine.incarnation === this.replica.incarnation)
      for (const damaged of quarantine.ranges)
        pieces = pieces.flatMap((piece) => cutRange(piece, damaged));
    return pieces.sort((left, right) => left.firstIndex - right.firstIndex);
  }

  /** The configurations whose entries are in the live log or below it, by rising index (specification §3.1). */
  configurations(): readonly Configuration[] {
    const pieces = this.pieces();
    // The entry of a covered configuration may be unreadable; the ledger dropped those that were truncated.
    const isLive = ({ index, term }: Configuration): boolean => {
      if (index <= this.baseIndex) return true;
      const piece = pieces.find((one) => one.firstIndex <= index && one.lastIndex >= index);
      return piece === undefined ? index <= this.coveredIndex : piece.term === term;
    };
    const live = [...this.row.configurations, ...this.configurationsFound].filter(isLive);
    const byIndex = new Map(live.map((configuration) => [configuration.index, configuration]));
    return [...byIndex.values()].sort((left, right) => left.index - right.index);
  }

  /** Takes in a run; returns how many of its entries, from its start, are live entries of the log. */
  offer(run: FoundRun): number {
    const live = this.#liveCount(run);
    const { segmentSeq, term } = run;
    const lastIndex = (run.firstIndex + live - 1) as LogIndex;
    if (live === 0 || lastIndex <= this.baseIndex) return 0;
    const firstIndex = Math.max(run.firstIndex, this.baseIndex + 1) as LogIndex;
    const piece = { segmentSeq, firstIndex, lastIndex, term, isMoved: false };
    const isTaken =
      firstIndex <= this.#lastIndex ? this.#offerMoved(piece) : this.#offerNext(piece, run);
    if (!isTaken) {
      this.strayRuns++;
      return 0;
    }
    this.frameBytes += (run.bytes * (lastIndex - firstIndex + 1)) / run.count;
    return live;
  }

  /** Behind coverage only what continues the log counts; before it a hole is damage, and what follows is kept. */
  #offerNext(piece: LogPiece, { isCovered }: FoundRun): boolean {
    const expected = isCovered ? piece.firstIndex : this.endIndex + 1;
    const isPlaced = piece.firstIndex === this.#lastIndex + 1 || piece.firstIndex === expected;
    if (!isPlaced || piece.term < this.#lastTerm) return false;
    if (isCovered && piece.firstIndex > this.#lastIndex + 1 && piece.lastIndex > this.coveredIndex)
      return false;
    const newest = this.#pieces[this.#pieces.length - 1];
    if (
      newest?.segmentSeq === piece.segmentSeq &&
      newest.term === piece.term &&
      newest.lastIndex + 1 === piece.firstIndex
    )
      this.#pieces[this.#pieces.length - 1] = { ...newest, lastIndex: piece.lastIndex };
    else this.#pieces.push(piece);
    this.#extend(piece);
    return true;
  }

  /** An entry that was found before counts a second time only where the ledger says that it was moved here. */
  #offerMoved(piece: LogPiece): boolean {
    let isTaken = false;
    for (const { toSegment, firstIndex, lastIndex } of this.row.moved) {
      if (toSegment !== piece.segmentSeq) continue;
      if (firstIndex > piece.lastIndex || lastIndex < piece.firstIndex) continue;
      const moved = {
        ...piece,
        firstIndex: Math.max(firstIndex, piece.firstIndex) as LogIndex,
        lastIndex: Math.min(lastIndex, piece.lastIndex) as LogIndex,
        isMoved: true,
      };
      this.#moved = [...this.#moved.flatMap((older) => cutRange(older, moved)), moved];
      this.#extend(moved);
      isTaken = true;
    }
    return isTaken;
  }

  #extend(piece: LogPiece): void {
    if (piece.lastIndex <= this.#lastIndex) return;
    this.#lastIndex = piece.lastIndex;
    this.#lastTerm = piece.term;
  }

  /** Frames from a truncation's index on that stand before its position are dead (specification §5.5). */
  #liveCount({ segmentSeq, block, firstIndex, count }: FoundRun): number {
    let end = firstIndex + count;
    for (const truncation of this.row.truncations) {
      const isBeforeIt =
        segmentSeq < truncation.segmentSeq ||
        (segmentSeq === truncation.segmentSeq && blockOffset(block) < truncation.offset);
      if (isBeforeIt && truncation.fromIndex < end) end = truncation.fromIndex;
    }
    return Math.max(0, end - firstIndex);
  }
}

/** Entries behind `baseIndex` up to `endIndex` that no piece holds. */
export function missingOf(
  pieces: readonly IndexRange[],
  log: { readonly baseIndex: LogIndex; readonly endIndex: LogIndex },
): IndexRange[] {
  if (log.endIndex <= log.baseIndex) return [];
  let missing: IndexRange[] = [
    { firstIndex: (log.baseIndex + 1) as LogIndex, lastIndex: log.endIndex },
  ];
  for (const piece of pieces) missing = withoutRange(missing, piece);
  return missing;
}

/** Runs of equal terms of pieces that follow each other. */
export function termRunsOf(
  pieces: readonly LogPiece[],
): { readonly firstIndex: LogIndex; readonly term: Term }[] {
  const runs: { readonly firstIndex: LogIndex; readonly term: Term }[] = [];
  for (const { firstIndex, term } of pieces)
    if (runs[runs.length - 1]?.term !== term) runs.push({ firstIndex, term });
  return runs;
}

/** Pieces as ranges of segments, joined where they follow each other there. */
export function rangesOf(pieces: readonly LogPiece[]): ClosedRange[] {
  const ranges: (ClosedRange & { readonly isMoved: boolean })[] = [];
  for (const { segmentSeq, firstIndex, lastIndex, isMoved } of pieces) {
    const newest = ranges[ranges.length - 1];
    const continues =
      newest?.segmentSeq === segmentSeq &&
      newest.lastIndex + 1 === firstIndex &&
      !newest.isMoved &&
      !isMoved;
    if (newest !== undefined && continues) ranges[ranges.length - 1] = { ...newest, lastIndex };
    else ranges.push({ segmentSeq, firstIndex, lastIndex, isMoved });
  }
  return ranges;
}

/** The logs that a store goes on with. */
export function recoveredPartitionLogs(
  owner: PartitionLogOwner,
  {
    logs,
    partitions,
  }: {
    readonly logs: readonly RecoveredLog[];
    readonly partitions: readonly RecoveredPartition[];
  },
): readonly PartitionLog[] {
  return logs.map((recovered) => {
    const found = present(
      partitions.find(({ partitionId }) => partitionId === recovered.replica.partitionId),
      'a recovered log has its partition',
    );
    return recoveredPartitionLog(owner, { recovered, found });
  });
}

/** The log that a store goes on with. A doubted one ends at its first hole; a quarantined one keeps what is behind it. */
function recoveredPartitionLog(
  owner: PartitionLogOwner,
  { recovered, found }: { readonly recovered: RecoveredLog; readonly found: RecoveredPartition },
): PartitionLog {
  const { quarantine } = found;
  const log = new PartitionLog(owner, {
    ...found,
    lastIndex: quarantine?.endIndex ?? found.lastIndex,
    commitIndex: quarantine?.commitIndex ?? found.recordedCommitIndex,
    frameBytes: recovered.frameBytes,
    quarantine:
      recovered.row.quarantine?.incarnation === found.incarnation
        ? recovered.row.quarantine
        : undefined,
    holds: recovered.row.holds.filter(({ incarnation }) => incarnation === found.incarnation),
  });
  const end = quarantine === undefined ? found.lastIndex : quarantine.endIndex;
  const behind = {
    firstIndex: (end + 1) as LogIndex,
    lastIndex: Number.MAX_SAFE_INTEGER as LogIndex,
  };
  for (const range of rangesOf(recovered.pieces()))
    for (const part of cutRange(range, behind)) log.index.addClosed(part);
  return log;
}
