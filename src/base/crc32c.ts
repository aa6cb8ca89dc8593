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

const nativeBytesMin = 1024;
const polynomialReversed = 0x82f63b78;
const tables: readonly Uint32Array[] = buildTables();
let native: Crc32cFunction | undefined;

function buildTables(): Uint32Array[] {
  const built = Array.from({ length: 8 }, () => new Uint32Array(256));
  const first = built[0] ?? new Uint32Array(256);
  for (let value = 0; value < 256; value++) {
    let crc = value;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomialReversed : crc >>> 1;
    first[value] = crc >>> 0;
  }
  for (let slice = 1; slice < 8; slice++) {
    const table = built[slice] ?? first;
    const previous = built[slice - 1] ?? first;
    for (let value = 0; value < 256; value++) {
      const crc = previous[value] ?? 0;
      table[value] = ((crc >>> 8) ^ (first[crc & 0xff] ?? 0)) >>> 0;
    }
  }
  return built;
}

const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
  Uint32Array,
];

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

/* oxlint-disable typescript/no-non-null-assertion -- every table has 256 rows and every subscript is masked to 8 bits; a fallback would cost a branch per byte on the hot path */
function crc32cPortable(bytes: Uint8Array, start: number, end: number, seed: number): number {
  let crc = ~seed;
  let at = start;
  const sliced = end - 7;
  while (at < sliced) {
    const low =
      crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      t7[low & 0xff]! ^
      t6[(low >>> 8) & 0xff]! ^
      t5[(low >>> 16) & 0xff]! ^
      t4[low >>> 24]! ^
      t3[bytes[at + 4]!]! ^
      t2[bytes[at + 5]!]! ^
      t1[bytes[at + 6]!]! ^
      t0[bytes[at + 7]!]!;
    at += 8;
  }
  while (at < end) {
    crc = (crc >>> 8) ^ t0[(crc ^ bytes[at]!) & 0xff]!;
    at++;
  }
  return ~crc >>> 0;
}
/* oxlint-enable typescript/no-non-null-assertion */
