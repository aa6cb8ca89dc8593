/** Sealed blocks of encrypted segments (specification §8.2, KER-7); the vectors were computed with another library (see below). */
import { describe, expect, test } from 'vitest';

import { EncryptedUnitSealer, segmentKey } from '../../src/codec/encrypted-unit.ts';
import {
  blockBytes,
  unitHeaderBytes,
  unitBlocks,
  unitBlocksMax,
  unitPlainBytesMax,
  flagFirstOfFlush,
  flagLastOfFlush,
  segmentHeaderMac,
  segmentHeaderMacInput,
  writeSegmentHeader,
  type SegmentHeader,
} from '../../src/codec/segment-format.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { bytesOf, hexOf } from './bytes-of.ts';
import { messageSamples } from './message-samples.ts';

const header: SegmentHeader = {
  clusterId: messageSamples.hello.clusterId,
  nodeId: messageSamples.hello.nodeId,
  segmentSeq: 7,
  isEncrypted: true,
  dekEpoch: 3,
  integrityMacEpoch: 3,
  salt: bytesOf('000102030405060708090a0b0c0d0e0f'),
  createdMs: 1_700_000_000_000,
};
const dataKey = new Uint8Array(32).fill(0x11);
const macKey = new Uint8Array(32).fill(0x22);

function sealer(changed: Partial<SegmentHeader> = {}, key = dataKey): EncryptedUnitSealer {
  const derived = segmentKey(nodeCryptography, key, { ...header, ...changed });
  return new EncryptedUnitSealer(nodeCryptography.blockCipher(derived), { ...header, ...changed });
}

/** One sealed unit of `plainBytes` letters `a`. */
function sealed(number: number, plainBytes: number): Uint8Array {
  const target = new Uint8Array(unitBlocks(plainBytes) * blockBytes).fill(0xee);
  target.fill(0x61, unitHeaderBytes, unitHeaderBytes + plainBytes);
  sealer().seal(target, 0, {
    number,
    plainBytes,
    firstFrame: 0,
    flags: flagFirstOfFlush | flagLastOfFlush,
  });
  return target;
}

/** Whether nothing but zeros stands where the plaintext would. */
function isZeroed(block: Uint8Array, plainBytes: number): boolean {
  return block
    .subarray(unitHeaderBytes, unitHeaderBytes + plainBytes)
    .every((value) => value === 0);
}

describe('golden vectors', () => {
  test('of the key of a segment', () => {
    expect(hexOf(segmentKey(nodeCryptography, dataKey, header))).toBe(
      '44ecfbbd8557f78791dbfb1360792e41be450168fee5d99fb5ea746bd89a7166',
    );
  });

  test('of a sealed unit', () => {
    expect(hexOf(sealed(9, 5).subarray(0, 32))).toBe(
      '0500000003000000b8d06bfa68712ab8d9ee1856b6c77958fd84580065000000',
    );
    expect(
      sealed(9, 5)
        .subarray(29)
        .every((value) => value === 0),
    ).toBe(true);
  });

  test('of the HMAC of a segment header', () => {
    const block = new Uint8Array(blockBytes);
    writeSegmentHeader(block, header);
    const mac = nodeCryptography.hmacSha256(macKey, segmentHeaderMacInput(block));
    segmentHeaderMac(block).set(mac);

    expect(hexOf(block.subarray(80, 112))).toBe(
      '4125f040709ece49a67f5cae0cd8bd6a7c9a04a5b134c1b364f0726d89a2003e',
    );
    expect(block[9]).toBe(1);
  });
});

describe('an encrypted unit', () => {
  test.each([1, 2, 4071, 4072, 4073, 20_000, unitPlainBytesMax(unitBlocksMax)])(
    'of %i bytes opens in place',
    (plainBytes) => {
      const block = sealed(4, plainBytes);

      expect(sealer().open(block, 0, 4)).toBe(plainBytes);
      const plain = block.subarray(unitHeaderBytes, unitHeaderBytes + plainBytes);
      expect(plain.every((value) => value === 0x61)).toBe(true);
    },
  );

  test('is the same whether its number, another one or none was expected', () => {
    const block = { plainBytes: 50, firstFrame: 0, flags: flagFirstOfFlush | flagLastOfFlush };
    const blocks = [4, 5, 6, 7, 8];
    const expecting = sealer();
    const plain = (): Uint8Array =>
      new Uint8Array(blockBytes).fill(0x61, unitHeaderBytes, unitHeaderBytes + 50);

    const got = blocks.map((number) => {
      const target = plain();
      if (number === 5 || number === 6) expecting.prepare(number);
      if (number === 7) expecting.prepare(9);
      expecting.seal(target, 0, { ...block, number });
      return hexOf(target);
    });

    const wanted = blocks.map((number) => {
      const target = plain();
      sealer().seal(target, 0, { ...block, number });
      return hexOf(target);
    });
    expect(got).toEqual(wanted);
  });

  test.each([
    ['another number', () => sealer().open(sealed(4, 50), 0, 5)],
    ['another segment', () => sealer({ segmentSeq: 8 }).open(sealed(4, 50), 0, 4)],
    ['another epoch', () => sealer({ dekEpoch: 4 }).open(sealed(4, 50), 0, 4)],
    ['another salt', () => sealer({ salt: new Uint8Array(16) }).open(sealed(4, 50), 0, 4)],
    ['another data key', () => sealer({}, macKey).open(sealed(4, 50), 0, 4)],
  ])('does not open as one of %s', (_name, open) => {
    expect(open()).toBe(0);
  });

  test('with any bit of header, text or tag flipped does not open, and leaves zeros (KER-7)', () => {
    const plainBytes = 300;
    for (let bit = 0; bit < (unitHeaderBytes + plainBytes + 16) * 8; bit += 3) {
      const block = sealed(4, plainBytes);
      block[bit >> 3] = (block[bit >> 3] ?? 0) ^ (1 << (bit & 7));

      expect(sealer().open(block, 0, 4), `bit ${bit}`).toBe(0);
      if (bit >= 16) expect(isZeroed(block, plainBytes), `bit ${bit}`).toBe(true);
    }
  });

  test('that was never written does not open', () => {
    expect(sealer().open(new Uint8Array(blockBytes), 0, 0)).toBe(0);
    expect(sealer().open(new Uint8Array(blockBytes).fill(0xff), 0, 0)).toBe(0);
    expect(sealer().open(sealed(4, 50).subarray(0, 100), 0, 4)).toBe(0);
  });

  test('that is torn at any sector does not open', () => {
    for (const blocks of [1, 3])
      for (let torn = 512; torn < blocks * blockBytes; torn += 512) {
        const unit = sealed(4, unitPlainBytesMax(blocks));
        unit.fill(0, torn);
        expect(sealer().open(unit, 0, 4)).toBe(0);
        expect(isZeroed(unit, unitPlainBytesMax(blocks))).toBe(true);
      }
  });
});
