/** What the flushes of a ledger say about single entries of one partition: which record covers each, and where the log begins. */
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import { ledgerHeaderBytes } from '../codec/ledger-format.ts';
import type { JournalPosition } from './ledger-image.ts';
import type { ReplayedFlush } from './ledger-replay.ts';

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
  /** Journal position that the flush covers; where the entry was written anew, the position of that flush. */
  readonly covers: JournalPosition;
  /** The flush that says where the entry was written anew, if it was. */
  readonly movedBy?: { readonly generation: number; readonly flushSeq: number } | undefined;
}

/** The ledger record behind whose entry a log begins: a snapshot holds what came before. */
export interface BaseEvidence {
  readonly index: LogIndex;
  readonly term: Term;
  /** The flush that it stands in. */
  readonly generation: number;
  readonly flushSeq: number;
}

/** The records that cover entries of one partition, what was truncated since left out; ascending in what they reach. */
export class CoverageTrail {
  readonly #partitionId: PartitionId;
  #trail: { readonly evidence: LedgerEvidence; readonly reach: number }[] = [];
  #base: BaseEvidence | undefined;
  /** Moves to other segments, the newest last; which of them hold is for the image to say. */
  readonly #moves: (IndexRange & Pick<LedgerEvidence, 'movedBy' | 'covers'>)[] = [];

  constructor(partitionId: PartitionId) {
    this.#partitionId = partitionId;
  }

  /** What says where the log begins; `undefined` where it begins with its first entry. */
  get base(): BaseEvidence | undefined {
    return this.#base;
  }

  /** Takes in a flush, in the order of the ledger. */
  add(replayed: ReplayedFlush): void {
    const { generation, flushSeq, segmentSeq, endOffset } = replayed.flush;
    for (const record of replayed.flush.records) {
      if (!('partitionId' in record) || record.partitionId !== this.#partitionId) continue;
      switch (record.kind) {
        case 'truncated':
          this.#cut(record.fromIndex - 1);
          // Another life began, or a snapshot takes the place of the log; the record of that follows.
          if (record.fromIndex <= (this.#base?.index ?? 0)) this.#base = undefined;
          break;
        case 'snapshotBase': {
          const { index, term } = record;
          this.#base = { index, term, generation, flushSeq };
          break;
        }
        case 'rangeMoved': {
          const { firstIndex, lastIndex } = record;
          const movedBy = { generation, flushSeq };
          this.#moves.push({ firstIndex, lastIndex, movedBy, covers: { segmentSeq, endOffset } });
          break;
        }
        case 'durability':
          this.#reached(record, replayed);
          break;
        default:
      }
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

  #reached(
    { index, term, commitIndex }: LedgerEvidence['record'],
    { flush, offset, copies }: ReplayedFlush,
  ): void {
    if (index <= this.#reach) return;
    const { generation, flushSeq, segmentSeq, endOffset } = flush;
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
    return this.#trail.at(-1)?.reach ?? 0;
  }

  /** Records that reached further go on to speak for what is left: a truncation takes nothing below it away. */
  #cut(reach: number): void {
    const kept = this.#trail.filter((row) => row.reach <= reach);
    const first = this.#trail[kept.length];
    const left = kept[kept.length - 1]?.reach ?? 0;
    this.#trail = first !== undefined && reach > left ? [...kept, { ...first, reach }] : kept;
  }
}
