/** One partition's log as recovery puts it together from the journal, run by run, in journal order. */
import type { LogIndex, Term } from '../base/ids.ts';
import type { Configuration } from '../base/membership.ts';
import { blockOffset } from '../codec/segment-format.ts';
import type { SegmentIndexRow } from '../codec/idx-format.ts';
import type { PartitionRow } from './ledger-image.ts';
import type { ClosedRange } from './journal-index.ts';
import type { RegisteredReplica } from './node-registry.ts';

/** See the file comment. */
export class RecoveredLog {
  readonly replica: RegisteredReplica;
  readonly row: PartitionRow;
  readonly baseIndex: LogIndex;
  readonly baseTerm: Term;
  /** Live entries by segment. */
  readonly ranges: ClosedRange[] = [];
  readonly termRuns: { readonly firstIndex: LogIndex; readonly term: Term }[] = [];
  /** Configurations of entries that were found behind coverage, which the ledger does not know yet. */
  readonly configurationsFound: Configuration[] = [];
  lastIndex: LogIndex;
  lastTerm: Term;
  /** Bytes of its live frames; from an index, which knows no sizes, up to the next run's start. */
  frameBytes = 0;
  /** Runs that did not continue the log. */
  strayRuns = 0;

  constructor(replica: RegisteredReplica, row: PartitionRow) {
    this.replica = replica;
    this.row = row;
    this.baseIndex = row.base?.index ?? (0 as LogIndex);
    this.baseTerm = row.base?.term ?? (0 as Term);
    this.lastIndex = this.baseIndex;
    this.lastTerm = this.baseTerm;
  }

  /** The configurations whose entries are in the live log or below it, by rising index (specification §3.1). */
  configurations(): readonly Configuration[] {
    const live = [...this.row.configurations, ...this.configurationsFound].filter(
      ({ index, term }) => index <= this.baseIndex || this.#termAt(index) === term,
    );
    const byIndex = new Map(live.map((configuration) => [configuration.index, configuration]));
    return [...byIndex.values()].sort((left, right) => left.index - right.index);
  }

  /** Takes in a run of `bytes` found in a segment; returns how many of its entries, from its start, are live and continue the log. */
  offer(segmentSeq: number, run: Omit<SegmentIndexRow, 'partitionId'>, bytes: number): number {
    const live = this.#liveCount(segmentSeq, run);
    if (live === 0 || run.firstIndex + live - 1 <= this.baseIndex) return 0;
    if (run.firstIndex !== this.lastIndex + 1 || run.term < this.lastTerm) {
      this.strayRuns++;
      return 0;
    }
    if (this.termRuns[this.termRuns.length - 1]?.term !== run.term)
      this.termRuns.push({ firstIndex: run.firstIndex, term: run.term });
    this.lastIndex = (run.firstIndex + live - 1) as LogIndex;
    this.lastTerm = run.term;
    this.frameBytes += bytes;
    const newest = this.ranges[this.ranges.length - 1];
    if (newest?.segmentSeq === segmentSeq)
      this.ranges[this.ranges.length - 1] = { ...newest, lastIndex: this.lastIndex };
    else this.ranges.push({ segmentSeq, firstIndex: run.firstIndex, lastIndex: this.lastIndex });
    return live;
  }

  #termAt(index: LogIndex): Term | undefined {
    if (index > this.lastIndex) return undefined;
    return this.termRuns.findLast((run) => run.firstIndex <= index)?.term;
  }

  /** Frames from a truncation's index on that stand before its position are dead (specification §5.5). */
  #liveCount(segmentSeq: number, run: Omit<SegmentIndexRow, 'partitionId'>): number {
    let end = run.firstIndex + run.count;
    for (const truncation of this.row.truncations) {
      const isBeforeIt =
        segmentSeq < truncation.segmentSeq ||
        (segmentSeq === truncation.segmentSeq && blockOffset(run.block) < truncation.offset);
      if (isBeforeIt && truncation.fromIndex < end) end = truncation.fromIndex;
    }
    return Math.max(0, end - run.firstIndex);
  }
}
