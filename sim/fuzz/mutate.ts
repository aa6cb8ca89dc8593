/** Makes wrong inputs out of valid ones: the mistakes of disks and peers, and those that a decoder is likely to get wrong. */
import { nextBelow, pick, type PrngState } from '../../src/base/prng.ts';

/** Values at which widths, signs and bounds change. */
const edges = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
/** Mutations that an input gets at most. */
const mutationsMax = 4;
/** An input never grows beyond this. */
const inputBytesMax = 64 * 1024;

type Mutation = (random: PrngState, bytes: Uint8Array, other: Uint8Array) => Uint8Array;

const mutations: readonly Mutation[] = [
  flipBit,
  flipBit,
  setByte,
  setWord,
  setWord,
  lieAboutLength,
  truncate,
  extend,
  splice,
  swap,
  repeat,
  remove,
];

/** An input with one to four mistakes. `words` go into texts; `other` is another valid input. */
export function mutate(
  random: PrngState,
  from: { readonly bytes: Uint8Array; readonly other: Uint8Array },
  words: readonly string[] = [],
): Uint8Array {
  let bytes: Uint8Array = from.bytes.slice();
  const count = 1 + nextBelow(random, mutationsMax);
  for (let round = 0; round < count; round++) {
    const isWord = words.length > 0 && nextBelow(random, 3) === 0;
    bytes = isWord
      ? placeWord(random, bytes, pick(random, words))
      : pick(random, mutations)(random, bytes, from.other);
  }
  return bytes.length > inputBytesMax ? bytes.slice(0, inputBytesMax) : bytes;
}

/** Bytes that nobody encoded. */
export function noise(random: PrngState): Uint8Array {
  return noiseOf(random, nextBelow(random, nextBelow(random, 8) === 0 ? 9000 : 80));
}

function noiseOf(random: PrngState, length: number): Uint8Array {
  const isLow = nextBelow(random, 2) === 0;
  return Uint8Array.from({ length }, () => nextBelow(random, isLow ? 4 : 256));
}

function placeOf(random: PrngState, bytes: Uint8Array): number {
  // Headers are small and decide most: half of the places are near the start.
  const reach = nextBelow(random, 2) === 0 ? Math.min(bytes.length, 96) : bytes.length;
  return reach === 0 ? 0 : nextBelow(random, reach);
}

function flipBit(random: PrngState, bytes: Uint8Array): Uint8Array {
  const at = placeOf(random, bytes);
  if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << nextBelow(random, 8));
  return bytes;
}

function setByte(random: PrngState, bytes: Uint8Array): Uint8Array {
  const at = placeOf(random, bytes);
  if (at < bytes.length) bytes[at] = pick(random, [0, 1, 0x7f, 0x80, 0xff, nextBelow(random, 256)]);
  return bytes;
}

/** Writes a value of two, four or eight bytes. */
function setWord(random: PrngState, bytes: Uint8Array): Uint8Array {
  return writeAt(random, bytes, pick(random, edges));
}

/** Writes a length, or what is one beside it, of the input or of what is left of it. */
function lieAboutLength(random: PrngState, bytes: Uint8Array): Uint8Array {
  const length = pick(random, [bytes.length, bytes.length - nextBelow(random, bytes.length + 1)]);
  return writeAt(random, bytes, Math.max(0, length + nextBelow(random, 3) - 1));
}

function writeAt(random: PrngState, bytes: Uint8Array, value: number): Uint8Array {
  const width = pick(random, [2, 4, 4, 8]);
  const at = placeOf(random, bytes);
  if (at + width > bytes.length) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (width === 2) view.setUint16(at, value & 0xffff, true);
  else view.setUint32(at, value, true);
  if (width === 8) view.setUint32(at + 4, pick(random, [0, 0, 1, 0x1f_ffff, value]), true);
  return bytes;
}

function truncate(random: PrngState, bytes: Uint8Array): Uint8Array {
  return bytes.slice(0, nextBelow(random, bytes.length + 1));
}

function extend(random: PrngState, bytes: Uint8Array): Uint8Array {
  return joined(bytes, noiseOf(random, 1 + nextBelow(random, 64)));
}

/** The beginning of one and the end of another. */
function splice(random: PrngState, bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const cut = nextBelow(random, bytes.length + 1);
  const isAligned = nextBelow(random, 2) === 0;
  const from = isAligned ? Math.min(cut, other.length) : nextBelow(random, other.length + 1);
  return joined(bytes.subarray(0, cut), other.subarray(from));
}

/** Two stretches change places. */
function swap(random: PrngState, bytes: Uint8Array): Uint8Array {
  const length = 1 + nextBelow(random, 32);
  if (bytes.length < 2 * length) return bytes;
  const left = nextBelow(random, bytes.length - 2 * length + 1);
  const right = left + length + nextBelow(random, bytes.length - left - 2 * length + 1);
  const kept = bytes.slice(left, left + length);
  bytes.copyWithin(left, right, right + length);
  bytes.set(kept, right);
  return bytes;
}

function repeat(random: PrngState, bytes: Uint8Array): Uint8Array {
  const start = placeOf(random, bytes);
  const end = Math.min(bytes.length, start + 1 + nextBelow(random, 64));
  return joined(bytes.subarray(0, end), bytes.subarray(start));
}

function remove(random: PrngState, bytes: Uint8Array): Uint8Array {
  const start = placeOf(random, bytes);
  const end = Math.min(bytes.length, start + 1 + nextBelow(random, 32));
  return joined(bytes.subarray(0, start), bytes.subarray(end));
}

/** Puts a word into a text, or in the place of one: from the nearest mark before to the nearest one behind. */
function placeWord(random: PrngState, bytes: Uint8Array, word: string): Uint8Array {
  const at = nextBelow(random, bytes.length + 1);
  let [start, end] = [at, at];
  if (nextBelow(random, 3) > 0) {
    while (start > 0 && !isMark(bytes[start - 1] ?? 0)) start--;
    while (end < bytes.length && !isMark(bytes[end] ?? 0)) end++;
  }
  return joined(joined(bytes.subarray(0, start), Buffer.from(word)), bytes.subarray(end));
}

/** Whether a character ends a word: a comma, colon, slash, bracket or white space. */
function isMark(byte: number): boolean {
  return ',:/[]{} \n\r'.includes(String.fromCharCode(byte));
}

function joined(left: Uint8Array, right: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(left.length + right.length);
  bytes.set(left);
  bytes.set(right, left.length);
  return bytes;
}
