/**
 * CRC-32C (Castagnoli), slice-by-8, with a place for a native implementation.
 *
 * Short inputs stay in JavaScript, where the call itself would cost more than the work; from
 * {@link nativeBytesMin} on, an installed native function takes over. Both are checked against the standard vector
 * ("123456789" → e3069283) when a native one is installed, so a wrong binary is refused, never believed.
 */
import { InvariantError } from './assert.ts';

/** Continues `crc` over `bytes`; the signature of native implementations. */
export type Crc32cFunction = (bytes: Uint8Array, crc: number) => number;

const nativeBytesMin = 192;
const polynomialReversed = 0x82f63b78;
/** Eight tables of 256 rows, one behind the other: one base address serves all of them. */
const table: Int32Array = buildTable();
let native: Crc32cFunction | undefined;

function buildTable(): Int32Array {
  const built = new Int32Array(8 * 256);
  for (let value = 0; value < 256; value++) {
    let crc = value;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomialReversed : crc >>> 1;
    built[value] = crc;
  }
  for (let at = 256; at < built.length; at++) {
    const crc = built[at - 256] ?? 0;
    built[at] = (crc >>> 8) ^ (built[crc & 0xff] ?? 0);
  }
  return built;
}

/** Installs a native CRC-32C after checking it against the standard vector. */
export function installNativeCrc32c(candidate: Crc32cFunction): void {
  const digits = Uint8Array.from([0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39]);
  const split = candidate(digits.subarray(4), candidate(digits.subarray(0, 4), 0));
  if (candidate(digits, 0) >>> 0 !== 0xe3069283 || split >>> 0 !== 0xe3069283) {
    throw new InvariantError('the native CRC-32C does not compute CRC-32C');
  }
  native = candidate;
}

/** CRC-32C of `bytes[start, end)`, continuing from `crc` (0 to begin). */
export function crc32c(bytes: Uint8Array, start = 0, end: number = bytes.length, crc = 0): number {
  if (native !== undefined && end - start >= nativeBytesMin)
    return native(bytes.subarray(start, end), crc) >>> 0;
  return crc32cPortable(bytes, start, end, crc);
}

/* oxlint-disable typescript/no-non-null-assertion -- every subscript is one of 256 rows of one of eight tables; a fallback would cost a branch per byte on the hot path */
function crc32cPortable(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let crc = ~seed;
  let at = start;
  const sliced = end - 7;
  while (at < sliced) {
    const low =
      crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      table[1792 + (low & 0xff)]! ^
      table[1536 + ((low >>> 8) & 0xff)]! ^
      table[1280 + ((low >>> 16) & 0xff)]! ^
      table[1024 + (low >>> 24)]! ^
      table[768 + bytes[at + 4]!]! ^
      table[512 + bytes[at + 5]!]! ^
      table[256 + bytes[at + 6]!]! ^
      table[bytes[at + 7]!]!;
    at += 8;
  }
  while (at < end) {
    crc = (crc >>> 8) ^ table[(crc ^ bytes[at]!) & 0xff]!;
    at++;
  }
  return ~crc >>> 0;
}
/* oxlint-enable typescript/no-non-null-assertion */
