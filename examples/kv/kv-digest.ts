/**
 * One number for all of a store's content, to compare replicas and to compare a store with a record of what was written.
 *
 * The digest is the sum, modulo 2^256, of SHA-256 over each pair: the key's length (u32, big endian), the key, the value's
 * length (likewise), the value. A sum does not depend on order, so an auditor needs no sorting and no knowledge of buckets.
 * It finds accidents; it does not resist someone who crafts pairs to collide.
 */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

import type { ByteString, KvCapture, KvPair } from './kv-store.ts';

/** How many keys, and the digest over all pairs as 64 hexadecimal digits. */
export interface ContentDigest {
  readonly count: number;
  readonly hex: string;
}

/** Pairs hashed before other work gets its turn: about 4 ms. */
const pairsPerTurn = 2_000;
const modulus = 2n ** 256n;

/** Digest of any pairs. */
export function digestOfPairs(pairs: Iterable<KvPair>): ContentDigest {
  let count = 0;
  let sum = 0n;
  for (const pair of pairs) {
    sum += hashOf(pair);
    count++;
  }
  return { count, hex: hexOf(sum) };
}

/** Digest of a capture, in slices that leave room for other work; closes the capture. */
export async function digestOfCapture(capture: KvCapture): Promise<ContentDigest> {
  try {
    let sum = 0n;
    let pairsOfTurn = 0;
    for (let pairs = capture.nextPairs(); pairs !== undefined; pairs = capture.nextPairs()) {
      for (const pair of pairs) sum += hashOf(pair);
      pairsOfTurn += pairs.length;
      if (pairsOfTurn < pairsPerTurn) continue;
      pairsOfTurn = 0;
      await setImmediate();
    }
    return { count: capture.count, hex: hexOf(sum) };
  } finally {
    capture.close();
  }
}

/** The pairs of a capture one after the other; closes it at the end. */
export function* pairsOfCapture(capture: KvCapture): Generator<KvPair> {
  try {
    for (let pairs = capture.nextPairs(); pairs !== undefined; pairs = capture.nextPairs()) {
      yield* pairs;
    }
  } finally {
    capture.close();
  }
}

function hashOf([key, value]: KvPair): bigint {
  const bytes = Buffer.allocUnsafe(8 + key.length + value.length);
  const at = writeCounted(bytes, 0, key);
  writeCounted(bytes, at, value);
  return BigInt(`0x${createHash('sha256').update(bytes).digest('hex')}`);
}

function writeCounted(bytes: Buffer, start: number, field: ByteString): number {
  const at = bytes.writeUInt32BE(field.length, start);
  return at + bytes.write(field, at, 'latin1');
}

function hexOf(sum: bigint): string {
  return (sum % modulus).toString(16).padStart(64, '0');
}
