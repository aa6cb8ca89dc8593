import { describe, expect, test } from 'vitest';

import { crc32c } from '../../src/base/crc32c.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';
import {
  blockBytes,
  blockOffset,
  claimedBlocks,
  flagFirstOfFlush,
  flagLastOfFlush,
  noFirstFrame,
  readSegmentHeader,
  segmentFileName,
  segmentSeqOfFileName,
  unitBlocks,
  unitBlocksMax,
  unitFirstFrame,
  unitFlags,
  unitHeaderBytes,
  unitPlainBytesMax,
  UnitSealer,
  writeSegmentHeader,
  type SegmentHeader,
} from '../../src/codec/segment-format.ts';
import { bytesOf, hexOf, mutate, refusalOf, u32Hex, u64Hex } from './bytes-of.ts';
import { messageSamples } from './message-samples.ts';

const salt = bytesOf('000102030405060708090a0b0c0d0e0f');
const header: SegmentHeader = {
  clusterId: messageSamples.hello.clusterId,
  nodeId: messageSamples.hello.nodeId,
  segmentSeq: 7,
  isEncrypted: false,
  dekEpoch: 0,
  integrityMacEpoch: 0,
  salt,
  createdMs: 1_700_000_000_000,
};
const headerFields = [
  '434c535452534547 02 00 0010 404142434445464748494a4b4c4d4e4f 0200000000000000 0700000000000000',
  '00000000 00000000 000102030405060708090a0b0c0d0e0f',
  u64Hex(1_700_000_000_000),
];

/** A header block with changed fields and a CRC that fits them. */
function headerBlock(change: (fields: Uint8Array) => void = () => {}): Uint8Array {
  const fields = bytesOf(...headerFields);
  change(fields);
  const block = new Uint8Array(blockBytes);
  block.set(fields);
  block.set(bytesOf(u32Hex(crc32c(fields))), fields.length);
  return block;
}

