/**
 * Where the entries of one partition are in the journal, in log order: for the segment in use a row for each run (frames of
 * the partition and of one term that follow each other), in flat columns; for closed segments only which indexes they hold:
 * their rows are in `.idx` files. Entries that were written anew are rare: a short list says where, and is asked first.
 */
import { assert } from '../base/assert.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import { cutRange, type IndexRange } from '../base/index-ranges.ts';
import { blockOffset } from '../codec/segment-format.ts';

/** A run of frames in the segment in use. */
export interface JournalRun {
  readonly firstIndex: LogIndex;
  readonly count: number;
  readonly term: Term;
  /** Block in which the first frame starts. */
  readonly block: number;
  /** Offset of the first frame within the block's plaintext. */
  readonly offset: number;
}

/** Live entries of the partition in a closed segment. */
export interface ClosedRange {
  readonly segmentSeq: number;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
}

/** Where an entry is. */
export type JournalPlace =
  | { readonly kind: 'open'; readonly run: JournalRun }
  | { readonly kind: 'closed'; readonly range: ClosedRange };

/** Entries that were written anew, all or some of `run` in the segment in use; unset once that is closed. */
interface MovedRun extends ClosedRange {
  readonly run: JournalRun | undefined;
}

const rowsAtFirst = 8;

/** See the file comment. */
export class JournalIndex {
  #closed: ClosedRange[] = [];
  /** By rising index. */
  #moved: MovedRun[] = [];
  #firstIndex = new Float64Array(rowsAtFirst);
  #term = new Float64Array(rowsAtFirst);
  #count = new Uint32Array(rowsAtFirst);
  #block = new Uint32Array(rowsAtFirst);
  #offset = new Uint16Array(rowsAtFirst);
  #length = 0;
  #baseIndex = 0 as LogIndex;

