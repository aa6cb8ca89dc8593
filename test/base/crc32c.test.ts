import { describe, expect, test } from 'vitest';

import { InvariantError } from '../../src/base/assert.ts';
import { crc32c, installNativeCrc32c } from '../../src/base/crc32c.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';

describe('CRC-32C', () => {
  const digits = Uint8Array.from('123456789', (digit) => digit.charCodeAt(0));

  test('of the standard vector is e3069283', () => {
    expect(crc32c(digits)).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(0))).toBe(0);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  });

  test('agrees with bit by bit, at every alignment and length', () => {
    const prng = createPrng(1);
    const bytes = Uint8Array.from({ length: 80 }, () => nextBelow(prng, 256));
    for (let start = 0; start < 10; start++) {
      for (let end = start; end <= bytes.length; end++)
        expect(crc32c(bytes, start, end)).toBe(slowCrc32c(bytes.subarray(start, end)));
    }
  });

  test('goes on from where it stopped', () => {
    for (let cut = 0; cut <= 9; cut++)
      expect(crc32c(digits, cut, 9, crc32c(digits, 0, cut))).toBe(0xe3069283);
  });

  test('refuses a native function that computes something else, and uses one that is right', () => {
    expect(() => installNativeCrc32c(() => 0)).toThrow(InvariantError);
    expect(() => installNativeCrc32c((bytes) => crc32c(bytes))).toThrow(InvariantError);
    let calls = 0;
    installNativeCrc32c((bytes, crc) => {
      calls++;
      return slowCrc32c(bytes, crc);
    });
    const before = calls;
    expect(crc32c(new Uint8Array(2000))).toBe(slowCrc32c(new Uint8Array(2000)));
    expect(crc32c(digits)).toBe(0xe3069283);
    expect(calls).toBe(before + 1);
  });
});

/** CRC-32C a bit at a time. */
function slowCrc32c(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (const value of bytes) {
    crc ^= value;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
