/**
 * Frames of one run out of the plaintext of its blocks, and what damage in it costs.
 */
import { ClustorError } from '../base/errors.ts';
import type { LogIndex, PartitionId } from '../base/ids.ts';
import type { IndexRange } from '../base/index-ranges.ts';
import {
  frameBytesAt,
  frameIndex,
  framePartitionId,
  frameTerm,
  verifyFrame,
} from '../codec/entry-frame.ts';
import type { SegmentIndexRow } from '../codec/idx-format.ts';
import type { FrameBatch } from './log-store-types.ts';

const noBytes = new Uint8Array(0);

/** What to read. */
export interface EntryRange {
  readonly partitionId: PartitionId;
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  /** What the run names behind this entry was truncated and stands elsewhere. */
  readonly placeEnd?: LogIndex | undefined;
  readonly bytesMax: number;
}

/** Entries of a run that cannot be read. */
export class DamagedEntries extends ClustorError {
  readonly range: IndexRange;
  /** The blocks are as they were sealed and a frame in them is not right, or the disk did not give them: worth another read. */
  readonly isTagRight: boolean;

  constructor(
    message: string,
    damage: { readonly range: IndexRange; readonly isTagRight: boolean },
  ) {
    super('CLUSTOR_INTEGRITY', message);
    this.range = damage.range;
    this.isTagRight = damage.isTagRight;
  }
}

/** A bad place of a run that was met on the way to the wanted frames. */
interface Hole {
  readonly firstIndex: number;
  readonly detail: string;
  readonly isTagRight: boolean;
}

/**
 * Collects the wanted frames out of a plaintext stream. Behind a bad block frames are found again where the next one begins: a
 * hole costs the entries in it, and those behind it are read. Where a wanted entry is in the hole, the run is followed to its
 * end before the hole is told: what stands behind may be a copy that a repair wrote, and says nothing of the run.
 */
export class GatheredFrames {
  readonly #range: EntryRange;
  readonly #run: Omit<SegmentIndexRow, 'partitionId'>;
  /** Grows with what is read: most reads are of a few entries. */
  #bytes: Uint8Array = noBytes;
  #length = 0;
  /** Start of the first wanted frame. */
  #from = 0;
  /** Start of the first frame not looked at. */
  #at = 0;
  #nextIndex: number;
  #firstTaken = 0;
  /** The first one that matters. */
  #hole: Hole | undefined;
  /** No frame behind the hole was found yet. */
  #isLost = false;
  /** The last entry in the hole, if the frames behind it are the run's. */
  #holeLast: number | undefined;

  constructor(range: EntryRange, run: Omit<SegmentIndexRow, 'partitionId'>) {
    this.#range = range;
    this.#run = run;
    this.#nextIndex = run.firstIndex;
  }

  isDone(lastIndex: number): boolean {
    if (this.#hole !== undefined) return false;
    return (
      this.#nextIndex > lastIndex ||
      (this.#firstTaken > 0 && this.#at - this.#from >= this.#range.bytesMax)
    );
  }

  /** Whether the stream was left: it goes on with what begins with a frame. */
  get isLost(): boolean {
    return this.#isLost && this.#at === this.#length;
  }

  /** A block is bad: what began before it has no end. */
  lose(detail: string, isTagRight: boolean): void {
    if (this.#holeLast !== undefined) throw this.ended(detail);
    this.#hole ??= { firstIndex: this.#nextIndex, detail, isTagRight };
    this.#isLost = true;
    this.#length = this.#at;
  }

  add(plain: Uint8Array, lastIndex: number): void {
    const needed = this.#length + plain.length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(plain, this.#length);
    this.#length = needed;
    while (!this.isDone(lastIndex)) {
      const size = frameBytesAt(this.#bytes, this.#at, this.#length);
      if (size === 0) return;
      if (this.#isLost) this.#findAgain(size);
      this.#check(size);
      if (this.#holeLast !== undefined) {
        this.#follow(size);
        continue;
      }
      if (this.#nextIndex >= this.#range.firstIndex && this.#firstTaken === 0) {
        this.#firstTaken = this.#nextIndex;
        this.#from = this.#at;
      }
      this.#at += size;
      this.#nextIndex++;
    }
  }

  batch(): FrameBatch {
    return {
      firstIndex: this.#firstTaken as LogIndex,
      lastIndex: (this.#nextIndex - 1) as LogIndex,
      lastTerm: this.#run.term,
      bytes: this.#bytes.slice(this.#from, this.#at),
    };
  }

  /** Nothing is left to be read. */
  ended(detail: string): DamagedEntries {
    return this.damaged(detail, false);
  }

  /** Of what is behind a bad place nothing is known, unless the frames behind it say where that ends. */
  damaged(detail: string, isTagRight: boolean, lastInHole?: number): DamagedEntries {
    const { partitionId, placeEnd } = this.#range;
    const {
      firstIndex,
      detail: first,
      isTagRight: isWorthAnotherRead,
    } = this.#hole ?? { firstIndex: this.#nextIndex, detail, isTagRight };
    const lastInRun = this.#run.firstIndex + this.#run.count - 1;
    const lastIndex = Math.min(lastInHole ?? lastInRun, placeEnd ?? lastInRun);
    return new DamagedEntries(
      `entry ${firstIndex} of partition ${partitionId} cannot be read: ${first}`,
      {
        range: {
          firstIndex: firstIndex as LogIndex,
          lastIndex: Math.max(firstIndex, lastIndex) as LogIndex,
        },
        isTagRight: isWorthAnotherRead,
      },
    );
  }

  #check(size: number): void {
    if (!this.#isOfRun(size) || frameIndex(this.#bytes, this.#at) !== this.#nextIndex)
      throw this.damaged(`the frame of entry ${this.#nextIndex} does not verify`, true);
  }

  #isOfRun(size: number): boolean {
    return (
      size > 0 &&
      frameTerm(this.#bytes, this.#at) === this.#run.term &&
      framePartitionId(this.#bytes, this.#at) === this.#range.partitionId &&
      verifyFrame(this.#bytes, this.#at)
    );
  }

  /** The first whole frame behind the hole. */
  #findAgain(size: number): void {
    const index = this.#isOfRun(size) ? frameIndex(this.#bytes, this.#at) : 0;
    if (index < this.#nextIndex || index >= this.#run.firstIndex + this.#run.count)
      throw this.ended('the run does not go on');
    const isWantedIn =
      index > this.#nextIndex && (index > this.#range.firstIndex || this.#firstTaken > 0);
    if (isWantedIn) this.#holeLast = index - 1;
    else this.#hole = undefined;
    this.#nextIndex = index;
    this.#isLost = false;
  }

  /** A frame behind a hole that is to be told: at the end of the run it is sure what the hole took. */
  #follow(size: number): void {
    this.#bytes.copyWithin(0, this.#at + size, this.#length);
    this.#length -= this.#at + size;
    this.#at = 0;
    this.#nextIndex++;
    if (this.#nextIndex >= this.#run.firstIndex + this.#run.count)
      throw this.damaged('', false, this.#holeLast);
  }
}