  /** Last index held, or 0. */
  get lastIndex(): LogIndex {
    const moved = this.#moved.at(-1)?.lastIndex ?? 0;
    return Math.max(moved, this.#lastInOrder) as LogIndex;
  }

  get #lastInOrder(): LogIndex {
    if (this.#length > 0)
      return ((this.#firstIndex[this.#length - 1] ?? 0) +
        (this.#count[this.#length - 1] ?? 0) -
        1) as LogIndex;
    return this.#closed.at(-1)?.lastIndex ?? (0 as LogIndex);
  }

  /** Takes in a range of a closed segment; recovery calls it in log order. Only damage leaves gaps between them. */
  addClosed(range: ClosedRange): void {
    assert(
      this.#length === 0 && range.firstIndex > this.lastIndex,
      'recovered ranges rise and do not overlap',
    );
    this.#closed.push(range);
  }

  /** Entries of the log stand in the segment in use from now on, wherever they stood before. */
  pushMoved(run: JournalRun, segmentSeq: number): void {
    const moved = {
      segmentSeq,
      firstIndex: Math.max(run.firstIndex, this.#baseIndex + 1) as LogIndex,
      lastIndex: (run.firstIndex + run.count - 1) as LogIndex,
      run,
    };
    if (moved.lastIndex < moved.firstIndex) return;
    this.#moved = [...this.#moved.flatMap((older) => cutRange(older, moved)), moved].sort(
      (left, right) => left.firstIndex - right.firstIndex,
    );
  }

  /** The entry behind `index` that stands elsewhere than its neighbours: a read in order ends before it. */
  nextMoved(index: LogIndex): LogIndex | undefined {
    return this.#moved.find((moved) => moved.firstIndex > index)?.firstIndex;
  }

  /** The last entry whose first place is in a closed segment and was not truncated; 0 without one. */
  lastClosedIn(segmentSeq: number): LogIndex {
    const newest = this.#closed.findLast((range) => range.segmentSeq === segmentSeq);
    return newest?.lastIndex ?? (0 as LogIndex);
  }

  /** Adds the newest run of the segment in use. */
  push(run: JournalRun): void {
    assert(
      this.lastIndex === 0 || run.firstIndex === this.lastIndex + 1,
      'runs follow each other without a gap',
    );
    if (this.#length === this.#count.length) this.#resize(this.#length * 2);
    const at = this.#length++;
    this.#firstIndex[at] = run.firstIndex;
    this.#term[at] = run.term;
    this.#count[at] = run.count;
    this.#block[at] = run.block;
    this.#offset[at] = run.offset;
  }

  /** Drops entries from `fromIndex` on. */
  truncateFrom(fromIndex: LogIndex): void {
    const dead = { firstIndex: fromIndex, lastIndex: Number.MAX_SAFE_INTEGER as LogIndex };
    this.#moved = this.#moved.flatMap((moved) => cutRange(moved, dead)).map(withoutDead(fromIndex));
    while (this.#length > 0 && (this.#firstIndex[this.#length - 1] ?? 0) >= fromIndex)
      this.#length--;
    if (this.#length > 0) {
      if (this.#lastInOrder >= fromIndex)
        this.#count[this.#length - 1] = fromIndex - (this.#firstIndex[this.#length - 1] ?? 0);
      return;
    }
    for (let newest = this.#closed.pop(); newest !== undefined; newest = this.#closed.pop()) {
      if (newest.firstIndex >= fromIndex) continue;
      this.#closed.push(
        newest.lastIndex < fromIndex
          ? newest
          : { ...newest, lastIndex: (fromIndex - 1) as LogIndex },
      );
      return;
    }
  }

  /** Entries up to `baseIndex` are needed no more: whatever holds them holds nothing of this log. */
  dropThrough(baseIndex: LogIndex): void {
    this.#baseIndex = baseIndex;
    const dead = { firstIndex: 0 as LogIndex, lastIndex: baseIndex };
    this.#moved = this.#moved.flatMap((moved) => cutRange(moved, dead));
    this.#closed = this.#closed.flatMap((range) => cutRange(range, dead));
    if (this.#length > 0 && this.#lastInOrder <= baseIndex) this.#length = 0;
  }

  /** Ends the segment in use: its rows go to `take`, what stays is which indexes it holds. */
  closeSegment(segmentSeq: number, take: (run: JournalRun) => void): void {
    const runs = new Set(this.#moved.flatMap(({ run }) => run ?? []));
    for (let row = 0; row < this.#length; row++) runs.add(this.#run(row));
    // In the order in which they were written: of two rows for one entry the later one counts.
    for (const run of [...runs].sort(
      (left, right) => left.block - right.block || left.offset - right.offset,
    ))
      take(run);
    this.#moved = this.#moved.map((moved) => ({ ...moved, run: undefined }));
    if (this.#length === 0) return;
    const range = { segmentSeq, firstIndex: this.#firstInOpen, lastIndex: this.#lastInOrder };
    this.#length = 0;
    this.#resize(rowsAtFirst);
    // What is left of its rows may all lie below the base, when everything behind it was truncated.
    if (range.lastIndex >= range.firstIndex) this.#closed.push(range);
  }

  /** Tells each closed segment from which entries are read. */
  eachHeldSegment(take: (segmentSeq: number) => void): void {
    for (const { segmentSeq, run } of this.#moved) if (run === undefined) take(segmentSeq);
    for (const range of this.#closed)
      if (this.#moved.length === 0 || this.#withoutMoved([range]).length > 0)
        take(range.segmentSeq);
  }

  /** Indexes that are read from a closed segment: without those that were moved elsewhere, with those that were moved there. */
  heldIn(segmentSeq: number): IndexRange[] {
    const moved = this.#moved.filter(
      (row) => row.segmentSeq === segmentSeq && row.run === undefined,
    );
    const held = this.#closed.filter((range) => range.segmentSeq === segmentSeq);
    return [...this.#withoutMoved(held), ...moved];
  }

  /** Indexes that are read from the segment in use and whose runs begin before a file offset. */
  heldInOpen(end: number): IndexRange[] {
    const isBeforeEnd = (block: number): boolean => blockOffset(block) < end;
    const moved = this.#moved.filter(({ run }) => run !== undefined && isBeforeEnd(run.block));
    let row = this.#length - 1;
    while (row >= 0 && !isBeforeEnd(this.#block[row] ?? 0)) row--;
    if (row < 0) return moved;
    const firstIndex = this.#firstInOpen;
    const lastIndex = ((this.#firstIndex[row] ?? 0) + (this.#count[row] ?? 0) - 1) as LogIndex;
    if (lastIndex < firstIndex) return moved;
    return [...this.#withoutMoved([{ firstIndex, lastIndex }]), ...moved];
  }

  /** Where an entry is; `undefined` when it is not held. */
  locate(index: LogIndex): JournalPlace | undefined {
    if (index <= this.#baseIndex) return undefined;
    for (const range of this.#moved) {
      if (index < range.firstIndex || index > range.lastIndex) continue;
      if (range.run === undefined) return { kind: 'closed', range };
      // The run may be longer than what is left of it.
      const { firstIndex } = range.run;
      return { kind: 'open', run: { ...range.run, count: range.lastIndex - firstIndex + 1 } };
    }
    if (this.#length > 0 && index >= (this.#firstIndex[0] ?? 0)) {
      const row = search(this.#length, (middle) =>
        compare(index, this.#firstIndex[middle] ?? 0, this.#count[middle] ?? 0),
      );
      return row < 0 ? undefined : { kind: 'open', run: this.#run(row) };
    }
    const at = search(this.#closed.length, (middle) => {
      const range = this.#closed[middle];
      return range === undefined
        ? -1
        : compare(index, range.firstIndex, range.lastIndex - range.firstIndex + 1);
    });
    const range = this.#closed[at];
    return range === undefined ? undefined : { kind: 'closed', range };
  }

  /** The first entry of the log in the segment in use; its rows may begin before the base. */
  get #firstInOpen(): LogIndex {
    return Math.max(this.#firstIndex[0] ?? 0, this.#baseIndex + 1) as LogIndex;
  }

  #withoutMoved(ranges: readonly IndexRange[]): IndexRange[] {
    return this.#moved.reduce<IndexRange[]>(
      (left, moved) => left.flatMap((range) => cutRange(range, moved)),
      [...ranges],
    );
  }

  #run(row: number): JournalRun {
    return {
      firstIndex: (this.#firstIndex[row] ?? 0) as LogIndex,
      count: this.#count[row] ?? 0,
      term: (this.#term[row] ?? 0) as Term,
      block: this.#block[row] ?? 0,
      offset: this.#offset[row] ?? 0,
    };
  }

  #resize(size: number): void {
    const length = this.#length;
    const wide = (old: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> => {
      const resized = new Float64Array(size);
      resized.set(old.subarray(0, length));
      return resized;
    };
    this.#firstIndex = wide(this.#firstIndex);
    this.#term = wide(this.#term);
    const count = new Uint32Array(size);
    count.set(this.#count.subarray(0, length));
    this.#count = count;
    const block = new Uint32Array(size);
    block.set(this.#block.subarray(0, length));
    this.#block = block;
    const offset = new Uint16Array(size);
    offset.set(this.#offset.subarray(0, length));
    this.#offset = offset;
  }
}

/** Runs of the segment in use lose what a truncation took; a run that several rows share stays one. */
function withoutDead(fromIndex: LogIndex): (moved: MovedRun) => MovedRun {
  const cut = new Map<JournalRun, JournalRun>();
  return (moved) => {
    const { run } = moved;
    if (run === undefined || run.firstIndex + run.count <= fromIndex) return moved;
    const shorter = cut.get(run) ?? { ...run, count: fromIndex - run.firstIndex };
    cut.set(run, shorter);
    return { ...moved, run: shorter };
  };
}

function compare(index: number, first: number, count: number): number {
  if (index < first) return -1;
  return index >= first + count ? 1 : 0;
}

/** Binary search over `length` ascending rows; −1 when none matches. */
function search(length: number, compareAt: (middle: number) => number): number {
  let low = 0;
  let high = length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const order = compareAt(middle);
    if (order === 0) return middle;
    if (order < 0) high = middle - 1;
    else low = middle + 1;
  }
  return -1;
}
