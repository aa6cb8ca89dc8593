/**
 * Cuts a byte stream into bodies: `body_len u32` ‖ body.
 *
 * A frame that lies whole in a chunk is handed on as a view, without a copy. One that spans chunks is gathered and copied;
 * memory grows with the bytes that arrived, never with the length that was claimed.
 */
import { ClustorError } from '../base/errors.ts';

const prefixBytes = 4;
const bodyBytesMin = 4;

/** Bytes that are reserved at once for a frame that came in pieces. */
const reservedBytesMin = 256;
const noBytes = new Uint8Array(0);

/** See the file comment. Unusable after it threw. */
export class FrameAssembler {
  #bodyBytesMax: number;
  /** The beginning of the frame at the head, prefix included, when it did not lie whole in a chunk. */
  #gathered: Uint8Array = noBytes;
  #gatheredBytes = 0;
  /** Bytes of that frame as far as its prefix is known. */
  #neededBytes = prefixBytes;

  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /** Changes the largest accepted body; takes effect with the next frame. */
  limit(bodyBytesMax: number): void {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /** Takes a chunk and hands on every body that is complete. @throws ClustorError for a length out of bounds. */
  push(chunk: Uint8Array, onBody: (body: Uint8Array) => void): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#gatheredBytes === 0 && chunk.length - offset >= prefixBytes) {
        const start = offset + prefixBytes;
        const end = start + this.#checked(lengthAt(chunk, offset));
        if (end <= chunk.length) {
          offset = end;
          onBody(chunk.subarray(start, end));
          continue;
        }
      }
      offset = this.#gather(chunk, offset, onBody);
    }
  }

  /** Takes what the frame at the head lacks, and hands it on when it is complete; returns where the chunk goes on. */
  #gather(chunk: Uint8Array, offset: number, onBody: (body: Uint8Array) => void): number {
    const end = Math.min(chunk.length, offset + this.#neededBytes - this.#gatheredBytes);
    this.#reserve(this.#gatheredBytes + end - offset);
    this.#gathered.set(chunk.subarray(offset, end), this.#gatheredBytes);
    this.#gatheredBytes += end - offset;
    if (this.#gatheredBytes < this.#neededBytes) return end;
    if (this.#neededBytes === prefixBytes) {
      this.#neededBytes += this.#checked(lengthAt(this.#gathered, 0));
      return end;
    }
    const body = this.#gathered.subarray(prefixBytes, this.#neededBytes);
    this.#gathered = noBytes;
    this.#gatheredBytes = 0;
    this.#neededBytes = prefixBytes;
    onBody(body);
    return end;
  }

  /** Twice as much each time: a frame that comes byte by byte costs what its length costs, not its square. */
  #reserve(bytes: number): void {
    if (bytes <= this.#gathered.length) return;
    const larger = new Uint8Array(
      Math.min(this.#neededBytes, Math.max(2 * bytes, reservedBytesMin)),
    );
    larger.set(this.#gathered.subarray(0, this.#gatheredBytes));
    this.#gathered = larger;
  }

  #checked(bodyBytes: number): number {
    if (bodyBytes > this.#bodyBytesMax)
      throw new ClustorError(
        'CLUSTOR_WIRE_BODY_TOO_LARGE',
        `a frame of ${bodyBytes} bytes exceeds the agreed ${this.#bodyBytesMax}`,
      );
    if (bodyBytes < bodyBytesMin)
      throw new ClustorError(
        'CLUSTOR_WIRE_BODY_TOO_SHORT',
        `a frame of ${bodyBytes} bytes has no header`,
      );
    return bodyBytes;
  }
}

function lengthAt(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset] ?? 0) |
      ((bytes[offset + 1] ?? 0) << 8) |
      ((bytes[offset + 2] ?? 0) << 16) |
      ((bytes[offset + 3] ?? 0) << 24)) >>>
    0
  );
}
