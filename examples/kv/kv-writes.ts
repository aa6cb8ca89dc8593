/** The commands that change the state: from words to a command, and from a command to its effect and result. */
import {
  commandBytesMax,
  encodeCommand,
  nilResult,
  okResult,
  valueBytesMax,
  type WriteCommand,
  type WriteResult,
} from './kv-commands.ts';
import type { ByteString, KvStore } from './kv-store.ts';

/** A command ready for the log, or why there is none. */
export type WriteRequest =
  | {
      readonly kind: 'command';
      readonly command: WriteCommand;
      readonly encoded: Buffer;
    }
  | { readonly kind: 'error'; readonly text: string };

/** Largest and smallest value of a counter. */
const integerMax = 2n ** 63n - 1n;
const integerMin = -(2n ** 63n);

const notAnInteger = 'ERR value is not an integer or out of range';

/** Names of the commands that {@link parseWrite} knows, with how many words they have (negative: at least so many). */
export const writeArities: ReadonlyMap<string, number> = new Map([
  ['set', -3],
  ['del', -2],
  ['incr', 2],
  ['incrby', 3],
  ['decr', 2],
  ['decrby', 3],
  ['append', 3],
  ['mset', -3],
]);

/** Whether a command of `wordCount` words has as many as `arity` asks for. */
export function fitsArity(arity: number, wordCount: number): boolean {
  return arity < 0 ? wordCount >= -arity : wordCount === arity;
}

/** Text of the error for too few or too many words. */
export function wrongArgumentCount(name: string): string {
  return `ERR wrong number of arguments for '${name}' command`;
}

/** Makes a command of its words; `name` is the first of them in lower case and has passed {@link fitsArity}. */
export function parseWrite(name: string, words: readonly ByteString[]): WriteRequest {
  const parsed = parseWords(name, words);
  if (typeof parsed === 'string') return { kind: 'error', text: parsed };
  if (words.some((word) => word.length > valueBytesMax)) {
    return { kind: 'error', text: `ERR a key or value exceeds ${valueBytesMax} bytes` };
  }
  const encoded = encodeCommand(parsed);
  if (encoded.length > commandBytesMax) {
    return { kind: 'error', text: `ERR the command exceeds ${commandBytesMax} bytes` };
  }
  return { kind: 'command', command: parsed, encoded };
}

function parseWords(name: string, words: readonly ByteString[]): WriteCommand | string {
  const [, key = '', value = ''] = words;
  switch (name) {
    case 'set':
      return parseSet(words);
    case 'del':
      return { kind: 'delete', keys: words.slice(1) };
    case 'incr':
      return { kind: 'increment', key, delta: '1' };
    case 'decr':
      return { kind: 'increment', key, delta: '-1' };
    case 'incrby':
    case 'decrby':
      return parseIncrement(name, key, value);
    case 'append':
      return { kind: 'append', key, value };
    case 'mset':
      if (words.length % 2 === 0) return wrongArgumentCount(name);
      return { kind: 'setMany', pairs: words.slice(1) };
    default:
      return `ERR unknown command '${name}'`;
  }
}

function parseSet(words: readonly ByteString[]): WriteCommand | string {
  const [, key = '', value = ''] = words;
  let condition: 'always' | 'ifAbsent' | 'ifPresent' = 'always';
  let answersOld = false;
  for (const word of words.slice(3)) {
    const option = word.toLowerCase();
    if (option === 'get') answersOld = true;
    else if (option === 'nx' && condition !== 'ifPresent') condition = 'ifAbsent';
    else if (option === 'xx' && condition !== 'ifAbsent') condition = 'ifPresent';
    else return 'ERR syntax error';
  }
  return { kind: 'set', key, value, condition, answersOld };
}

function parseIncrement(
  name: 'incrby' | 'decrby',
  key: ByteString,
  digits: string,
): WriteCommand | string {
  const amount = integerOf(digits);
  if (amount === undefined) return notAnInteger;
  if (name === 'incrby') return { kind: 'increment', key, delta: digits };
  if (amount === integerMin) return 'ERR decrement would overflow';
  return { kind: 'increment', key, delta: (-amount).toString() };
}

/** Carries out a command. Depends on nothing but the store and the command. */
export function applyWrite(store: KvStore, command: WriteCommand): WriteResult {
  switch (command.kind) {
    case 'set':
      return applySet(store, command);
    case 'delete':
      return integer(command.keys.filter((key) => store.delete(key)).length);
    case 'increment':
      return applyIncrement(store, command.key, command.delta);
    case 'append':
      return applyAppend(store, command.key, command.value);
    case 'setMany':
      for (let at = 0; at + 1 < command.pairs.length; at += 2) {
        store.set(command.pairs[at] ?? '', command.pairs[at + 1] ?? '');
      }
      return okResult;
  }
}

function applySet(store: KvStore, command: WriteCommand & { kind: 'set' }): WriteResult {
  if (command.condition === 'always' && !command.answersOld) {
    store.set(command.key, command.value);
    return okResult;
  }
  const old = store.get(command.key);
  const isAllowed =
    command.condition === 'always' || (command.condition === 'ifPresent') === (old !== undefined);
  if (isAllowed) store.set(command.key, command.value);
  if (command.answersOld) return old === undefined ? nilResult : { kind: 'bulk', bytes: old };
  return isAllowed ? okResult : nilResult;
}

function applyIncrement(store: KvStore, key: ByteString, delta: string): WriteResult {
  const present = store.get(key) ?? '0';
  // Most counters are small; numbers are exact there and several times faster than bigints.
  const small = present.length < 16 && delta.length < 16 && isCanonical(present);
  const sum = small ? (Number(present) + Number(delta)).toString() : largeSum(present, delta);
  if (!/^-?\d+$/.test(sum)) return { kind: 'error', text: sum };
  store.set(key, sum);
  return { kind: 'integer', digits: sum };
}

/** The sum as digits, or the text of an error. */
function largeSum(present: string, delta: string): string {
  const value = integerOf(present);
  const amount = integerOf(delta);
  if (value === undefined || amount === undefined) return notAnInteger;
  const sum = value + amount;
  if (sum > integerMax || sum < integerMin) return 'ERR increment or decrement would overflow';
  return sum.toString();
}

/** Whether `text` is a whole number as a counter writes it: no plus sign, no leading zeros, no minus zero. */
function isCanonical(text: string): boolean {
  return /^(0|-?[1-9]\d{0,18})$/.test(text);
}

function integerOf(text: string): bigint | undefined {
  if (!isCanonical(text)) return undefined;
  const value = BigInt(text);
  return value > integerMax || value < integerMin ? undefined : value;
}

function applyAppend(store: KvStore, key: ByteString, value: ByteString): WriteResult {
  const joined = (store.get(key) ?? '') + value;
  if (joined.length > valueBytesMax) {
    return {
      kind: 'error',
      text: `ERR string exceeds maximum allowed size (${valueBytesMax} bytes)`,
    };
  }
  store.set(key, joined);
  return integer(joined.length);
}

function integer(value: number): WriteResult {
  return { kind: 'integer', digits: value.toString() };
}
