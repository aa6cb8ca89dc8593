import { afterEach, describe, expect, test, vi } from 'vitest';

type Blake3 = typeof import('../../src/security/blake3.ts');

/** Bytes 0 to 250 over and over, as the published vectors have them. */
const input = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, position) => position % 251);

/** Lengths around a block, a chunk and the border between the implementations, with the published hashes. */
const published = [
  [0, 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'],
  [1, '2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213'],
  [1023, '10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11'],
  [1024, '42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7'],
  [1025, 'd00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444'],
  [2048, 'e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a'],
  [2047, '58830fbf51a4423c573b164471690570e544cfe793bead46225664796b4b1467'],
  [31744, '62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47'],
] as const;

async function anew(): Promise<Blake3> {
  vi.resetModules();
  return import('../../src/security/blake3.ts');
}

afterEach(() => {
  vi.doUnmock('@napi-rs/blake-hash');
});

test('is not used before it is loaded', async () => {
  const { blake3 } = await anew();

  expect(() => blake3(input(1))).toThrow('BLAKE3 is loaded before it is used');
});

describe.each([true, false])('with a native implementation: %s', (isNative) => {
  async function loaded(): Promise<Blake3['blake3']> {
    if (!isNative)
      vi.doMock('@napi-rs/blake-hash', () => {
        throw new Error('not installed');
      });
    const { blake3, loadBlake3 } = await anew();
    expect(await Promise.all([loadBlake3(), loadBlake3()])).toEqual([isNative, isNative]);
    return blake3;
  }

  test.each(published)('%d bytes have the published hash', async (length, hash) => {
    const blake3 = await loaded();

    expect(Buffer.from(blake3(input(length))).toString('hex')).toBe(hash);
  });

  test('a part of a larger array is hashed alone, and a hash stays as it is', async () => {
    const blake3 = await loaded();
    for (const length of [100, 5000]) {
      const whole = new Uint8Array(length + 20).fill(9);
      whole.set(input(length), 7);
      const first = blake3(whole.subarray(7, 7 + length));
      const copy = first.slice();

      expect(first).toHaveLength(32);
      expect(blake3(input(length))).toEqual(copy);
      blake3(whole);
      expect(first).toEqual(copy);
    }
  });
});
