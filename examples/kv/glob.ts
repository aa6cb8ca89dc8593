/** Patterns of KEYS and SCAN: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a character that is meant itself. */
import type { ByteString } from './kv-store.ts';

/** Whether the whole of `text` matches `pattern`. Takes time proportional to the product of both lengths at worst. */
export function matchesGlob(pattern: ByteString, text: ByteString): boolean {
  let patternAt = 0;
  let textAt = 0;
  // Where to take up again when the text behind the last star turns out not to match.
  let starAt = -1;
  let starTextAt = 0;
  while (textAt < text.length) {
    const isStar = pattern[patternAt] === '*';
    const behind = isStar ? -1 : matchOne(pattern, patternAt, text.charCodeAt(textAt));
    if (isStar) {
      starAt = patternAt++;
      starTextAt = textAt;
    } else if (behind >= 0) {
      patternAt = behind;
      textAt++;
    } else if (starAt >= 0) {
      patternAt = starAt + 1;
      textAt = ++starTextAt;
    } else {
      return false;
    }
  }
  while (pattern[patternAt] === '*') patternAt++;
  return patternAt >= pattern.length;
}

/** Position behind the pattern's element at `at` if it matches the character, else -1. */
function matchOne(pattern: ByteString, at: number, code: number): number {
  if (at >= pattern.length) return -1;
  switch (pattern[at]) {
    case '?':
      return at + 1;
    case '[':
      return matchClass(pattern, at + 1, code);
    case '\\':
      if (at + 1 < pattern.length) return pattern.charCodeAt(at + 1) === code ? at + 2 : -1;
      return code === 92 ? at + 1 : -1;
    default:
      return pattern.charCodeAt(at) === code ? at + 1 : -1;
  }
}

/** `at` is behind the opening bracket. A class without its closing bracket ends with the pattern. */
function matchClass(pattern: ByteString, start: number, code: number): number {
  let at = start;
  const isNegated = pattern[at] === '^';
  if (isNegated) at++;
  let isFound = false;
  while (at < pattern.length && pattern[at] !== ']') {
    if (pattern[at] === '\\' && at + 1 < pattern.length) at++;
    const first = pattern.charCodeAt(at);
    let last = first;
    if (pattern[at + 1] === '-' && at + 2 < pattern.length && pattern[at + 2] !== ']') {
      last = pattern.charCodeAt(at + 2);
      at += 2;
    }
    if (code >= Math.min(first, last) && code <= Math.max(first, last)) isFound = true;
    at++;
  }
  if (at < pattern.length) at++;
  return isFound === isNegated ? -1 : at;
}
