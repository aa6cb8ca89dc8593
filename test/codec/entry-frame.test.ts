import { createHash } from 'node:crypto';

import { beforeAll, describe, expect, test } from 'vitest';

import { crc32c } from '../../src/base/crc32c.ts';
import { logIndex, partitionId, term } from '../../src/base/ids.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';
import {
  checkFrames,
  entryBodyBytesMax,
  entryFrameOverheadBytes,
  EntryFrameWriter,
  frameBytesAt,
  frameHasPartition,
  frameIndex,
  frameIsSystem,
  frameLeaf,
  frameLeafHash,
  frameMetadataEnd,
  frameMetadataStart,
  framePartitionId,
  framePayloadEnd,
  framePayloadStart,
  frameTerm,
  frameTotalBytes,
  verifyFrame,
  verifyLeaf,
  type LeafHashes,
  type LeafHashName,
} from '../../src/codec/entry-frame.ts';
import { bodyBytesMax } from '../../src/codec/wire-catalog.ts';
import { loadBlake3 } from '../../src/security/blake3.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { bytesOf, hexOf, mutate, u32Hex } from './bytes-of.ts';

const hashes: LeafHashes = nodeCryptography;
const partition = partitionId('10111213-1415-1617-1819-1a1b1c1d1e1f');

beforeAll(loadBlake3);

interface Sample {
  readonly term: number;
  readonly index: number;
  readonly isSystem?: boolean;
  readonly metadata?: Uint8Array;
  readonly payload?: Uint8Array;
}

/** Frames one behind the other. */
function framed(...entries: readonly Sample[]): Uint8Array {
  const writer = new EntryFrameWriter(partition);
  const target = new Uint8Array(64 * 1024);
  const view = new DataView(target.buffer);
  let end = 0;
  for (const entry of entries) {
    end = writer.write(target, view, end, {
      term: term(entry.term),
      index: logIndex(entry.index),
      isSystem: entry.isSystem ?? false,
      metadata: entry.metadata ?? new Uint8Array(0),
      payload: entry.payload ?? new Uint8Array(0),
    });
  }
  return target.slice(0, end);
}

const good = (
  bytes: Uint8Array,
  count: number,
  firstIndex = 5,
  prevTerm = 2,
): ReturnType<typeof checkFrames> =>
  checkFrames(bytes, {
    partitionId: partition,
    firstIndex: logIndex(firstIndex),
    count,
    prevTerm: term(prevTerm),
  });