describe('a segment header', () => {
  test('has the bytes of its layout and comes back', () => {
    const block = new Uint8Array(blockBytes).fill(0xee);
    writeSegmentHeader(block, header);
    expect(hexOf(block)).toBe(hexOf(headerBlock()));
    expect(readSegmentHeader(block)).toEqual(header);
  });

  test('of format 1, whose units have one block each, is read', () => {
    expect(readSegmentHeader(headerBlock((fields) => (fields[8] = 1)))).toEqual(header);
  });

  test('with any single bit of its fields changed is an integrity failure', () => {
    const block = headerBlock();
    for (let bit = 0; bit < 80 * 8; bit++) {
      block[bit >> 3] = (block[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(
        refusalOf(() => readSegmentHeader(block)),
        `bit ${bit}`,
      ).toBe('CLUSTOR_INTEGRITY');
      block[bit >> 3] = (block[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    }
  });

  test('of which a number is too large, though its CRC fits, is an integrity failure', () => {
    const block = headerBlock((fields) => (fields[35] = 0xff));
    expect(refusalOf(() => readSegmentHeader(block))).toBe('CLUSTOR_INTEGRITY');
  });

  test('that is cut is an integrity failure', () => {
    for (const length of [0, 1, 8, 80, blockBytes - 1]) {
      expect(refusalOf(() => readSegmentHeader(headerBlock().subarray(0, length)))).toBe(
        'CLUSTOR_INTEGRITY',
      );
    }
  });

  test.each([
    ['a version of the future', 8, 3],
    ['no version', 8, 0],
    ['an encryption that this version does not know', 9, 2],
    ['blocks of another size', 11, 0x20],
  ])('with %s is of an unsupported format', (_name, at, value) => {
    const block = headerBlock((fields) => (fields[at] = value));
    expect(refusalOf(() => readSegmentHeader(block))).toBe('CLUSTOR_FORMAT_UNSUPPORTED');
  });

  test('that is damaged meets catalogued errors only', () => {
    const prng = createPrng(1);
    for (let round = 0; round < 200; round++)
      refusalOf(() => readSegmentHeader(mutate(prng, headerBlock())));
  });
});

describe('a sealed unit', () => {
  /** Unit `number` with a plaintext of one value, a block behind the start. */
  function sealed(number: number, plainBytes: number, sealer = new UnitSealer(salt)): Uint8Array {
    const target = new Uint8Array((2 + unitBlocks(plainBytes)) * blockBytes).fill(0xee);
    target.fill(0x61, blockBytes + unitHeaderBytes, blockBytes + unitHeaderBytes + plainBytes);
    sealer.seal(target, blockBytes, {
      number,
      plainBytes,
      firstFrame: noFirstFrame,
      flags: flagFirstOfFlush | flagLastOfFlush,
    });
    return target;
  }

  test('has the bytes of its layout: header, plaintext, CRC, zeros to the end of its block', () => {
    const target = sealed(9, 3);
    const covered = bytesOf('0300 ffff 0300 0000 616161');
    const crc = crc32c(bytesOf(hexOf(salt), u64Hex(9), hexOf(covered)));
    const block = hexOf(covered) + u32Hex(crc) + '00'.repeat(blockBytes - covered.length - 4);
    expect(hexOf(target.subarray(blockBytes, 2 * blockBytes))).toBe(block);
    expect(target[blockBytes - 1]).toBe(0xee);
    expect(target[2 * blockBytes]).toBe(0xee);
    expect([unitFirstFrame(target, blockBytes), unitFlags(target, blockBytes)]).toEqual([
      noFirstFrame,
      3,
    ]);
  });

  test.each([
    [1, 1],
    [2, 1],
    [4071, 1],
    [4072, 1],
    [4073, 2],
    [8168, 2],
    [8169, 3],
    [65_512, 16],
  ])('of %i bytes takes %i blocks and opens', (plainBytes, blocks) => {
    const target = sealed(4, plainBytes);

    expect(unitBlocks(plainBytes)).toBe(blocks);
    expect(claimedBlocks(target, blockBytes)).toBe(blocks);
    expect(new UnitSealer(salt).open(target, blockBytes, 4)).toBe(plainBytes);
    expect(target[blockBytes + blocks * blockBytes]).toBe(0xee);
  });

  test('holds at most 65,512 bytes', () => {
    expect([1, 2, unitBlocksMax].map(unitPlainBytesMax)).toEqual([4072, 8168, 65_512]);
    const target = sealed(4, unitPlainBytesMax(unitBlocksMax));
    const longer = new Uint8Array(target.length + blockBytes);
    longer.set(target);
    for (const claim of ['e9ff', 'ffff']) {
      longer.set(bytesOf(claim), blockBytes);
      expect(new UnitSealer(salt).open(longer, blockBytes, 4)).toBe(0);
    }
  });

  test('of another place or another file does not open', () => {
    const target = sealed(4, 100);
    expect(new UnitSealer(salt).open(target, blockBytes, 5)).toBe(0);
    expect(new UnitSealer(new Uint8Array(16)).open(target, blockBytes, 4)).toBe(0);
  });

  test('that was never written does not open', () => {
    expect(new UnitSealer(salt).open(new Uint8Array(blockBytes), 0, 0)).toBe(0);
    expect(new UnitSealer(salt).open(new Uint8Array(blockBytes).fill(0xff), 0, 0)).toBe(0);
  });

  test('that is torn at any sector does not open', () => {
    for (const blocks of [1, 3])
      for (let torn = 512; torn < blocks * blockBytes; torn += 512) {
        const target = sealed(4, unitPlainBytesMax(blocks));
        target.fill(0, blockBytes + torn, (1 + blocks) * blockBytes);
        expect(new UnitSealer(salt).open(target, blockBytes, 4)).toBe(0);
      }
  });

  test('of which a block in the middle is missing does not open', () => {
    const target = sealed(4, unitPlainBytesMax(3));
    target.fill(0, 2 * blockBytes, 3 * blockBytes);
    expect(new UnitSealer(salt).open(target, blockBytes, 4)).toBe(0);
  });

  test('of which bytes are missing at the end of a file does not open', () => {
    const block = sealed(4, 100).slice(blockBytes, 2 * blockBytes);
    for (const length of [0, 1, 2, 8, 50, 111, 112, 4095]) {
      expect(new UnitSealer(salt).open(block.slice(0, length), 0, 4), `${length} bytes`).toBe(0);
    }
    const large = sealed(4, unitPlainBytesMax(2)).slice(blockBytes, 3 * blockBytes);
    for (const length of [4096, 8191])
      expect(new UnitSealer(salt).open(large.slice(0, length), 0, 4), `${length} bytes`).toBe(0);
  });

  test('with any single bit of header, plaintext or CRC changed does not open', () => {
    const sealer = new UnitSealer(salt);
    const target = sealed(4, 50);
    for (let bit = 0; bit < (8 + 50 + 4) * 8; bit++) {
      const at = blockBytes + (bit >> 3);
      target[at] = (target[at] ?? 0) ^ (1 << (bit & 7));
      expect(sealer.open(target, blockBytes, 4), `bit ${bit}`).toBe(0);
      target[at] = (target[at] ?? 0) ^ (1 << (bit & 7));
    }
  });

  test('that is damaged never opens with other bytes', () => {
    const prng = createPrng(2);
    const sealer = new UnitSealer(salt);
    const whole = sealed(4, 200).slice(blockBytes, 2 * blockBytes);
    for (let round = 0; round < 300; round++) {
      const bytes = mutate(prng, whole.subarray(0, nextBelow(prng, blockBytes + 1)));
      if (sealer.open(bytes, 0, 4) > 0)
        expect(hexOf(bytes.subarray(0, 212))).toBe(hexOf(whole.subarray(0, 212)));
    }
  });
});

test('file names of segments sort by sequence and are told from other names', () => {
  expect(segmentFileName(42)).toBe('segment-0000000000000042.log');
  expect(segmentSeqOfFileName('segment-0000000000000042.log')).toBe(42);
  for (const name of [
    'segment-42.log',
    'segment-0000000000000042.idx',
    'durability.log',
    'segment-00000000000000x2.log',
  ]) {
    expect(segmentSeqOfFileName(name)).toBeUndefined();
  }
  expect([0, 1, 9].map(blockOffset)).toEqual([4096, 8192, 40960]);
});
