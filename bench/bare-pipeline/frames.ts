/**
 * The frames of the bare pipeline, little-endian: `u32 length of the rest, u8 kind`, then by kind
 *
 *     put      u32 id, value               client → leader
 *     answer   u32 id                      leader → client
 *     append   f64 last index, entries     leader → follower
 *     durable  f64 index                   follower → leader
 *
 * Entries are `u32 value bytes, u32 CRC-32C or 0, f64 index, 8 bytes reserved, value`: the bytes that go to the
 * journal of every process as they are. An index is a double, exact far beyond any run of a bench.
 */
import type { Duplex } from 'node:stream';

/** The kinds of frames. */
export const frameKind = { put: 1, answer: 2, append: 3, durable: 4 } as const;

/** Bytes before the body: length and kind. */
export const frameHeaderBytes = 5;
/** Bytes before an entry's value. */
export const entryHeaderBytes = 24;

const slabBytes = 1 << 20;

/** Takes one frame: where its body (behind the kind) begins and ends in `bytes`, valid during the call only. */
export type FrameHandler = (kind: number, bytes: Buffer, start: number, end: number) => void;

/** Cuts a stream of chunks into frames. */
export class FrameReader {
  readonly #handler: FrameHandler;
  #carry: Buffer = Buffer.allocUnsafe(slabBytes);
  #carriedBytes = 0;

  constructor(handler: FrameHandler) {
    this.#handler = handler;
  }

  /** Takes the next chunk and hands on every frame that is now whole. */
  push(chunk: Buffer): void {
    if (this.#carriedBytes === 0) {
      const used = this.#cut(chunk, chunk.length);
      if (used < chunk.length) this.#keep(chunk, used);
      return;
    }
    this.#keep(chunk, 0);
    const used = this.#cut(this.#carry, this.#carriedBytes);
    if (used === 0) return;
    this.#carry.copyWithin(0, used, this.#carriedBytes);
    this.#carriedBytes -= used;
  }

  #keep(chunk: Buffer, from: number): void {
    const wanted = this.#carriedBytes + chunk.length - from;
    if (wanted > this.#carry.length) {
      const larger = Buffer.allocUnsafe(2 * wanted);
      this.#carry.copy(larger, 0, 0, this.#carriedBytes);
      this.#carry = larger;
    }
    chunk.copy(this.#carry, this.#carriedBytes, from);
    this.#carriedBytes = wanted;
  }

  #cut(bytes: Buffer, end: number): number {
    let at = 0;
    while (end - at >= frameHeaderBytes) {
      const frameEnd = at + 4 + bytes.readUInt32LE(at);
      if (frameEnd > end) break;
      this.#handler(bytes[at + 4] ?? 0, bytes, at + frameHeaderBytes, frameEnd);
      at = frameEnd;
    }
    return at;
  }
}

/** Gathers the frames of one turn of the loop and writes them as one. */
export class FrameWriter {
  readonly #stream: Duplex;
  /** Where {@link FrameWriter.begin} says a body goes. */
  slab: Buffer = Buffer.allocUnsafeSlow(slabBytes);
  #start = 0;
  #end = 0;
  #isScheduled = false;

  constructor(stream: Duplex) {
    this.#stream = stream;
  }

  /** Begins a frame; the caller fills `bodyBytes` of {@link FrameWriter.slab} from the returned offset on. */
  begin(kind: number, bodyBytes: number): number {
    const bytes = frameHeaderBytes + bodyBytes;
    if (this.#end + bytes > this.slab.length) {
      this.flush();
      this.slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, bytes));
      this.#start = 0;
      this.#end = 0;
    }
    const at = this.#end;
    this.#end += bytes;
    this.slab.writeUInt32LE(1 + bodyBytes, at);
    this.slab[at + 4] = kind;
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(this.flush);
    }
    return at + frameHeaderBytes;
  }

  /** Writes what was gathered. */
  readonly flush = (): void => {
    this.#isScheduled = false;
    if (this.#end === this.#start || this.#stream.destroyed) return;
    this.#stream.write(this.slab.subarray(this.#start, this.#end));
    this.#start = this.#end;
  };
}
