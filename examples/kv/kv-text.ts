/** Command lines in plain text: how they split into words, and how an answer reads. */
import type { WriteResult } from './kv-commands.ts';
import type { ReadResult } from './kv-reads.ts';
import type { ByteString } from './kv-store.ts';

const escapes: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  b: '\b',
  a: '\x07',
};

/**
 * Splits a line at white space. Double quotes take `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH` and `\` before any other
 * character; single quotes take only `\'`.
 *
 * @returns The words, or `undefined` if a quote stays open or is followed by anything but white space.
 */
export function splitWords(line: ByteString): readonly ByteString[] | undefined {
  const words: ByteString[] = [];
  let at = 0;
  for (;;) {
    while (isSpace(line[at])) at++;
    if (at >= line.length) return words;
    let word = '';
    while (at < line.length && !isSpace(line[at])) {
      const quote = line[at];
      if (quote !== '"' && quote !== "'") {
        word += line[at++];
        continue;
      }
      const quoted = readQuoted(line, at + 1, quote);
      if (quoted === undefined) return undefined;
      word += quoted.text;
      at = quoted.end;
      if (at < line.length && !isSpace(line[at])) return undefined;
    }
    words.push(word);
  }
}

function readQuoted(
  line: ByteString,
  start: number,
  quote: string,
): { readonly text: string; readonly end: number } | undefined {
  let text = '';
  let at = start;
  while (at < line.length) {
    const character = line[at] ?? '';
    if (character === quote) return { text, end: at + 1 };
    if (character !== '\\' || at + 1 >= line.length) {
      text += character;
      at++;
      continue;
    }
    const following = line[at + 1] ?? '';
    const hex = /^x([0-9a-fA-F]{2})/.exec(line.slice(at + 1, at + 4))?.[1];
    if (quote === "'") {
      text += following === "'" ? "'" : '\\';
      at += following === "'" ? 2 : 1;
    } else if (hex !== undefined) {
      text += String.fromCharCode(Number.parseInt(hex, 16));
      at += 4;
    } else {
      text += escapes[following] ?? following;
      at += 2;
    }
  }
  return undefined;
}

function isSpace(character: string | undefined): boolean {
  return (
    character === ' ' ||
    character === '\t' ||
    character === '\n' ||
    character === '\r' ||
    character === '\0'
  );
}

/** An answer as a person reads it: values raw, one line per item, nothing as `(nil)`. */
export function describeResult(result: ReadResult | WriteResult): ByteString {
  switch (result.kind) {
    case 'nil':
      return '(nil)';
    case 'ok':
      return 'OK';
    case 'status':
    case 'error':
      return result.text;
    case 'integer':
      return result.digits;
    case 'bulk':
      return result.bytes;
    case 'array':
      return result.items.map(describeResult).join('\n');
  }
}
