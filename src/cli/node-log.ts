/** What a node process wrote to its log before it ended, for whoever asks why. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const tailBytesMax = 16 * 1024;
const wordsMax = 500;

/**
 * The last line behind `fromBytes` that says something: the node's own error in words, or what Node.js says of one that
 * nobody caught. `undefined` where there is none or the log cannot be read.
 */
export function lastWordsOf(path: string, fromBytes: number): string | undefined {
  try {
    const lines = tailOf(path, fromBytes).split('\n').toReversed();
    const line = lines.find((text) => text.trim() !== '' && !isTrace(text));
    return line === undefined ? undefined : wordsOf(line).slice(0, wordsMax);
  } catch {
    return undefined;
  }
}

function tailOf(path: string, fromBytes: number): string {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    const start = Math.max(fromBytes, size - tailBytesMax);
    const bytes = Buffer.alloc(Math.max(0, size - start));
    return bytes.toString('utf8', 0, readSync(file, bytes, 0, bytes.length, start));
  } finally {
    closeSync(file);
  }
}

/** A line below the message of an error that nobody caught. */
function isTrace(line: string): boolean {
  return /^\s+at |^Node\.js v|^[{}]$/.test(line);
}

function wordsOf(line: string): string {
  if (!line.startsWith('{')) return line.trim();
  try {
    const { error } = JSON.parse(line) as {
      readonly error?: { readonly code?: unknown; readonly message?: unknown };
    };
    return typeof error?.code === 'string' && typeof error.message === 'string'
      ? `${error.code} ${error.message}`
      : line;
  } catch {
    return line;
  }
}
