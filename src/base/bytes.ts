/**
 * Bounds-checked reading and writing of little-endian bytes.
 *
 * A reader never looks past its end: every overrun is the catalogued error `CLUSTOR_WIRE_BODY_TOO_SHORT`. 64-bit integers
 * are read as two u32 into a safe integer; larger values are refused (`CLUSTOR_WIRE_BAD_VALUE`), never rounded.
 */
import { crc32c } from './crc32c.ts';
import { ClustorError } from './errors.ts';
import { uuidFromBytes, uuidToBytes } from './ids.ts';

const two32 = 0x1_0000_0000;
const highWordMax = 0x1f_ffff;

const sharedBytes = 8 * 1024;
const sharedCopyBytesMax = 2 * 1024;
/** Memory of small copies: an `ArrayBuffer` for each of them would take longer than the copying. */
let shared = new Uint8Array(sharedBytes);
let sharedUsed = 0;

/** Reads fields one after the other. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  #offset: number;

  constructor(bytes: Uint8Array, start = 0, end: number = bytes.length) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#offset = start;
    this.#end = end;
  }

  /** Where the next field begins. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes that are left. */
  get remaining(): number {
    return this.#end - this.#offset;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): number {
    const at = this.#take(8);
    const high = this.#view.getUint32(at + 4, true);
    if (high > highWordMax)
      throw new ClustorError('CLUSTOR_WIRE_BAD_VALUE', 'a 64-bit integer exceeds 2^53 - 1');
    return high * two32 + this.#view.getUint32(at, true);
  }

  /** A boolean; anything but 0 and 1 is refused. */
  bool(): boolean {
    const value = this.u8();
    if (value > 1)
      throw new ClustorError('CLUSTOR_WIRE_BAD_VALUE', `a boolean is 0 or 1, got ${value}`);
    return value === 1;
  }

  /** A view of the next `length` bytes. */
  take(length: number): Uint8Array {
    const at = this.#take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** A view of everything that is left. */
  rest(): Uint8Array {
    return this.take(this.remaining);
  }

  /** u32 length and that many bytes, at most `lengthMax`. */
  lengthPrefixed(lengthMax: number): Uint8Array {
    return this.take(this.#lengthUpTo(lengthMax));
  }

  /** A length-prefixed UTF-8 string. */
  text(lengthMax: number): string {
    const length = this.#lengthUpTo(lengthMax);
    const at = this.#take(length);
    return utf8Decode(this.bytes, at, at + length);
  }

  /** A reader of the next `length` bytes, which are skipped here. */
  section(length: number): ByteReader {
    const at = this.#take(length);
    return new ByteReader(this.bytes, at, at + length);
  }

  /** The next `length` bytes as a {@link byteText}. */
  byteText(length: number): string {
    const at = this.#take(length);
    return byteText(this.bytes, at, at + length);
  }

  /** 16 bytes as canonical UUID text. */
  uuid(): string {
    return uuidFromBytes(this.bytes, this.#take(16));
  }

  #lengthUpTo(lengthMax: number): number {
    const length = this.u32();
    if (length > lengthMax)
      throw new ClustorError(
        'CLUSTOR_WIRE_BODY_TOO_LARGE',
        `a field of ${length} bytes exceeds its maximum of ${lengthMax}`,
      );
    return length;
  }

  #take(length: number): number {
    const at = this.#offset;
    if (at + length > this.#end) {
      throw new ClustorError(
        'CLUSTOR_WIRE_BODY_TOO_SHORT',
        `${length} bytes are needed at offset ${at}, ${this.#end - at} are left`,
      );
    }
    this.#offset = at + length;
    return at;
  }
}

