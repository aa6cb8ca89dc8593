/**
 * Cuts a byte stream into bodies: `body_len u32` ‖ body.
 *
 * A frame that lies whole in a chunk is handed on as a view, without a copy. One that spans chunks is gathered and copied
 * once; memory grows with the bytes that arrived, never with the length that was claimed.
 */
import { ClustorError } from '../base/errors.ts';

const prefixBytes = 4;
const bodyBytesMin = 4;

/** See the file comment. Unusable after it threw. */
export class FrameAssembler {
  #bodyBytesMax: number;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;

  constructor(bodyBytesMax: number) {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /** Changes the largest accepted body; takes effect with the next frame. */
  limit(bodyBytesMax: number): void {
    this.#bodyBytesMax = bodyBytesMax;
  }

  /** Takes a chunk and hands on every body that is complete. @throws ClustorError for a length out of bounds. */
  push(chunk: Uint8Array, onBody: (body: Uint8Array) => void): void {
    let bytes = chunk;
    if (this.#pendingBytes > 0) {
      this.#pending.push(chunk);
      this.#pendingBytes += chunk.length;
      if (this.#pendingBytes < this.#needed()) return;
      bytes = concatenate(this.#pending, this.#pendingBytes);
      this.#pending = [];
      this.#pendingBytes = 0;
    }
    let offset = 0;
    while (bytes.length - offset >= prefixBytes) {
      const bodyBytes = this.#checked(lengthAt(bytes, offset));
      if (bytes.length - offset - prefixBytes < bodyBytes) break;
      const start = offset + prefixBytes;
      offset = start + bodyBytes;
      onBody(bytes.subarray(start, offset));
    }
    if (offset < bytes.length) {
      this.#pending = [offset === 0 ? bytes : bytes.subarray(offset)];
      this.#pendingBytes = bytes.length - offset;
    }
  }

  /** Bytes that the frame at the head needs, as far as its prefix is known. */
  #needed(): number {
    if (this.#pendingBytes < prefixBytes) return prefixBytes;
    const first = this.#pending[0];
    const head =
      first !== undefined && first.length >= prefixBytes
        ? first
        : concatenate(this.#pending, this.#pendingBytes);
    return prefixBytes + this.#checked(lengthAt(head, 0));
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

function concatenate(chunks: readonly Uint8Array[], totalBytes: number): Uint8Array {
  const whole = new Uint8Array(totalBytes);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
  }
  return whole;
}
