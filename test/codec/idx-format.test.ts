import { describe, expect, test } from 'vitest';

import { crc32c } from '../../src/base/crc32c.ts';
import { logIndex, partitionId, term } from '../../src/base/ids.ts';
import { createPrng } from '../../src/base/prng.ts';
import {
  decodeSegmentIndex,
  encodeSegmentIndex,
  segmentIndexFileName,
  type SegmentIndex,
} from '../../src/codec/idx-format.ts';
import { bytesOf, hexOf, mutate, refusalOf, u32Hex } from './bytes-of.ts';

const [first, second] = [
  '10111213-1415-1617-1819-1a1b1c1d1e1f',
  '018c0d6c-9c11-7e9d-8000-86f5bb8c0001',
].map(partitionId);
const index: SegmentIndex = {
  segmentSeq: 7,
  endOffset: 65536,
  rows: [
    { partitionId: first!, term: term(1), firstIndex: logIndex(5), count: 2, block: 0, offset: 0 },
    {
      partitionId: second!,
      term: term(3),
      firstIndex: logIndex(1),
      count: 9,
      block: 1,
      offset: 100,
    },
    { partitionId: first!, term: term(2), firstIndex: logIndex(7), count: 1, block: 4, offset: 12 },
  ],
};
const expected = { segmentSeq: 7, endOffset: 65536 };

describe('the index of a segment', () => {
  test('has the bytes of its layout', () => {
    const covered = bytesOf(
      '434c535452494458 01 00000000000000 0700000000000000 0000010000000000 02000000 03000000',
      '101112131415161718191a1b1c1d1e1f 018c0d6c9c117e9d800086f5bb8c0001',
      '00000000 0100000000000000 0500000000000000 00000000 00000000 02000000',
      '01000000 0300000000000000 0100000000000000 01000000 64000000 09000000',
      '00000000 0200000000000000 0700000000000000 04000000 0c000000 01000000',
    );
    expect(hexOf(encodeSegmentIndex(index))).toBe(hexOf(covered) + u32Hex(crc32c(covered)));
  });

  test('comes back as it was written, also without rows', () => {
    expect(decodeSegmentIndex(encodeSegmentIndex(index), expected)).toEqual(index);
    const empty = { ...index, rows: [] };
    expect(decodeSegmentIndex(encodeSegmentIndex(empty), expected)).toEqual(empty);
  });

  test('of another segment or another end is not believed', () => {
    const bytes = encodeSegmentIndex(index);
    expect(decodeSegmentIndex(bytes, { segmentSeq: 8, endOffset: 65536 })).toBeUndefined();
    expect(decodeSegmentIndex(bytes, { segmentSeq: 7, endOffset: 4096 })).toBeUndefined();
  });

  test('that is cut anywhere is not believed', () => {
    const bytes = encodeSegmentIndex(index);
    for (let length = 0; length < bytes.length; length++) {
      expect(decodeSegmentIndex(bytes.slice(0, length), expected)).toBeUndefined();
    }
  });

  test('that was changed, though its CRC fits, meets catalogued errors only', () => {
    const prng = createPrng(3);
    const whole = encodeSegmentIndex(index);
    for (let round = 0; round < 3000; round++) {
      const bytes = mutate(prng, whole.subarray(0, whole.length - 4));
      const sealed = Uint8Array.of(...bytes, ...bytesOf(u32Hex(crc32c(bytes))));
      refusalOf(() => decodeSegmentIndex(sealed, expected));
      refusalOf(() => decodeSegmentIndex(mutate(prng, whole), expected));
    }
  });

  test('stands beside its segment', () => {
    expect(segmentIndexFileName(7)).toBe('segment-0000000000000007.idx');
  });
});