/** Writes fields one after the other into a buffer that grows. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  constructor(capacityBytes = 256) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** Forgets what was written from `length` on. */
  cut(length: number): void {
    this.#length = Math.min(this.#length, length);
  }

  /** Forgets what was written. */
  reset(): void {
    this.#length = 0;
  }

  /** A copy of what was written; the writer starts anew. */
  take(): Uint8Array {
    const copy = this.#bytes.slice(0, this.#length);
    this.#length = 0;
    return copy;
  }

  /** Like {@link ByteWriter.take}, for bytes that are soon gone: small copies lie in memory that many of them share. */
  takeShortLived(): Uint8Array {
    const length = this.#length;
    if (length > sharedCopyBytesMax) return this.take();
    if (sharedUsed + length > shared.length) {
      shared = new Uint8Array(sharedBytes);
      sharedUsed = 0;
    }
    const copy = shared.subarray(sharedUsed, sharedUsed + length);
    sharedUsed += length;
    this.copyTo(copy, 0);
    this.#length = 0;
    return copy;
  }

  u8(value: number): void {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
  }

  u16(value: number): void {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
  }

  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: number): void {
    const at = this.#grow(8);
    writeU64(this.#view, at, value);
  }

  bool(value: boolean): void {
    this.u8(value ? 1 : 0);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Zero bytes. */
  zeros(count: number): void {
    const at = this.#grow(count);
    this.#bytes.fill(0, at, at + count);
  }

  lengthPrefixed(bytes: Uint8Array): void {
    this.u32(bytes.length);
    this.raw(bytes);
  }

  text(value: string): void {
    // Most texts are ASCII: they are written in place, without a buffer of their own.
    const length = value.length;
    const at = this.#grow(4 + length);
    if (writeAscii(value, this.#bytes, at + 4)) {
      this.#view.setUint32(at, length, true);
      return;
    }
    this.#length = at;
    this.lengthPrefixed(utf8Encode(value));
  }

  uuid(value: string): void {
    const at = this.#grow(16);
    uuidToBytes(value, this.#bytes, at);
  }

  /** Writes once more what was written in [start, end). */
  repeat(start: number, end: number): void {
    const at = this.#grow(end - start);
    this.#bytes.copyWithin(at, start, end);
  }

  /** CRC-32C of what was written in [start, end). */
  crc(start: number, end: number): number {
    return crc32c(this.#bytes, start, end);
  }

  /** Copies what was written to `target` at `offset`, without a new buffer. */
  copyTo(target: Uint8Array, offset: number): void {
    target.set(this.#bytes.subarray(0, this.#length), offset);
  }

  /** Overwrites a u32 written before. */
  patchU32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }

  /** Overwrites a u16 written before. */
  patchU16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, true);
  }

  #grow(count: number): number {
    const at = this.#length;
    const needed = at + count;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = needed;
    return at;
  }
}

/** The u64 at `offset`, which must be there; `NaN` beyond 2^53 − 1. */
export function readU64(bytes: Uint8Array, offset: number): number {
  const high = readU32(bytes, offset + 4);
  return high > highWordMax ? Number.NaN : high * two32 + readU32(bytes, offset);
}

/** The u32 at `offset`, which must be there. */
export function readU32(bytes: Uint8Array, offset: number): number {
  const low = (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8);
  return (low | ((bytes[offset + 2] ?? 0) << 16) | ((bytes[offset + 3] ?? 0) << 24)) >>> 0;
}

/** Whether both hold the same bytes. */
export function isSameBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  for (let at = 0; at < left.length; at++) if (left[at] !== right[at]) return false;
  return true;
}

/** Writes a safe integer as u64. */
export function writeU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value >>> 0, true);
  view.setUint32(offset + 4, Math.floor(value / two32), true);
}

/** UTF-8 bytes of a string; lone surrogates become U+FFFD. */
export function utf8Encode(text: string): Uint8Array {
  const ascii = new Uint8Array(text.length);
  if (writeAscii(text, ascii, 0)) return ascii;
  const bytes: number[] = [];
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0xfffd;
    const code = point >= 0xd800 && point <= 0xdfff ? 0xfffd : point;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 0x3f));
    else if (code < 0x10000)
      bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f));
    else
      bytes.push(
        0xf0 | (code >> 18),
        0x80 | ((code >> 12) & 0x3f),
        0x80 | ((code >> 6) & 0x3f),
        0x80 | (code & 0x3f),
      );
  }
  return Uint8Array.from(bytes);
}