describe('an entry frame', () => {
  test('has the bytes of its layout', () => {
    const bytes = framed({
      term: 7,
      index: 300,
      isSystem: true,
      metadata: Uint8Array.of(5, 1, 0x6b),
      payload: Uint8Array.of(0x4f, 0x4b),
    });
    const covered = bytesOf(
      '01 00 0100 27000000 04000000',
      '101112131415161718191a1b1c1d1e1f 0700000000000000 2c01000000000000 0300 05016b 4f4b',
    );
    expect(hexOf(bytes)).toBe(hexOf(covered) + u32Hex(crc32c(covered)));
    expect(bytes.length).toBe(entryFrameOverheadBytes + 5);
  });

  test('is told by offsets', () => {
    const bytes = framed(
      { term: 1, index: 1 },
      { term: 7, index: 300, metadata: Uint8Array.of(9, 9, 9), payload: Uint8Array.of(1, 2) },
    );
    const at = frameTotalBytes(bytes, 0);
    expect(at).toBe(entryFrameOverheadBytes);
    expect(frameBytesAt(bytes, at, bytes.length)).toBe(bytes.length - at);
    expect([frameTerm(bytes, at), frameIndex(bytes, at), frameIsSystem(bytes, at)]).toEqual([
      7,
      300,
      false,
    ]);
    expect(framePartitionId(bytes, at)).toBe(partition);
    expect(frameHasPartition(bytes, at, bytes.subarray(12, 28))).toBe(true);
    expect(frameHasPartition(bytes, at, new Uint8Array(16))).toBe(false);
    expect([...bytes.subarray(frameMetadataStart(bytes, at), frameMetadataEnd(bytes, at))]).toEqual(
      [9, 9, 9],
    );
    expect([...bytes.subarray(framePayloadStart(bytes, at), framePayloadEnd(bytes, at))]).toEqual([
      1, 2,
    ]);
    expect(verifyFrame(bytes, at)).toBe(true);
  });

  test('sums agree with known ones', () => {
    const plain = bytesOf('01 00 0000 01000000 04000000 aa');
    const leafed = bytesOf('01 00 0000 01000000 24000000 aa');
    expect(u32Hex(crc32c(plain))).toBe('e7685b51');
    expect(u32Hex(crc32c(leafed))).toBe('b0ddf34a');
    const leaf = createHash('sha256')
      .update(leafed)
      .update(bytesOf(u32Hex(crc32c(leafed))))
      .digest('hex');
    expect(leaf).toBe('f3d7cf8bd2d2b06a1820d8748339822889befd4f9f2aa2952bff8c7b298d3e4a');
  });

  test('is not whole before its last byte is there', () => {
    const bytes = framed({ term: 3, index: 5, payload: Uint8Array.of(1, 2, 3) });
    for (let end = 0; end < bytes.length; end++) expect(frameBytesAt(bytes, 0, end)).toBe(0);
    expect(frameBytesAt(bytes, 0, bytes.length)).toBe(bytes.length);
  });

  test.each([
    ['another version', 0, '02'],
    ['a codec', 1, '01'],
    ['unknown flags', 2, '04'],
    ['a leaf by BLAKE3 without a leaf', 2, '02'],
    ['high flags', 3, '01'],
    ['a body shorter than its fields', 4, '21000000'],
    ['a body larger than any entry', 4, u32Hex(entryBodyBytesMax + 1)],
    ['a trailer of no bytes', 8, '00000000'],
    ['a trailer of another size', 8, '05000000'],
    ['metadata longer than its body', 44, 'ffff'],
  ])('with %s is malformed', (_name, at, hex) => {
    const bytes = framed({ term: 3, index: 5, payload: new Uint8Array(100) });
    bytes.set(bytesOf(hex), at);
    expect(frameBytesAt(bytes, 0, bytes.length)).toBe(-1);
  });

  test('with a Merkle leaf is 32 bytes longer', () => {
    const bytes = new Uint8Array(12 + 34 + 36);
    bytes.set(bytesOf('01 00 0000 22000000 24000000'));
    expect(frameBytesAt(bytes, 0, bytes.length)).toBe(82);
    for (const flags of [2, 3]) {
      bytes[2] = flags;
      expect(frameBytesAt(bytes, 0, bytes.length)).toBe(82);
    }
  });

  test('of the largest body fits a wire frame', () => {
    expect(entryBodyBytesMax).toBe(4 * 1024 * 1024 - 4096);
    expect(entryBodyBytesMax + 12 + 36 + 4096 - 200).toBeLessThan(bodyBytesMax);
  });

  test('whose term is no safe integer has none', () => {
    const bytes = framed({ term: 3, index: 5 });
    bytes.set(bytesOf('ffffffffffffffff ffffffffffffffff'), 28);
    expect(frameTerm(bytes, 0)).toBeNaN();
    expect(frameIndex(bytes, 0)).toBeNaN();
    expect(good(bytes, 1)).toMatchObject({ kind: 'bad' });
  });
});

