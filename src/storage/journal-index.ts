/**
 * Where the entries of one partition are in the journal: a row for each run (frames of the partition that follow each other
 * in one flush, of one term), in log order. Flat columns, so that millions of rows are a few arrays.
 */
import { assert } from '../base/assert.ts';
import type { LogIndex, Term } from '../base/ids.ts';

/** A run of frames. */
export interface JournalRun {
  readonly firstIndex: LogIndex;
  readonly count: number;
  readonly term: Term;
  readonly segmentSeq: number;
  /** Block in which the first frame starts. */
  readonly block: number;
  /** Offset of the first frame within the block's plaintext. */
  readonly offset: number;
}

/** See the file comment. */
export class JournalIndex {
  #firstIndex = new Float64Array(16);
  #term = new Float64Array(16);
  #segmentSeq = new Float64Array(16);
  #count = new Uint32Array(16);
  #block = new Uint32Array(16);
  #offset = new Uint16Array(16);
  #length = 0;

  /** Number of rows. */
  get length(): number {
    return this.#length;
  }

  /** Last index of the newest run, or 0. */
  get lastIndex(): LogIndex {
    if (this.#length === 0) return 0 as LogIndex;
    return ((this.#firstIndex[this.#length - 1] ?? 0) + (this.#count[this.#length - 1] ?? 0) - 1) as LogIndex;
  }

  /** First index of the oldest run, or 0. */
  get firstIndex(): LogIndex {
    return (this.#length === 0 ? 0 : (this.#firstIndex[0] ?? 0)) as LogIndex;
  }

  /** Adds the newest run. */
  push(run: JournalRun): void {
    assert(this.#length === 0 || run.firstIndex === this.lastIndex + 1, 'runs follow each other without a gap');
    if (this.#length === this.#count.length) this.#grow();
    const at = this.#length++;
    this.#firstIndex[at] = run.firstIndex;
    this.#term[at] = run.term;
    this.#segmentSeq[at] = run.segmentSeq;
    this.#count[at] = run.count;
    this.#block[at] = run.block;
    this.#offset[at] = run.offset;
  }

  /** Drops entries from `fromIndex` on. */
  truncateFrom(fromIndex: LogIndex): void {
    while (this.#length > 0 && (this.#firstIndex[this.#length - 1] ?? 0) >= fromIndex) this.#length--;
    if (this.#length > 0 && this.lastIndex >= fromIndex) {
      this.#count[this.#length - 1] = fromIndex - (this.#firstIndex[this.#length - 1] ?? 0);
    }
  }

  /** Row number of the run that holds `index`, or −1. */
  find(index: LogIndex): number {
    let low = 0;
    let high = this.#length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const first = this.#firstIndex[middle] ?? 0;
      if (index < first) high = middle - 1;
      else if (index >= first + (this.#count[middle] ?? 0)) low = middle + 1;
      else return middle;
    }
    return -1;
  }

  /** The run of a row. */
  at(row: number): JournalRun {
    assert(row >= 0 && row < this.#length, 'a row of the index');
    return {
      firstIndex: (this.#firstIndex[row] ?? 0) as LogIndex,
      count: this.#count[row] ?? 0,
      term: (this.#term[row] ?? 0) as Term,
      segmentSeq: this.#segmentSeq[row] ?? 0,
      block: this.#block[row] ?? 0,
      offset: this.#offset[row] ?? 0,
    };
  }

  /** Runs of equal terms, merged. */
  termRuns(): { readonly firstIndex: LogIndex; readonly term: Term }[] {
    const runs: { firstIndex: LogIndex; term: Term }[] = [];
    for (let row = 0; row < this.#length; row++) {
      const term = (this.#term[row] ?? 0) as Term;
      if (runs[runs.length - 1]?.term !== term) runs.push({ firstIndex: (this.#firstIndex[row] ?? 0) as LogIndex, term });
    }
    return runs;
  }

  /** Term at `index`, if it is held. */
  termAt(index: LogIndex): Term | undefined {
    const row = this.find(index);
    return row < 0 ? undefined : ((this.#term[row] ?? 0) as Term);
  }

  #grow(): void {
    const size = this.#count.length * 2;
    const wide = (old: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> => {
      const larger = new Float64Array(size);
      larger.set(old);
      return larger;
    };
    this.#firstIndex = wide(this.#firstIndex);
    this.#term = wide(this.#term);
    this.#segmentSeq = wide(this.#segmentSeq);
    const count = new Uint32Array(size);
    count.set(this.#count);
    this.#count = count;
    const block = new Uint32Array(size);
    block.set(this.#block);
    this.#block = block;
    const offset = new Uint16Array(size);
    offset.set(this.#offset);
    this.#offset = offset;
  }
}
