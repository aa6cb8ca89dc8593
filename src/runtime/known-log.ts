/**
 * What a replica knows of its own log while parts of it cannot be read: which entries are missing, and which term stands where.
 *
 * A term is known where a frame was read, at the end of what the ledger covers, and within a hole whose two sides are of one
 * term: terms never fall along a log. Each known (index, term) is evidence: two logs that agree at one index agree before it
 * as well (log matching), so a peer that holds the same there holds the very entries that are missing here.
 */
import { cutRange, withoutRange, withRange, type IndexRange } from '../base/index-ranges.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import type { RaftState, WholeLog } from '../raft/index.ts';
import type { RecoveredPartition, TermPiece } from '../storage/log-store-types.ts';

/** A place of the log. */
export interface LogPosition {
  readonly index: LogIndex;
  readonly term: Term;
}

/** Positions that a request names at most. */
const evidenceMax = 32;

/** See the file comment. */
export class KnownLog {
  readonly base: LogPosition;
  readonly end: LogPosition;
  /** Everything up to here was durable once; what lies behind it may be read before it is written. */
  readonly durableIndex: LogIndex;
  /** Commit index recorded for the whole log. */
  readonly commitIndex: LogIndex;
  #missing: readonly IndexRange[];
  /** Entries whose term is known, by rising index. */
  #pieces: readonly TermPiece[];

  private constructor(parts: {
    readonly base: LogPosition;
    readonly end: LogPosition;
    readonly durableIndex: LogIndex;
    readonly commitIndex: LogIndex;
    readonly missing: readonly IndexRange[];
    readonly pieces: readonly TermPiece[];
  }) {
    this.base = parts.base;
    this.end = parts.end;
    this.durableIndex = parts.durableIndex;
    this.commitIndex = parts.commitIndex;
    this.#missing = parts.missing;
    this.#pieces = parts.pieces;
  }

  /** As recovery found it. */
  static ofRecovered(
    { baseIndex, baseTerm }: RecoveredPartition,
    quarantine: NonNullable<RecoveredPartition['quarantine']>,
  ): KnownLog {
    return new KnownLog({
      base: { index: baseIndex, term: baseTerm },
      end: { index: quarantine.endIndex, term: quarantine.endTerm },
      durableIndex: quarantine.endIndex,
      commitIndex: quarantine.commitIndex,
      missing: quarantine.missing,
      pieces: quarantine.readable,
    });
  }

  /** Of a core that knows every term of its log. */
  static ofCore({ log, durableIndex, commitIndex }: RaftState): KnownLog {
    const pieces = log.runFirst.map((firstIndex, run): TermPiece => {
      const next = log.runFirst[run + 1];
      return {
        firstIndex,
        lastIndex: (next === undefined ? log.lastIndex : next - 1) as LogIndex,
        term: log.runTerm[run] ?? log.baseTerm,
      };
    });
    const base = { index: log.baseIndex, term: log.baseTerm };
    const term = pieces[pieces.length - 1]?.term ?? log.baseTerm;
    return new KnownLog({
      base,
      end: { index: log.lastIndex, term },
      durableIndex,
      commitIndex,
      missing: [],
      pieces,
    });
  }

  /** Entries that cannot be read, by rising index. */
  get missing(): readonly IndexRange[] {
    return this.#missing;
  }

  /** Takes in that entries cannot be read after all; returns whether that was news. */
  damaged(range: IndexRange): boolean {
    const missing = withRange(this.#missing, range);
    const isNews = this.#missing.every(
      ({ firstIndex, lastIndex }) => firstIndex > range.firstIndex || lastIndex < range.lastIndex,
    );
    this.#missing = missing;
    return isNews;
  }

  /** Entries were written anew, of these terms. */
  repaired(pieces: readonly TermPiece[]): void {
    for (const piece of pieces) {
      this.#missing = withoutRange(this.#missing, piece);
      this.#pieces = [...this.#pieces.flatMap((known) => cutRange(known, piece)), piece].sort(
        (left, right) => left.firstIndex - right.firstIndex,
      );
    }
  }

  /** Term of the entry at `index`, where it is known. */
  termAt(index: LogIndex): Term | undefined {
    if (index === this.base.index) return this.base.term;
    if (index === this.end.index) return this.end.term;
    if (index < this.base.index || index > this.end.index) return undefined;
    let before = this.base.term;
    for (const { firstIndex, lastIndex, term } of this.#pieces) {
      if (index > lastIndex) before = term;
      else if (index >= firstIndex) return term;
      else return term === before ? term : undefined;
    }
    return this.end.term === before ? before : undefined;
  }

  /** Positions at or behind `index` that another log may share: the nearest of each piece, and the end. */
  evidenceFrom(index: LogIndex): LogPosition[] {
    const found: LogPosition[] = [];
    const add = (at: LogIndex): void => {
      const term = this.termAt(at);
      if (term !== undefined && found.every((known) => known.index !== at))
        found.push({ index: at, term });
    };
    add(index);
    for (const { firstIndex, lastIndex } of this.#pieces) {
      if (lastIndex < index) continue;
      add(Math.max(firstIndex, index) as LogIndex);
      // The hole behind this piece may be of its term too.
      add(lastIndex);
      if (found.length >= evidenceMax - 2) break;
    }
    add(this.end.index);
    return found;
  }

  /** The first readable entries within a range, if there are any. */
  readableWithin({ firstIndex, lastIndex }: IndexRange): IndexRange | undefined {
    let readable: IndexRange[] = [
      {
        firstIndex: Math.max(firstIndex, this.base.index + 1) as LogIndex,
        lastIndex: Math.min(lastIndex, this.end.index) as LogIndex,
      },
    ];
    for (const missing of this.#missing) readable = withoutRange(readable, missing);
    return readable.find((range) => range.firstIndex <= range.lastIndex);
  }

  /** The log as a core begins with it, once nothing is missing. */
  whole(): WholeLog {
    const termRuns: { firstIndex: LogIndex; term: Term }[] = [];
    for (const { firstIndex, term } of this.#pieces)
      if (termRuns[termRuns.length - 1]?.term !== term) termRuns.push({ firstIndex, term });
    return {
      baseIndex: this.base.index,
      baseTerm: this.base.term,
      termRuns,
      lastIndex: this.end.index,
      recordedCommitIndex: this.commitIndex,
    };
  }
}
