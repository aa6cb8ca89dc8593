/**
 * The newest entries of one partition in memory, as the very bytes that were framed or received.
 *
 * Whole batches are kept and dropped; an entry within a batch is found by walking its frames. Bounded in bytes: beyond the
 * bound the oldest batches that are applied and handed to storage go, and whoever needs them reads the log.
 */
import { assert, present } from '../base/assert.ts';
import { Fifo } from '../base/fifo.ts';
import type { LogIndex, Term } from '../base/ids.ts';
import { frameBytesAt, frameTerm } from '../codec/entry-frame.ts';
import type { LogMeasure } from '../raft/index.ts';

/** A run of whole frames. */
export interface TailBatch {
  readonly firstIndex: LogIndex;
  readonly lastIndex: LogIndex;
  readonly bytes: Uint8Array;
}

/** A size to assume for entries that are no longer in memory. */
const coldEntryBytes = 512;

/** See the file comment. */
export class EntryTail implements LogMeasure {
  readonly #bytesMax: number;
  #batches = new Fifo<TailBatch>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes held. */
  get bytesHeld(): number {
    return this.#bytes;
  }

  /** First index in memory, or `undefined` when nothing is. */
  get firstIndex(): LogIndex | undefined {
    return this.#batches.peek()?.firstIndex;
  }

  /** Takes the newest entries. */
  push(batch: TailBatch): void {
    const newest = this.#batches.at(-1);
    assert(
      newest === undefined || batch.firstIndex === newest.lastIndex + 1,
      'the tail has no gap',
    );
    this.#batches.push(batch);
    this.#bytes += batch.bytes.length;
  }

  /** Drops entries from `fromIndex` on. */
  truncateFrom(fromIndex: LogIndex): void {
    while (this.#batches.length > 0) {
      const newest = present(this.#batches.at(-1), 'not empty');
      if (newest.lastIndex < fromIndex) return;
      this.#batches.pop();
      this.#bytes -= newest.bytes.length;
      if (newest.firstIndex >= fromIndex) continue;
      const end = offsetOf(newest, fromIndex);
      const kept = {
        firstIndex: newest.firstIndex,
        lastIndex: (fromIndex - 1) as LogIndex,
        bytes: newest.bytes.subarray(0, end),
      };
      this.#batches.push(kept);
      this.#bytes += kept.bytes.length;
      return;
    }
  }

  /** Forgets everything: the log is another one. */
  drop(): void {
    this.#batches = new Fifo();
    this.#bytes = 0;
  }

  /** Frees all memory but that of entries above `keepAbove`. */
  rest(keepAbove: LogIndex): void {
    for (
      let first = this.#batches.peek();
      first !== undefined && first.lastIndex <= keepAbove;
      first = this.#batches.peek()
    )
      this.#dropFirst(first);
  }

  /** Frees memory beyond the bound, never an entry above `keepAbove`. */
  trim(keepAbove: LogIndex): void {
    while (this.#bytes > this.#bytesMax) {
      const first = this.#batches.peek();
      if (first === undefined || first.lastIndex > keepAbove) return;
      this.#dropFirst(first);
    }
  }

  /**
   * The frames of `firstIndex … lastIndex` as views, in order, or `undefined` when some are not in memory. The views hold
   * exactly these frames.
   */
  slice(firstIndex: LogIndex, lastIndex: LogIndex): Uint8Array[] | undefined {
    if (lastIndex < firstIndex) return [];
    let at = this.#find(firstIndex);
    if (at < 0) return undefined;
    const views: Uint8Array[] = [];
    for (; at < this.#batches.length; at++) {
      const batch = present(this.#batches.at(at), 'within the tail');
      const start = batch.firstIndex >= firstIndex ? 0 : offsetOf(batch, firstIndex);
      const end =
        batch.lastIndex <= lastIndex
          ? batch.bytes.length
          : offsetOf(batch, (lastIndex + 1) as LogIndex);
      views.push(
        start === 0 && end === batch.bytes.length ? batch.bytes : batch.bytes.subarray(start, end),
      );
      if (batch.lastIndex >= lastIndex) return views;
    }
    return undefined;
  }

  /** Implements {@link LogMeasure.fit}. */
  fit(firstIndex: LogIndex, lastIndexMax: LogIndex, bytesMax: number): LogIndex {
    let at = this.#find(firstIndex);
    if (at < 0)
      return Math.min(
        lastIndexMax,
        firstIndex + Math.max(0, Math.floor(bytesMax / coldEntryBytes) - 1),
      ) as LogIndex;
    let room = bytesMax;
    let next = firstIndex as number;
    while (next <= lastIndexMax) {
      const batch = this.#batches.at(at);
      if (batch === undefined) break;
      const start = batch.firstIndex >= next ? 0 : offsetOf(batch, next as LogIndex);
      if (batch.lastIndex > lastIndexMax || batch.bytes.length - start > room) {
        next = walkWhileFits(batch, { offset: start, next, lastIndexMax, room });
        break;
      }
      room -= batch.bytes.length - start;
      next = batch.lastIndex + 1;
      at++;
    }
    return Math.max(firstIndex, next - 1) as LogIndex;
  }

  /** Implements {@link LogMeasure.bytes}. */
  bytes(firstIndex: LogIndex, lastIndex: LogIndex): number {
    const views = this.slice(firstIndex, lastIndex);
    if (views === undefined) return (lastIndex - firstIndex + 1) * coldEntryBytes;
    let total = 0;
    for (const view of views) total += view.length;
    return total;
  }

  #dropFirst(first: TailBatch): void {
    this.#batches.shift();
    this.#bytes -= first.bytes.length;
  }

  #find(index: LogIndex): number {
    for (let at = this.#batches.length - 1; at >= 0; at--) {
      const batch = present(this.#batches.at(at), 'within the tail');
      if (batch.firstIndex <= index) return index <= batch.lastIndex ? at : -1;
    }
    return -1;
  }
}

/** Offset of the frame of `index` within a batch; `index` may be one past its end. */
export function offsetOf(batch: TailBatch, index: LogIndex): number {
  assert(
    index >= batch.firstIndex && index <= batch.lastIndex + 1,
    'an offset is asked for an entry of the batch',
  );
  let offset = 0;
  for (let at = batch.firstIndex as number; at < index; at++)
    offset += frameBytesAt(batch.bytes, offset, batch.bytes.length);
  return offset;
}

/** Term of the last frame in a batch's bytes. */
export function lastTermOf(batch: TailBatch): Term {
  return frameTerm(batch.bytes, offsetOf(batch, batch.lastIndex));
}

/** The first index behind those that fit into `room`. */
function walkWhileFits(
  batch: TailBatch,
  from: {
    readonly offset: number;
    readonly next: number;
    readonly lastIndexMax: number;
    readonly room: number;
  },
): number {
  let { offset, next, room } = from;
  while (next <= Math.min(batch.lastIndex, from.lastIndexMax)) {
    const size = frameBytesAt(batch.bytes, offset, batch.bytes.length);
    if (size > room) break;
    room -= size;
    offset += size;
    next++;
  }
  return next;
}
