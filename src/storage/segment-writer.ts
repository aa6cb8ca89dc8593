/**
 * Seals flushes into units of the segment in use, in memory that the disk can take directly.
 *
 * A flush is laid out first (`begin`, `add` …, `end`), then written by the owner's chain. Nothing sealed is ever sealed
 * again in this segment: after a failed write the store is poisoned and a new process begins a new segment.
 */
import { assert } from '../base/assert.ts';
import {
  blockBytes,
  blockOffset,
  flagFirstOfFlush,
  flagLastOfFlush,
  noFirstFrame,
  unitBlocks,
  unitHeaderBytes,
  unitPlainBytesMax,
  type UnitSuite,
} from '../codec/segment-format.ts';
import { frameTotalBytes } from '../codec/entry-frame.ts';
import { TrailerTally, type SegmentTrailerFields } from '../codec/segment-trailer.ts';
import type { FileHandle } from '../ports/file-system.ts';

/**
 * Blocks of the units that are written (ADR 0023): each costs a cipher of its own, and a bad sector costs all entries of its unit.
 */
export const sealedBlocksMax = 4;
const sealedPlainBytesMax = unitPlainBytesMax(sealedBlocksMax);

/** A segment that is open for writing. */
export interface OpenSegment {
  readonly segmentSeq: number;
  readonly path: string;
  readonly file: FileHandle;
  readonly sizeBytes: number;
  readonly salt: Uint8Array;
}

/** Where a run of frames begins. */
export interface FramePlace {
  readonly block: number;
  readonly offset: number;
}

/** Memory that flushes are laid out in, one at a time. */
export interface FlushMemory {
  /** Enough for most flushes. */
  readonly staging: Uint8Array;
  /** Bytes of the largest flush. */
  readonly stagingBytesMax: number;
  /** Memory of that size. */
  readonly largestStaging: () => Uint8Array;
}

/** See the file comment. */
export class SegmentWriter {
  readonly segment: OpenSegment;
  readonly #memory: FlushMemory;
  #staging: Uint8Array;
  /**
   * The unit being filled, in memory of this thread alone: what is copied to memory that threads share is copied byte by byte
   * unless both sides are aligned, as whole blocks are.
   */
  readonly #unit = new Uint8Array(sealedBlocksMax * blockBytes);
  readonly #suite: UnitSuite;
  /** Of everything laid out: a segment that is closed was written as it was laid out, or the process has ended. */
  readonly #tally = new TrailerTally();
  #nextBlock = 0;
  /** Where the unit being filled will stand in staging. */
  #unitStart = 0;
  #plainBytes = 0;
  #firstFrame = noFirstFrame;
  #flags = 0;
  #isOpen = false;
  /** Number of the unit that the cipher is ready for. */
  #preparedUnit = -1;

  constructor(segment: OpenSegment, memory: FlushMemory, suite: UnitSuite) {
    this.segment = segment;
    this.#memory = memory;
    this.#staging = memory.staging;
    this.#suite = suite;
  }

