/** A reusable cursor over committed entries: offsets into the buffers that hold them, no object per entry. */
import { assert, present } from '../base/assert.ts';
import type { LogIndex, PartitionId, Term } from '../base/ids.ts';
import { createPrng, nextUint32 } from '../base/prng.ts';
import type { ApplyContext, EntryBatch } from '../ports/state-machine.ts';

/** Entries collected for one call of `apply`. */
export class ApplyBatch implements EntryBatch, ApplyContext {
  readonly partitionId: PartitionId;
  readonly #buffers: Uint8Array[] = [];
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  readonly #indexes: Float64Array;
  readonly #terms: Float64Array;
  readonly #times: Float64Array;
  #length = 0;

  constructor(partitionId: PartitionId, entriesMax: number) {
    this.partitionId = partitionId;
    this.#starts = new Int32Array(entriesMax);
    this.#ends = new Int32Array(entriesMax);
    this.#indexes = new Float64Array(entriesMax);
    this.#terms = new Float64Array(entriesMax);
    this.#times = new Float64Array(entriesMax);
  }

  get length(): number {
    return this.#length;
  }

  /** Whether another entry fits. */
  get isFull(): boolean {
    return this.#length === this.#starts.length;
  }

  /** Forgets the entries. */
  clear(): void {
    this.#length = 0;
    this.#buffers.length = 0;
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
    this.#buffers.splice(0, count);
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

  #checked(position: number): number {
    assert(position >= 0 && position < this.#length, 'a position within the batch');
    return position;
  }
}
