/** Appends, repairs and copies that wait for their flush, in the order in which they came, and whether they are held for more. */
import type { LogIndex } from '../base/ids.ts';
import type { Clock } from '../ports/clock.ts';
import { cutAppend, fenceParts } from './append-parts.ts';
import type { DataFlush } from './data-flush.ts';
import { GroupHold } from './group-hold.ts';
import type { PartitionLog, PendingAppend } from './partition-log.ts';
import type { SegmentWriter } from './segment-writer.ts';

/** See the file comment. */
export class AppendQueue {
  readonly #hold: GroupHold;
  #appends: PendingAppend[] = [];

  constructor(clock: Clock, overrun: (log: PartitionLog) => void) {
    this.#hold = new GroupHold(clock, overrun);
  }

  /** What waits. */
  get waiting(): readonly PendingAppend[] {
    return this.#appends;
  }

  /** Takes in what is to be written. */
  push(append: PendingAppend): void {
    if (append.batch.fences === undefined) this.#appends.push(append);
    else this.#appends.push(...fenceParts(append));
  }

  /** Drops what waits of a log, from an entry on. */
  cut(log: PartitionLog, fromIndex: LogIndex): void {
    this.#cut((append) => (append.log === log ? cutAppend(append, fromIndex) : [append]));
  }

  /** Drops everything that waits of a log. */
  drop(log: PartitionLog): void {
    this.#cut((append) => (append.log === log ? [] : [append]));
  }

  /** Whether what waits is held for more to come; not while the store closes. */
  isHeld(
    state: { readonly isWriterDegraded: boolean; readonly isClosing: boolean },
    flush: () => void,
  ): boolean {
    this.#hold.isWriterDegraded = state.isWriterDegraded;
    if (!state.isClosing) return this.#hold.holds(this.#appends, flush);
    this.#hold.release();
    return false;
  }

  /** Lays out as much as one flush takes, and takes it out. */
  seal(
    writer: SegmentWriter,
    dataFlush: DataFlush,
    flushBytesMax: number,
  ): readonly PendingAppend[] {
    let taken = 0;
    for (const append of this.#appends) {
      const isFull =
        append.isFence === true ||
        writer.flushBytes >= flushBytesMax ||
        !writer.fits(append.batch.bytes.length);
      if (taken > 0 && isFull) break;
      dataFlush.seal(writer, append);
      taken++;
      if (append.isFence === true) break;
    }
    if (taken < this.#appends.length) return this.#appends.splice(0, taken);
    const all = this.#appends;
    this.#appends = [];
    return all;
  }

  /** Leaves of what waits what `cut` says: what is gone takes no room of its partition, and nothing is held for it. */
  #cut(cut: (append: PendingAppend) => readonly PendingAppend[]): void {
    this.#appends = this.#appends.flatMap((append) => {
      const left = cut(append);
      const leftBytes = left[0]?.batch.bytes.length ?? 0;
      // Entries that are written anew were counted when the log took them in.
      if (append.appendSequence !== undefined)
        append.log.frameBytes -= append.batch.bytes.length - leftBytes;
      return left;
    });
    if (this.#appends.length === 0) this.#hold.release();
  }
}
