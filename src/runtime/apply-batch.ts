/** A reusable cursor over committed entries: offsets into the buffers that hold them, no object per entry. */
import { dropFirst, empty } from '../base/arrays.ts';
import { assert, present } from '../base/assert.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import { createPrng, nextUint32 } from '../base/prng.ts';
import type { ApplyContext, EntryBatch } from '../ports/state-machine.ts';

/** Rows that a batch has room for when it takes its first entry. */
const rowsAtFirst = 16;
const noInt32s = new Int32Array(0);
const noFloat64s = new Float64Array(0);

/** Entries collected for one call of `apply`. It takes memory while it has entries, and keeps what it took until {@link ApplyBatch.rest}. */
export class ApplyBatch implements EntryBatch, ApplyContext {
  readonly partitionId: PartitionId;
  #buffers: Uint8Array[] = [];
  readonly #entriesMax: number;
  #starts = noInt32s;
  #ends = noInt32s;
  #indexes = noFloat64s;
  #terms = noFloat64s;
  #times = noFloat64s;
  #length = 0;

  constructor(partitionId: PartitionId, entriesMax: number) {
    this.partitionId = partitionId;
    this.#entriesMax = entriesMax;
  }

  get length(): number {
    return this.#length;
  }

  /** Whether another entry fits. */
  get isFull(): boolean {
    return this.#length === this.#entriesMax;
  }

  /** Forgets the entries. */
  clear(): void {
    this.#length = 0;
    empty(this.#buffers);
  }

  /** Gives its memory back; it must be empty. */
  rest(): void {
    assert(this.#length === 0, 'only an empty batch rests');
    this.#buffers = [];
    this.#starts = noInt32s;
    this.#ends = noInt32s;
    this.#indexes = noFloat64s;
    this.#terms = noFloat64s;
    this.#times = noFloat64s;
  }

  /** Adds an entry whose payload is `bytes[start, end)`. */
  add(entry: {
    readonly bytes: Uint8Array;
    readonly start: number;
    readonly end: number;
    readonly index: LogIndex;
    readonly term: Term;
    readonly timeMs: number;
  }): void {
    assert(!this.isFull, 'a batch has room for the entry');
    if (this.#length === this.#starts.length) this.#grow();
    const at = this.#length++;
    this.#buffers[at] = entry.bytes;
    this.#starts[at] = entry.start;
    this.#ends[at] = entry.end;
    this.#indexes[at] = entry.index;
    this.#terms[at] = entry.term;
    this.#times[at] = entry.timeMs;
  }

  /** Drops the first `count` entries: they took effect. */
  advance(count: number): void {
    assert(count >= 0 && count <= this.#length, 'only entries of the batch take effect');
    dropFirst(this.#buffers, count);
    for (const column of [this.#starts, this.#ends, this.#indexes, this.#terms, this.#times])
      column.copyWithin(0, count, this.#length);
    this.#length -= count;
  }

  index(position: number): LogIndex {
    return present(this.#indexes[this.#checked(position)], 'within the batch') as LogIndex;
  }

  term(position: number): Term {
    return present(this.#terms[this.#checked(position)], 'within the batch') as Term;
  }

  payload(position: number): Uint8Array {
    return this.bytes(position).subarray(this.payloadStart(position), this.payloadEnd(position));
  }

  bytes(position: number): Uint8Array {
    return present(this.#buffers[this.#checked(position)], 'within the batch');
  }

  payloadStart(position: number): number {
    return present(this.#starts[this.#checked(position)], 'within the batch');
  }

  payloadEnd(position: number): number {
    return present(this.#ends[this.#checked(position)], 'within the batch');
  }

  timeMs(position: number): number {
    return present(this.#times[this.#checked(position)], 'within the batch');
  }

  random(position: number, draw: number): number {
    const prng = createPrng(this.index(position) * 0x10000 + (draw & 0xffff));
    return nextUint32(prng);
  }

  #grow(): void {
    const rows = Math.min(this.#entriesMax, Math.max(rowsAtFirst, this.#length * 2));
    this.#starts = widerInt32s(this.#starts, rows);
    this.#ends = widerInt32s(this.#ends, rows);
    this.#indexes = widerFloat64s(this.#indexes, rows);
    this.#terms = widerFloat64s(this.#terms, rows);
    this.#times = widerFloat64s(this.#times, rows);
  }

  #checked(position: number): number {
    assert(position >= 0 && position < this.#length, 'a position within the batch');
    return position;
  }
}

function widerInt32s(column: Int32Array<ArrayBuffer>, rows: number): Int32Array<ArrayBuffer> {
  const wider = new Int32Array(rows);
  wider.set(column);
  return wider;
}

function widerFloat64s(column: Float64Array<ArrayBuffer>, rows: number): Float64Array<ArrayBuffer> {
  const wider = new Float64Array(rows);
  wider.set(column);
  return wider;
}
