/** The commands that only look, answered from a store in its present state. */
import { globMatcher, patternBytesMax, patternTooLong } from './glob.ts';
import type { ByteString, KvStore } from './kv-store.ts';

/** The answer to a read. */
export type ReadResult =
  | { readonly kind: 'nil' }
  | { readonly kind: 'integer'; readonly digits: string }
  | { readonly kind: 'bulk'; readonly bytes: ByteString }
  | { readonly kind: 'status'; readonly text: string }
  | { readonly kind: 'error'; readonly text: string }
  | { readonly kind: 'array'; readonly items: readonly ReadResult[] };

/** Largest answer; a read that finds more is refused. */
export const answerBytesMax = 67_108_864;

/** Names of the commands that {@link evaluateRead} knows, with how many words they have (negative: at least so many). */
export const readArities: ReadonlyMap<string, number> = new Map([
  ['get', 2],
  ['exists', -2],
  ['mget', -2],
  ['strlen', 2],
  ['type', 2],
  ['dbsize', 1],
  ['keys', 2],
  ['scan', -2],
]);

/** Default of SCAN's COUNT, and the largest that has an effect. */
const scanCountDefault = 10;
const scanCountMax = 100_000;

const nil: ReadResult = { kind: 'nil' };
const tooLarge: ReadResult = {
  kind: 'error',
  text: `ERR the answer exceeds ${answerBytesMax} bytes, ask for less at once`,
};

/** Answers a read; `name` is the first word in lower case and the number of words fits its arity. */
export function evaluateRead(
  store: KvStore,
  name: string,
  words: readonly ByteString[],
): ReadResult {
  const key = words[1] ?? '';
  switch (name) {
    case 'get':
      return bulkOrNil(store.get(key));
    case 'exists':
      return integer(words.slice(1).filter((each) => store.has(each)).length);
    case 'mget':
      return evaluateMany(store, words.slice(1));
    case 'strlen':
      return integer(store.get(key)?.length ?? 0);
    case 'type':
      return { kind: 'status', text: store.has(key) ? 'string' : 'none' };
    case 'dbsize':
      return integer(store.count);
    case 'keys':
      return evaluateKeys(store, key);
    case 'scan':
      return evaluateScan(store, words);
    default:
      return { kind: 'error', text: `ERR unknown command '${name}'` };
  }
}

/** Bytes that an answer takes at least: what bounds how much is answered in one turn. */
export function answerBytesOf(result: ReadResult): number {
  if (result.kind === 'bulk') return result.bytes.length;
  if (result.kind !== 'array') return 16;
  let bytes = 16;
  for (const item of result.items) bytes += 16 + answerBytesOf(item);
  return bytes;
}

function evaluateMany(store: KvStore, keys: readonly ByteString[]): ReadResult {
  const items: ReadResult[] = [];
  let bytes = 0;
  for (const key of keys) {
    const value = store.get(key);
    bytes += 16 + (value?.length ?? 0);
    if (bytes > answerBytesMax) return tooLarge;
    items.push(bulkOrNil(value));
  }
  return { kind: 'array', items };
}

function evaluateKeys(store: KvStore, pattern: ByteString): ReadResult {
  if (pattern.length > patternBytesMax) return { kind: 'error', text: patternTooLong };
  const matches = globMatcher(pattern);
  const items: ReadResult[] = [];
  let bytes = 0;
  for (const key of store.keys()) {
    if (pattern !== '*' && !matches(key)) continue;
    bytes += 16 + key.length;
    if (bytes > answerBytesMax) return tooLarge;
    items.push({ kind: 'bulk', bytes: key });
  }
  return { kind: 'array', items };
}

interface ScanOptions {
  readonly pattern: ByteString | undefined;
  readonly count: number;
  readonly type: string | undefined;
}

function evaluateScan(store: KvStore, words: readonly ByteString[]): ReadResult {
  const cursor = words[1] ?? '';
  if (!/^\d{1,20}$/.test(cursor)) return { kind: 'error', text: 'ERR invalid cursor' };
  const options = scanOptions(words);
  if (typeof options === 'string') return { kind: 'error', text: options };
  const step = store.scan(Number(cursor), options.count);
  const isOtherType = options.type !== undefined && options.type !== 'string';
  const matches = options.pattern === undefined ? undefined : globMatcher(options.pattern);
  const keys = isOtherType ? [] : step.keys.filter((key) => matches?.(key) ?? true);
  return {
    kind: 'array',
    items: [
      { kind: 'bulk', bytes: step.cursor.toString() },
      { kind: 'array', items: keys.map((bytes) => ({ kind: 'bulk', bytes })) },
    ],
  };
}

function scanOptions(words: readonly ByteString[]): ScanOptions | string {
  let pattern: ByteString | undefined;
  let count = scanCountDefault;
  let type: string | undefined;
  for (let at = 2; at < words.length; at += 2) {
    const value = words[at + 1];
    if (value === undefined) return 'ERR syntax error';
    switch (words[at]?.toLowerCase()) {
      case 'match':
        if (value.length > patternBytesMax) return patternTooLong;
        pattern = value;
        break;
      case 'count':
        if (!/^-?\d{1,18}$/.test(value)) return 'ERR value is not an integer or out of range';
        if (Number(value) < 1) return 'ERR syntax error';
        count = Math.min(Number(value), scanCountMax);
        break;
      case 'type':
        type = value.toLowerCase();
        break;
      default:
        return 'ERR syntax error';
    }
  }
  return { pattern, count, type };
}

function bulkOrNil(value: ByteString | undefined): ReadResult {
  return value === undefined ? nil : { kind: 'bulk', bytes: value };
}

function integer(value: number): ReadResult {
  return { kind: 'integer', digits: value.toString() };
}
