/** Bytes written down by hand, and the damage that decoders are shown. */
import { nextBelow, nextUint32, type PrngState } from '../../src/base/prng.ts';
import { isClustorError } from '../../src/base/errors.ts';
import type { ErrorCode } from '../../src/base/error-codes.ts';

/** Bytes of hex digits; spaces and line ends are only for the eye. */
export function bytesOf(...parts: readonly string[]): Uint8Array {
  const digits = parts.join('').replaceAll(/\s/g, '');
  return Uint8Array.from({ length: digits.length / 2 }, (_, at) =>
    Number.parseInt(digits.slice(at * 2, at * 2 + 2), 16),
  );
}

/** Hex digits of bytes. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (value) => value.toString(16).padStart(2, '0')).join('');
}

/** A u64 as it stands in the bytes. */
export function u64Hex(value: number): string {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true);
  return hexOf(bytes);
}

/** A u32 as it stands in the bytes. */
export function u32Hex(value: number): string {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return hexOf(bytes);
}

/** The code of the catalogued error that `decode` throws, or `undefined`; any other exception is passed on. */
export function refusalOf(decode: () => unknown): ErrorCode | undefined {
  try {
    decode();
    return undefined;
  } catch (error) {
    if (isClustorError(error)) return error.code;
    throw error;
  }
}

/** A damaged copy: bits flipped, bytes overwritten, cut, doubled or inserted. */
export function mutate(prng: PrngState, bytes: Uint8Array): Uint8Array {
  const damaged = Array.from(bytes);
  const mishaps = 1 + nextBelow(prng, 3);
  for (let mishap = 0; mishap < mishaps; mishap++) {
    const at = nextBelow(prng, Math.max(1, damaged.length));
    switch (nextBelow(prng, 6)) {
      case 0:
        damaged[at] = (damaged[at] ?? 0) ^ (1 << nextBelow(prng, 8));
        break;
      case 1:
        damaged[at] = nextBelow(prng, 256);
        break;
      case 2:
        damaged.length = at;
        break;
      case 3:
        damaged.splice(at, 0, ...damaged.slice(at, at + 1 + nextBelow(prng, 16)));
        break;
      case 4:
        damaged.splice(at, nextBelow(prng, 8));
        break;
      default:
        for (let byte = 0; byte < 4; byte++)
          damaged[at + byte] = nextBelow(prng, 3) === 0 ? 0xff : nextUint32(prng) & 0xff;
    }
  }
  return Uint8Array.from(damaged, (value) => value ?? 0);
}
