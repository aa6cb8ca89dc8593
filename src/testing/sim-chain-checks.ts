/** The chains of a simulated disk, and what their callers are held to. */
import { assert } from '../base/assert.ts';
import type { IoCompletion, IoStep } from '../ports/file-system.ts';
import { pageBytes } from './sim-disk-file.ts';

/** A chain that waits or runs. */
export interface SubmittedChain {
  readonly number: number;
  readonly steps: readonly IoStep[];
  /** Of the bytes of each step, when it was submitted. */
  readonly checksums: readonly number[];
  readonly completion: IoCompletion;
  stepsDone: number;
}

/** Words of which a checksum looks at one. */
const checksumStride = 8;

/** Holds a write to the port's contract. */
export function assertAligned(position: number, length: number): void {
  assert(
    (position % pageBytes) + (length % pageBytes) === 0,
    'durable writes are in multiples of 4,096',
  );
}

/**
 * A checksum over one word in {@link checksumStride}, beginning at another one for each chain: chains are the hot path, and a
 * caller that reuses its buffers too early does so again and again.
 */
export function checksumOf(bytes: Uint8Array, chainNumber: number): number {
  if ((bytes.byteOffset & 3) !== 0) return checksumOf(bytes.slice(), chainNumber);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  let sum = 0;
  for (let at = chainNumber % checksumStride; at < words.length; at += checksumStride) {
    sum = (Math.imul(sum, 31) + (words[at] ?? 0)) | 0;
  }
  return sum;
}
