/**
 * Patterns of KEYS and SCAN: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a character that is meant itself.
 *
 * A pattern becomes an automaton whose states are bits: state `n` means that the first `n` elements have matched. A character
 * of the text moves all states at once, so that no pattern makes matching go back over the text: a key costs its length times
 * {@link patternBytesMax} / 32 words at worst, and its length for patterns of up to 31 elements.
 */
import type { ByteString } from './kv-store.ts';

/** Longest pattern that is matched. */
export const patternBytesMax = 1_024;

/** What is told of a longer one. */
export const patternTooLong = `ERR the pattern exceeds ${patternBytesMax} bytes`;

/** Which bytes one element of a pattern takes. */
type Element = Uint8Array;

/** Makes a test of whether the whole of a text matches. The pattern has at most {@link patternBytesMax} bytes. */
export function globMatcher(pattern: ByteString): (text: ByteString) => boolean {
  const { elements, stars } = parse(pattern);
  const words = (elements.length >> 5) + 1;
  // For each byte, the states that it moves on; then the states that take any byte and stay.
  const moved = new Uint32Array(256 * words);
  const kept = new Uint32Array(words);
  elements.forEach((element, state) => {
    for (let byte = 0; byte < 256; byte++)
      if (element[byte] === 1) setBit(moved, byte * words, state);
  });
  for (const state of stars) setBit(kept, 0, state);
  const states = new Uint32Array(words);
  const last = elements.length;
  return (text) => {
    states.fill(0);
    states[0] = 1;
    for (let at = 0; at < text.length; at++) {
      const row = (text.charCodeAt(at) & 0xff) * words;
      let carry = 0;
      let any = 0;
      for (let word = 0; word < words; word++) {
        const before = states[word] ?? 0;
        const moves = before & (moved[row + word] ?? 0);
        const after = (moves << 1) | carry | (before & (kept[word] ?? 0));
        carry = moves >>> 31;
        states[word] = after;
        any |= after;
      }
      if (any === 0) return false;
    }
    return (((states[last >> 5] ?? 0) >>> (last & 31)) & 1) === 1;
  };
}

/** Sets a bit of the row of words that begins at `start`. */
function setBit(rows: Uint32Array, start: number, bit: number): void {
  const at = start + (bit >> 5);
  rows[at] = (rows[at] ?? 0) | (1 << (bit & 31));
}

/** The elements of a pattern, and after how many of them stars stand. */
function parse(pattern: ByteString): {
  readonly elements: readonly Element[];
  readonly stars: ReadonlySet<number>;
} {
  const elements: Element[] = [];
  const stars = new Set<number>();
  for (let at = 0; at < pattern.length;) {
    const element: Element = new Uint8Array(256);
    switch (pattern[at]) {
      case '*':
        stars.add(elements.length);
        at++;
        continue;
      case '?':
        element.fill(1);
        at++;
        break;
      case '[':
        at = parseClass(pattern, at + 1, element);
        break;
      case '\\':
        if (at + 1 < pattern.length) at++;
        element[pattern.charCodeAt(at++)] = 1;
        break;
      default:
        element[pattern.charCodeAt(at++)] = 1;
    }
    elements.push(element);
  }
  return { elements, stars };
}

/** Fills in what a class takes; `start` is behind its bracket. A class without its closing bracket ends with the pattern. */
function parseClass(pattern: ByteString, start: number, element: Element): number {
  let at = start;
  const isNegated = pattern[at] === '^';
  if (isNegated) at++;
  while (at < pattern.length && pattern[at] !== ']') {
    if (pattern[at] === '\\' && at + 1 < pattern.length) at++;
    const first = pattern.charCodeAt(at);
    let last = first;
    if (pattern[at + 1] === '-' && at + 2 < pattern.length && pattern[at + 2] !== ']') {
      last = pattern.charCodeAt(at + 2);
      at += 2;
    }
    element.fill(1, Math.min(first, last), Math.max(first, last) + 1);
    at++;
  }
  if (isNegated) for (let byte = 0; byte < 256; byte++) element[byte] = 1 - (element[byte] ?? 0);
  return at < pattern.length ? at + 1 : at;
}
