/** Segment trailers: the published MAC, lanes against a plain definition, and what is refused (specification §4.1). */
import { describe, expect, test } from 'vitest';

import { crc32c } from '../../src/base/crc32c.ts';
import { createPrng, nextBelow, nextUint32 } from '../../src/base/prng.ts';
import {
  LaneCrcs,
  segmentMacInput,
  segmentTrailerBytes,
  segmentTrailerFault,
  writeSegmentTrailer,
  type SegmentTrailerFields,
} from '../../src/codec/segment-trailer.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { bytesOf } from './bytes-of.ts';

const hashes = nodeCryptography;
const key = Uint8Array.from({ length: 32 }, (_, at) => at);
const mac = (input: Uint8Array): Uint8Array => hashes.hmacSha256(key, input);

/** A number as it is written: digits of a hex string, little-endian. */
function littleEndian(hex: string): Uint8Array {
  return bytesOf(hex).reverse();
}

const published: SegmentTrailerFields = {
  segmentSeq: 7,
  firstIndex: 42,
  lastIndex: 121,
  entryCount: 17,
  entries: littleEndian('1032547698badcfe67452301efcdab89'),
  offsets: littleEndian('0123456789abcdeffedcba9876543210'),
};

function trailer(withMac = true): Uint8Array {
  const block = new Uint8Array(4096).fill(0xee);
  writeSegmentTrailer(block, published, withMac ? mac : undefined);
  return block;
}

function lanes(bytes: Uint8Array, piece = bytes.length): string {
  const crcs = new LaneCrcs();
  for (let at = 0; at < bytes.length; at += piece)
    crcs.add(bytes, at, Math.min(bytes.length, at + piece));
  return Buffer.from(crcs.finish()).toString('hex');
}

/** The definition, word by word. */
function plainLanes(bytes: Uint8Array): string {
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  const crcs = [0, 0, 0, 0];
  for (let word = 0; word * 4 < padded.length; word++)
    crcs[word % 4] = crc32c(padded, word * 4, word * 4 + 4, crcs[word % 4]);
  const packed = Buffer.alloc(16);
  crcs.forEach((crc, lane) => packed.writeUInt32LE(crc >>> 0, lane * 4));
  return packed.toString('hex');
}

describe('the MAC of a trailer', () => {
  test('is the published one', () => {
    expect(segmentMacInput(published)).toHaveLength(74);
    expect(Buffer.from(mac(segmentMacInput(published))).toString('hex')).toBe(
      '5c50cc7f43ef3c0127db59a3a8394ed16782e7997b53093c35bff32f8644b8f0',
    );
    expect(Buffer.from(trailer().subarray(62, segmentTrailerBytes)).toString('hex')).toMatch(
      /^5c50cc7f/,
    );
  });

  test('does not cover version and suite, which are looked at before it', () => {
    expect(segmentTrailerFault(trailer(), published, mac)).toBeUndefined();
    const version = trailer();
    version[0] = 2;
    expect(segmentTrailerFault(version, published, mac)).toContain('unknown version 2');
    const suite = trailer();
    suite[1] = 2;
    expect(segmentTrailerFault(suite, published, mac)).toContain('MAC suite 2');
  });

  test('cannot be got rid of by saying that there is none', () => {
    const without = trailer(false);
    expect(segmentTrailerFault(without, published, 'none')).toBeUndefined();
    expect(segmentTrailerFault(without, published, mac)).toContain('MAC suite 0');
    expect(segmentTrailerFault(without, published, 'unchecked')).toContain('MAC suite 0');
    expect(segmentTrailerFault(trailer(), published, 'none')).toContain('MAC suite 1');
  });

  test('fails under another key, and any changed byte of the block is found', () => {
    const other = (input: Uint8Array): Uint8Array => hashes.hmacSha256(key.subarray(1), input);
    expect(segmentTrailerFault(trailer(), published, other)).toContain('MAC');
    for (let at = 0; at < 128; at++) {
      const changed = trailer();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(segmentTrailerFault(changed, published, mac), `byte ${at}`).toBeDefined();
    }
    expect(segmentTrailerFault(new Uint8Array(0), published, mac)).toContain('cut short');
  });
});

describe('lanes', () => {
  test('have these values', () => {
    const counting = Uint8Array.from({ length: 64 }, (_, at) => at);
    expect(lanes(new Uint8Array(0))).toBe('00000000000000000000000000000000');
    expect(lanes(Buffer.from('123456789'))).toBe(plainLanes(Buffer.from('123456789')));
    expect(lanes(Buffer.from('123456789'))).toBe('eef43af60bcf0f102f27275d00000000');
    expect(lanes(counting)).toBe('5d8ffa66fd1b4b791da69959bd322846');
  });

  test('are those of the definition, however the stream is cut', () => {
    const random = createPrng(3);
    for (let round = 0; round < 60; round++) {
      const bytes = Uint8Array.from({ length: nextBelow(random, 70_000) }, () =>
        nextUint32(random),
      );
      expect(lanes(bytes, 1 + nextBelow(random, 40_000))).toBe(plainLanes(bytes));
    }
  });
});
