import { describe, expect, test } from 'vitest';

import { createPrng, nextBelow } from '../../src/base/prng.ts';
import { FrameAssembler } from '../../src/codec/frame-assembler.ts';
import { bytesOf, hexOf, refusalOf, u32Hex } from './bytes-of.ts';

/** A frame whose body is `length` bytes of one value. */
const frame = (length: number, value: number): string =>
  u32Hex(length) + value.toString(16).padStart(2, '0').repeat(length);

function bodiesOf(assembler: FrameAssembler, chunks: readonly Uint8Array[]): string[] {
  const bodies: string[] = [];
  for (const chunk of chunks) assembler.push(chunk, (body) => bodies.push(hexOf(body)));
  return bodies;
}

describe('a frame assembler', () => {
  test('hands on bodies in order, wherever the stream is cut', () => {
    const prng = createPrng(5);
    for (let round = 0; round < 300; round++) {
      const lengths = Array.from({ length: 1 + nextBelow(prng, 6) }, () => 4 + nextBelow(prng, 40));
      const stream = bytesOf(...lengths.map((length, at) => frame(length, at)));
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < stream.length;) {
        const next = Math.min(stream.length, at + nextBelow(prng, 12));
        chunks.push(stream.subarray(at, next));
        at = next;
      }
      const expected = lengths.map((length, at) => frame(length, at).slice(8));
      expect(bodiesOf(new FrameAssembler(64), chunks)).toEqual(expected);
    }
  });

  test('takes a large frame that comes byte by byte without going through it again and again', () => {
    const body = 256 * 1024;
    const stream = bytesOf(u32Hex(body), 'ab'.repeat(body));
    const assembler = new FrameAssembler(body);
    const before = process.memoryUsage().arrayBuffers;
    let held = 0;
    const bodies: Uint8Array[] = [];
    for (let at = 0; at < stream.length; at++) {
      assembler.push(stream.subarray(at, at + 1), (whole) => bodies.push(whole));
      if (at % 1024 === 0) held = Math.max(held, process.memoryUsage().arrayBuffers - before);
    }

    expect(bodies.map(({ length }) => length)).toEqual([body]);
    // The square of the length would be 32 GiB, passed through piece by piece.
    expect(held).toBeLessThan(8 * body);
  });

  test('hands on a body that lies whole in a chunk without a copy', () => {
    const chunk = bytesOf(frame(8, 1), frame(5, 2));
    const assembler = new FrameAssembler(64);
    assembler.push(chunk, (body) => expect(body.buffer).toBe(chunk.buffer));
  });

  test('refuses a length above the maximum as soon as the prefix is there', () => {
    for (const length of [65, 0x7fff_ffff, 0xffff_ffff]) {
      const assembler = new FrameAssembler(64);
      expect(refusalOf(() => bodiesOf(assembler, [bytesOf(u32Hex(length))]))).toBe(
        'CLUSTOR_WIRE_BODY_TOO_LARGE',
      );
    }
    const split = new FrameAssembler(64);
    const prefix = bytesOf(u32Hex(65));
    const chunks = [prefix.subarray(0, 1), prefix.subarray(1, 3), prefix.subarray(3)];
    expect(refusalOf(() => bodiesOf(split, chunks))).toBe('CLUSTOR_WIRE_BODY_TOO_LARGE');
  });

  test.each([0, 1, 3])('refuses a body of %i bytes, which has no header', (length) => {
    const assembler = new FrameAssembler(64);
    expect(refusalOf(() => bodiesOf(assembler, [bytesOf(frame(length, 0))]))).toBe(
      'CLUSTOR_WIRE_BODY_TOO_SHORT',
    );
  });

  test('holds later frames to a limit that was agreed meanwhile', () => {
    const assembler = new FrameAssembler(64);
    expect(bodiesOf(assembler, [bytesOf(frame(60, 1))])).toHaveLength(1);
    assembler.limit(16);
    expect(bodiesOf(assembler, [bytesOf(frame(16, 1))])).toHaveLength(1);
    expect(refusalOf(() => bodiesOf(assembler, [bytesOf(frame(17, 1))]))).toBe(
      'CLUSTOR_WIRE_BODY_TOO_LARGE',
    );
  });

  test('takes a large frame in small chunks in time that grows with its bytes', () => {
    const length = 1_000_000;
    const stream = new Uint8Array(4 + length);
    new DataView(stream.buffer).setUint32(0, length, true);
    const assembler = new FrameAssembler(length);
    let bodies = 0;
    for (let at = 0; at < stream.length; at += 50) {
      assembler.push(stream.subarray(at, at + 50), (body) => {
        bodies++;
        expect(body.length).toBe(length);
      });
    }
    expect(bodies).toBe(1);
  });

  test('meets streams of chance with catalogued errors only', () => {
    const prng = createPrng(9);
    for (let round = 0; round < 2000; round++) {
      const assembler = new FrameAssembler(64);
      const chunks = Array.from({ length: 4 }, () =>
        Uint8Array.from({ length: nextBelow(prng, 12) }, () =>
          nextBelow(prng, 3) === 0 ? nextBelow(prng, 256) : 0,
        ),
      );
      expect([undefined, 'CLUSTOR_WIRE_BODY_TOO_LARGE', 'CLUSTOR_WIRE_BODY_TOO_SHORT']).toContain(
        refusalOf(() => bodiesOf(assembler, chunks)),
      );
    }
  });
});