describe('received frames', () => {
  const entries = [
    { term: 2, index: 5 },
    { term: 2, index: 6 },
    { term: 4, index: 7, payload: Uint8Array.of(1) },
  ];

  test('are told by their runs of terms', () => {
    expect(good(framed(...entries), 3)).toEqual({
      kind: 'good',
      lastTerm: 4,
      systemOffsets: [],
      termRuns: [5, 2, 7, 4],
    });
    expect(good(new Uint8Array(0), 0)).toEqual({
      kind: 'good',
      lastTerm: 2,
      systemOffsets: [],
      termRuns: [],
    });
  });

  test.each([
    ['fewer than announced', () => good(framed(...entries), 4), /cut short/],
    ['more than announced', () => good(framed(...entries), 2), /left over/],
    ['of another first index', () => good(framed(...entries), 3, 6), /another index/],
    ['with a gap', () => good(framed(entries[0]!, entries[2]!), 2), /another index/],
    [
      'with a term that falls',
      () => good(framed({ term: 4, index: 5 }, { term: 3, index: 6 }), 2),
      /falls/,
    ],
    ['with a term below the one before', () => good(framed(...entries), 3, 5, 3), /falls/],
  ])('%s are bad', (_name, check, reason) => {
    const outcome = check();
    expect(outcome.kind).toBe('bad');
    if (outcome.kind === 'bad') expect(outcome.reason).toMatch(reason);
  });

  test('of another partition are bad', () => {
    const bytes = framed(...entries);
    const other = partitionId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
    const outcome = checkFrames(bytes, {
      partitionId: other,
      firstIndex: logIndex(5),
      count: 3,
      prevTerm: term(2),
    });
    expect(outcome).toMatchObject({
      kind: 'bad',
      reason: expect.stringMatching(/another partition/) as string,
    });
  });

  test('with any single bit changed are bad', () => {
    const bytes = framed(...entries);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(good(bytes, 3).kind, `bit ${bit}`).toBe('bad');
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    }
    expect(good(bytes, 3).kind).toBe('good');
  });

  test('that were damaged or made up are judged, never thrown at', () => {
    const prng = createPrng(4);
    const whole = framed(...entries);
    for (let round = 0; round < 4000; round++) {
      const bytes = mutate(prng, whole);
      const outcome = good(bytes, 1 + nextBelow(prng, 4));
      if (outcome.kind === 'good')
        expect(hexOf(bytes)).toBe(hexOf(whole.subarray(0, bytes.length)));
    }
  });
});

describe.each<LeafHashName>(['sha256', 'blake3'])('a Merkle leaf by %s (ENT-5)', (name) => {
  const other = name === 'sha256' ? 'blake3' : 'sha256';

  /** Frames of two entries, the second one with a leaf. */
  function mixed(isSystem = false): { readonly bytes: Uint8Array; readonly second: number } {
    const target = new Uint8Array(1024);
    const view = new DataView(target.buffer);
    const entry = { term: term(3), isSystem, metadata: new Uint8Array(0) };
    const payload = Uint8Array.of(1, 2, 3);
    const plain = new EntryFrameWriter(partition);
    const leafed = new EntryFrameWriter(partition, { name, hashes });
    const second = plain.write(target, view, 0, { ...entry, index: logIndex(5), payload });
    const end = leafed.write(target, view, second, { ...entry, index: logIndex(6), payload });
    expect(end - second).toBe(leafed.overheadBytes + 3);
    return { bytes: target.slice(0, end), second };
  }

  test('stands behind the CRC, and frames with and without one follow each other', () => {
    const { bytes, second } = mixed();
    expect(good(bytes, 2).kind).toBe('good');
    expect(frameTotalBytes(bytes, second)).toBe(bytes.length - second);
    expect(frameLeaf(bytes, 0)).toBeUndefined();
    expect([verifyLeaf(bytes, 0, hashes), verifyLeaf(bytes, second, hashes)]).toEqual([true, true]);
    expect(frameLeafHash(bytes, second)).toBe(name);
    expect(hexOf(frameLeaf(bytes, second) ?? new Uint8Array(0))).toBe(
      hexOf(hashes[name](bytes.subarray(second, bytes.length - 32))),
    );
  });

  test('does not hide that the entry is the system’s own', () => {
    const { bytes, second } = mixed(true);
    expect([frameIsSystem(bytes, 0), frameIsSystem(bytes, second)]).toEqual([true, true]);
    expect(verifyLeaf(bytes, second, hashes)).toBe(true);
    expect(frameIsSystem(mixed().bytes, second)).toBe(false);
  });

  test('of another entry is not right, although the CRC is', () => {
    const { bytes, second } = mixed();
    for (let at = bytes.length - 32; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(verifyFrame(changed, second)).toBe(true);
      expect(verifyLeaf(changed, second, hashes)).toBe(false);
    }
  });

  test('is right by its own hash only', () => {
    const { bytes, second } = mixed();
    expect(verifyLeaf(bytes, second, { ...hashes, [name]: hashes[other] })).toBe(false);
  });
});

test('a Merkle leaf is the published one', () => {
  const leaf = 'f3d7cf8bd2d2b06a1820d8748339822889befd4f9f2aa2952bff8c7b298d3e4a';
  const bytes = bytesOf('010000000100000024000000aa', u32Hex(0x4af3ddb0), leaf);
  expect(verifyLeaf(bytes, 0, hashes)).toBe(true);
  expect(hexOf(frameLeaf(bytes, 0) ?? new Uint8Array(0))).toBe(leaf);
});
