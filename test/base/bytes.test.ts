import { describe, expect, test } from 'vitest';

import { ByteReader, ByteWriter, utf8Decode, utf8Encode, writeU64 } from '../../src/base/bytes.ts';
import { isClustorError } from '../../src/base/errors.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';

const code = (action: () => unknown): string | undefined => {
  try {
    action();
    return undefined;
  } catch (error) {
    return isClustorError(error) ? error.code : `not catalogued: ${String(error)}`;
  }
};

describe('a writer and a reader', () => {
  test('agree on every type, little-endian', () => {
    const writer = new ByteWriter(1);
    writer.u8(0xab);
    writer.u16(0x1234);
    writer.u32(0xdeadbeef);
    writer.u64(Number.MAX_SAFE_INTEGER);
    writer.bool(true);
    writer.uuid('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
    writer.lengthPrefixed(Uint8Array.of(1, 2));
    writer.text('ü€𝄞');
    writer.zeros(2);
    writer.raw(Uint8Array.of(7));
    const bytes = writer.take();
    expect([...bytes.subarray(0, 15)]).toEqual([
      0xab, 0x34, 0x12, 0xef, 0xbe, 0xad, 0xde, 255, 255, 255, 255, 255, 255, 0x1f, 0,
    ]);

    const reader = new ByteReader(bytes);
    expect([reader.u8(), reader.u16(), reader.u32(), reader.u64(), reader.bool()]).toEqual([
      0xab,
      0x1234,
      0xdeadbeef,
      Number.MAX_SAFE_INTEGER,
      true,
    ]);
    expect(reader.uuid()).toBe('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
    expect([...reader.lengthPrefixed(2)]).toEqual([1, 2]);
    expect(reader.text(100)).toBe('ü€𝄞');
    expect([reader.remaining, reader.offset]).toEqual([3, bytes.length - 3]);
    expect([...reader.rest()]).toEqual([0, 0, 7]);
    expect(reader.remaining).toBe(0);
  });

  test('read a section for itself, and go on behind it', () => {
    const reader = new ByteReader(Uint8Array.of(1, 2, 3, 4, 5));
    const section = reader.section(3);
    expect(section.u16()).toBe(0x0201);
    expect(section.remaining).toBe(1);
    expect(code(() => section.u16())).toBe('CLUSTOR_WIRE_BODY_TOO_SHORT');
    expect(reader.u16()).toBe(0x0504);
    expect(code(() => reader.section(1))).toBe('CLUSTOR_WIRE_BODY_TOO_SHORT');
  });

  test('agree on texts with other characters anywhere among ASCII ones', () => {
    const reference = new TextEncoder();
    for (let length = 0; length < 20; length++) {
      for (let place = -1; place < length; place++) {
        const text = Array.from({ length }, (_, at) => (at === place ? 'é' : 'a')).join('');
        const writer = new ByteWriter(1);
        writer.u8(7);
        writer.text(text);
        writer.u8(8);
        const bytes = writer.take();
        const encoded = reference.encode(text);

        expect([...bytes]).toEqual([7, encoded.length, 0, 0, 0, ...encoded, 8]);
        expect([...utf8Encode(text)]).toEqual([...encoded]);
        const reader = new ByteReader(bytes, 1);
        expect(reader.text(100)).toBe(text);
        expect(reader.u8()).toBe(8);
      }
    }
  });

  test('stay inside the part of a buffer that they were given', () => {
    const whole = Uint8Array.of(9, 9, 1, 2, 3, 4, 9, 9);
    const part = whole.subarray(2, 6);
    expect(new ByteReader(part).u32()).toBe(0x04030201);
    const reader = new ByteReader(whole, 2, 4);
    expect(reader.u16()).toBe(0x0201);
    expect(code(() => reader.u8())).toBe('CLUSTOR_WIRE_BODY_TOO_SHORT');
  });
});

describe('a reader', () => {
  test('never looks past its end', () => {
    const reads: readonly ((reader: ByteReader) => unknown)[] = [
      (reader) => reader.u8(),
      (reader) => reader.u16(),
      (reader) => reader.u32(),
      (reader) => reader.u64(),
      (reader) => reader.bool(),
      (reader) => reader.uuid(),
      (reader) => reader.take(1),
      (reader) => reader.lengthPrefixed(10),
      (reader) => reader.text(10),
    ];
    for (const read of reads)
      expect(code(() => read(new ByteReader(new Uint8Array(0))))).toBe(
        'CLUSTOR_WIRE_BODY_TOO_SHORT',
      );
    expect(code(() => new ByteReader(Uint8Array.of(2, 0, 0, 0, 1)).lengthPrefixed(10))).toBe(
      'CLUSTOR_WIRE_BODY_TOO_SHORT',
    );
    expect(code(() => new ByteReader(Uint8Array.of(255, 255, 255, 255)).lengthPrefixed(10))).toBe(
      'CLUSTOR_WIRE_BODY_TOO_LARGE',
    );
  });

  test('refuses integers that it would have to round', () => {
    const bytes = new Uint8Array(8);
    writeU64(new DataView(bytes.buffer), 0, Number.MAX_SAFE_INTEGER);
    expect(new ByteReader(bytes).u64()).toBe(Number.MAX_SAFE_INTEGER);
    bytes[6] = 0x20;
    expect(code(() => new ByteReader(bytes).u64())).toBe('CLUSTOR_WIRE_BAD_VALUE');
  });

  test('takes only 0 and 1 for a boolean', () => {
    expect(new ByteReader(Uint8Array.of(0)).bool()).toBe(false);
    for (const value of [2, 128, 255])
      expect(code(() => new ByteReader(Uint8Array.of(value)).bool())).toBe(
        'CLUSTOR_WIRE_BAD_VALUE',
      );
  });
});

describe('a writer', () => {
  test('starts anew after what it wrote was taken', () => {
    const writer = new ByteWriter(2);
    writer.u32(1);
    const first = writer.take();
    writer.u8(2);
    expect([...first]).toEqual([1, 0, 0, 0]);
    expect([...writer.take()]).toEqual([2]);
    writer.u8(3);
    writer.reset();
    expect(writer.length).toBe(0);
  });

  test('patches, sums and copies what it wrote', () => {
    const writer = new ByteWriter();
    writer.raw(utf8Encode('xx123456789'));
    expect(writer.crc(2, 11)).toBe(0xe3069283);
    writer.patchU16(0, 0x0102);
    writer.patchU32(2, 0x03040506);
    const target = new Uint8Array(12);
    writer.copyTo(target, 1);
    expect([...target.subarray(0, 8)]).toEqual([0, 2, 1, 6, 5, 4, 3, 0x35]);
  });

  test('leaves no old bytes in zeros', () => {
    const writer = new ByteWriter(8);
    writer.raw(new Uint8Array(8).fill(255));
    writer.reset();
    writer.zeros(8);
    expect([...writer.take()]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

describe('UTF-8', () => {
  test('agrees with the platform, for random strings and bytes', () => {
    const prng = createPrng(2);
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    const encoder = new TextEncoder();
    for (let round = 0; round < 4000; round++) {
      const length = nextBelow(prng, 8);
      const points = Array.from(
        { length },
        () =>
          [0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff, 0x41, 0xfeff][
            nextBelow(prng, 11)
          ] ?? 0,
      );
      const text = String.fromCodePoint(...points);
      expect(utf8Encode(text)).toEqual(encoder.encode(text));
      expect(utf8Decode(utf8Encode(text))).toBe(text);

      const bytes = Uint8Array.from(
        { length },
        () =>
          [0x41, 0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xa0, 0xed, 0xef, 0xf0, 0x90, 0xf4, 0x8f, 0xf5][
            nextBelow(prng, 14)
          ] ?? 0,
      );
      let platform: string | undefined;
      try {
        platform = decoder.decode(bytes);
      } catch {
        platform = undefined;
      }
      if (platform === undefined)
        expect(
          code(() => utf8Decode(bytes)),
          bytes.toString(),
        ).toBe('CLUSTOR_WIRE_BAD_VALUE');
      else expect(utf8Decode(bytes)).toBe(platform);
    }
  });

  test('writes a lone surrogate as U+FFFD', () => {
    expect(utf8Decode(utf8Encode('a\ud800b\udc00'))).toBe('a\ufffdb\ufffd');
  });
});

test('copies that are soon gone lie side by side, also where their memory is full or they are large', () => {
  const taken = Array.from({ length: 40 }, (_, at) => {
    const writer = new ByteWriter();
    for (let count = 0; count < 500 + (at % 3) * 1_000; count++) writer.u8(at);
    return writer.takeShortLived();
  });
  for (const [at, copy] of taken.entries()) {
    expect(copy.length).toBe(500 + (at % 3) * 1_000);
    expect(copy.every((byte) => byte === at)).toBe(true);
  }
  expect(new Set(taken.map((copy) => copy.buffer)).size).toBeLessThan(taken.length);
});