  /** File offset behind everything sealed so far. */
  get endOffset(): number {
    return blockOffset(this.#nextBlock);
  }

  /** What the trailer says of it; nothing is added any more. */
  trailerFields(): SegmentTrailerFields {
    assert(!this.#isOpen, 'no flush is laid out');
    return this.#tally.finish(this.segment.segmentSeq);
  }

  /** How full the segment is, 0 to 1. */
  get usedShare(): number {
    return this.endOffset / this.segment.sizeBytes;
  }

  /** Whether `plainBytes` more fit into this flush and this segment. */
  fits(plainBytes: number): boolean {
    const inFlush = this.flushBytes / blockBytes;
    // As many as units of one block would take, which hold the least.
    const blocks = inFlush + Math.ceil(plainBytes / unitPlainBytesMax(1)) + 1;
    if (blocks * blockBytes > this.#memory.stagingBytesMax) return false;
    return blockOffset(this.#nextBlock + blocks) <= this.segment.sizeBytes;
  }

  /** Bytes laid out in the flush so far. */
  get flushBytes(): number {
    return this.#isOpen ? this.#unitStart + unitBlocks(this.#plainBytes) * blockBytes : 0;
  }

  /** Nothing else is to be done now: the next flush can be made shorter. */
  prepare(): void {
    if (this.#isOpen || this.#preparedUnit === this.#nextBlock) return;
    this.#preparedUnit = this.#nextBlock;
    this.#suite.prepare(this.#nextBlock);
  }

  /** Begins a flush on a fresh block. */
  begin(): void {
    assert(!this.#isOpen, 'one flush is laid out at a time');
    this.#isOpen = true;
    this.#unitStart = 0;
    this.#plainBytes = 0;
    this.#firstFrame = noFirstFrame;
    this.#flags = flagFirstOfFlush;
  }

  /** Where the next frame will begin. */
  place(): FramePlace {
    const block = this.#nextBlock + this.#unitStart / blockBytes;
    return this.#plainBytes === sealedPlainBytesMax
      ? { block: block + sealedBlocksMax, offset: 0 }
      : { block, offset: this.#plainBytes };
  }

  /** Adds whole frames; the first one starts at {@link SegmentWriter.place}. */
  add(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length; start += frameTotalBytes(bytes, start))
      this.#tally.add(bytes, start);
    let from = 0;
    let frameStart = 0;
    while (from < bytes.length) {
      if (this.#plainBytes === sealedPlainBytesMax) this.#nextInFlush();
      while (frameStart < from) frameStart += frameTotalBytes(bytes, frameStart);
      const room = sealedPlainBytesMax - this.#plainBytes;
      if (
        this.#firstFrame === noFirstFrame &&
        frameStart < bytes.length &&
        frameStart - from < room
      ) {
        this.#firstFrame = this.#plainBytes + frameStart - from;
      }
      const size = Math.min(room, bytes.length - from);
      this.#unit.set(
        from === 0 && size === bytes.length ? bytes : bytes.subarray(from, from + size),
        unitHeaderBytes + this.#plainBytes,
      );
      this.#plainBytes += size;
      from += size;
    }
  }

  /** Ends the flush and returns what to write where. */
  end(): { readonly position: number; readonly bytes: Uint8Array } {
    assert(this.#isOpen && this.#plainBytes > 0, 'a flush has content');
    this.#flags |= flagLastOfFlush;
    this.#seal();
    const total = this.#unitStart;
    const position = blockOffset(this.#nextBlock);
    this.#nextBlock += total / blockBytes;
    this.#isOpen = false;
    assert(position + total <= this.segment.sizeBytes, 'a flush stays within its segment');
    return { position, bytes: this.#staging.subarray(0, total) };
  }

  #nextInFlush(): void {
    this.#seal();
    this.#plainBytes = 0;
    this.#firstFrame = noFirstFrame;
    this.#flags = 0;
  }

  /** Goes on in larger memory; what is laid out was not handed to a chain yet. */
  #growStaging(bytes: number): void {
    const larger = this.#memory.largestStaging();
    assert(larger.length >= bytes, 'a flush fits its memory');
    larger.set(this.#staging.subarray(0, this.#unitStart));
    this.#staging = larger;
  }

  /** Seals the unit being filled; the next one will stand behind it. */
  #seal(): void {
    this.#suite.seal(this.#unit, 0, {
      number: this.#nextBlock + this.#unitStart / blockBytes,
      plainBytes: this.#plainBytes,
      firstFrame: this.#firstFrame,
      flags: this.#flags,
    });
    const bytes = unitBlocks(this.#plainBytes) * blockBytes;
    const end = this.#unitStart + bytes;
    if (end > this.#staging.length) this.#growStaging(end);
    this.#staging.set(this.#unit.subarray(0, bytes), this.#unitStart);
    this.#unitStart = end;
  }
}