/** Writes a text of ASCII characters at `offset`; false, with some of it written, when it has others. */
function writeAscii(text: string, target: Uint8Array, offset: number): boolean {
  for (let position = 0; position < text.length; position++) {
    const code = text.charCodeAt(position);
    if (code >= 0x80) return false;
    target[offset + position] = code;
  }
  return true;
}

/** String of the UTF-8 bytes in [start, end). @throws ClustorError `CLUSTOR_WIRE_BAD_VALUE` for anything that is not well-formed UTF-8. */
export function utf8Decode(bytes: Uint8Array, start = 0, end: number = bytes.length): string {
  let text = '';
  let at = start;
  while (at < end) {
    // Eight ASCII characters at a time.
    if (at + 8 <= end && isAsciiEight(bytes, at)) {
      text += eightCharacters(bytes, at);
      at += 8;
      continue;
    }
    const first = bytes[at] ?? 0;
    const extra =
      first < 0x80
        ? 0
        : first >= 0xc2 && first < 0xe0
          ? 1
          : first >= 0xe0 && first < 0xf0
            ? 2
            : first >= 0xf0 && first < 0xf5
              ? 3
              : -1;
    if (extra < 0 || at + extra >= end) throw notUtf8();
    let point = extra === 0 ? first : first & (0x3f >> extra);
    for (let more = 1; more <= extra; more++) {
      const byte = bytes[at + more] ?? 0;
      if ((byte & 0xc0) !== 0x80) throw notUtf8();
      point = (point << 6) | (byte & 0x3f);
    }
    const isOverlong = (extra === 2 && point < 0x800) || (extra === 3 && point < 0x10000);
    if (isOverlong || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) throw notUtf8();
    text += String.fromCodePoint(point);
    at += extra + 1;
  }
  return text;
}

/** A string with one character for each byte in [start, end): a key of a map, equal for equal bytes alone. */
export function byteText(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  let at = start;
  for (; at + 8 <= end; at += 8) text += eightCharacters(bytes, at);
  for (; at < end; at++) text += String.fromCharCode(bytes[at] ?? 0);
  return text;
}

/* oxlint-disable typescript/no-non-null-assertion -- the caller checked that eight bytes are there; a fallback would cost a branch per byte on the hot path */
function isAsciiEight(bytes: Uint8Array, at: number): boolean {
  const all =
    bytes[at]! |
    bytes[at + 1]! |
    bytes[at + 2]! |
    bytes[at + 3]! |
    bytes[at + 4]! |
    bytes[at + 5]! |
    bytes[at + 6]! |
    bytes[at + 7]!;
  return all < 0x80;
}

function eightCharacters(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(
    bytes[at]!,
    bytes[at + 1]!,
    bytes[at + 2]!,
    bytes[at + 3]!,
    bytes[at + 4]!,
    bytes[at + 5]!,
    bytes[at + 6]!,
    bytes[at + 7]!,
  );
}
/* oxlint-enable typescript/no-non-null-assertion */

function notUtf8(): ClustorError {
  return new ClustorError('CLUSTOR_WIRE_BAD_VALUE', 'a string is not well-formed UTF-8');
}

/** A number of bytes for people: three digits and a binary unit. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit] ?? 'B'}`;
}

/** Lower-case hexadecimal digits of bytes. */
export function hexEncode(bytes: Uint8Array): string {
  let text = '';
  for (const value of bytes) text += value.toString(16).padStart(2, '0');
  return text;
}

/** Bytes of hexadecimal digits, or `undefined` for anything else. */
export function hexDecode(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at++)
    bytes[at] = Number.parseInt(text.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}
