/**
 * What is written into the log, and what comes back: the bytes of commands and of their results.
 *
 * An entry begins with the format byte 0x01, then holds commands one behind the other up to its end:
 *
 * | command | bytes |
 * | --- | --- |
 * | set | 0x01, flags (1 only if absent, 2 only if present, 4 answer the old value), key, value |
 * | delete | 0x02, count, that many keys |
 * | increment | 0x03, key, delta (decimal digits, may begin with a minus sign) |
 * | append | 0x04, key, value |
 * | set many | 0x05, count of pairs, then key and value of each |
 *
 * Keys, values and digits are a length and that many bytes; lengths and counts are LEB128 of at most 32 bits.
 * All commands of an entry take effect together, in order. The result of an entry holds one result per command:
 * 0x00 nil, 0x01 OK, 0x02 integer (digits), 0x03 value (bytes), 0x04 error (text). A later format takes another first byte;
 * bytes above 0x1f are the first character of a command line in plain text (see `kv-text.ts`).
 */
import type { ByteString } from './kv-store.ts';

/** Largest key or value. */
export const valueBytesMax = 524_288;
/** Largest encoded command. An entry with one such command stays below every profile's entry limit (1 MiB). */
export const commandBytesMax = 786_432;
/** First byte of an entry in this format. */
export const entryFormat = 0x01;

/** A command that changes the state. */
export type WriteCommand =
  | {
      readonly kind: 'set';
      readonly key: ByteString;
      readonly value: ByteString;
      readonly condition: 'always' | 'ifAbsent' | 'ifPresent';
      /** Answers the value before the command instead of OK. */
      readonly answersOld: boolean;
    }
  | { readonly kind: 'delete'; readonly keys: readonly ByteString[] }
  | { readonly kind: 'increment'; readonly key: ByteString; readonly delta: string }
  | { readonly kind: 'append'; readonly key: ByteString; readonly value: ByteString }
  /** Keys and values in turn. */
  | { readonly kind: 'setMany'; readonly pairs: readonly ByteString[] };

/** The answer to one command. */
export type WriteResult =
  | { readonly kind: 'nil' }
  | { readonly kind: 'ok' }
  | { readonly kind: 'integer'; readonly digits: string }
  | { readonly kind: 'bulk'; readonly bytes: ByteString }
  | { readonly kind: 'error'; readonly text: string };

/** Thrown by the decoders when bytes are not what the layout above says. */
export class KvFormatError extends Error {
  override readonly name: string = 'KvFormatError';
}

const flagIfAbsent = 1;
const flagIfPresent = 2;
const flagAnswersOld = 4;

/** Encodes one command; an entry is the format byte and any number of these. */
export function encodeCommand(command: WriteCommand): Buffer {
  const fields = fieldsOf(command);
  const count = countOf(command);
  let length = 2 + (count === undefined ? 0 : lengthOfNumber(count));
  for (const field of fields) length += lengthOfNumber(field.length) + field.length;
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  bytes[at++] = opcodeOf(command);
  if (command.kind === 'set') bytes[at++] = flagsOf(command);
  if (count !== undefined) at = writeNumber(bytes, at, count);
  for (const field of fields) at = writeField(bytes, at, field);
  return at === length ? bytes : bytes.subarray(0, at);
}

/** Encodes an entry of commands that are encoded already. */
export function encodeEntry(commands: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Uint8Array.of(entryFormat), ...commands]);
}

/**
 * Decodes all commands of an entry.
 *
 * @throws {@link KvFormatError} if a byte is out of place.
 */
export function decodeEntry(bytes: Buffer, start: number, end: number): readonly WriteCommand[] {
  const reader = new FieldReader(bytes, start, end);
  if (reader.byte() !== entryFormat) throw new KvFormatError('unknown entry format');
  const commands: WriteCommand[] = [];
  while (!reader.isAtEnd) commands.push(decodeCommand(reader));
  return commands;
}

/** Encodes the results of an entry's commands. */
export function encodeResults(results: readonly WriteResult[]): Buffer {
  let length = 0;
  for (const result of results) {
    const text = textOf(result);
    length += 1 + (text === undefined ? 0 : lengthOfNumber(text.length) + text.length);
  }
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  for (const result of results) {
    bytes[at++] = resultTags[result.kind];
    const text = textOf(result);
    if (text !== undefined) at = writeField(bytes, at, text);
  }
  return bytes;
}

/**
 * Decodes the results of an entry.
 *
 * @throws {@link KvFormatError} if a byte is out of place.
 */
export function decodeResults(bytes: Uint8Array): readonly WriteResult[] {
  const reader = new FieldReader(bufferOver(bytes), 0, bytes.byteLength);
  const results: WriteResult[] = [];
  while (!reader.isAtEnd) results.push(decodeResult(reader));
  return results;
}

/** A Buffer over the same memory, for its latin1 conversions. */
export function bufferOver(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Answer of commands that succeed without saying more. */
export const okResult: WriteResult = { kind: 'ok' };
/** Answer where there is no value. */
export const nilResult: WriteResult = { kind: 'nil' };

const resultTags = { nil: 0, ok: 1, integer: 2, bulk: 3, error: 4 } as const;

function textOf(result: WriteResult): string | undefined {
  switch (result.kind) {
    case 'nil':
    case 'ok':
      return undefined;
    case 'integer':
      return result.digits;
    case 'bulk':
      return result.bytes;
    case 'error':
      return result.text;
  }
}

function decodeResult(reader: FieldReader): WriteResult {
  const tag = reader.byte();
  switch (tag) {
    case resultTags.nil:
      return nilResult;
    case resultTags.ok:
      return okResult;
    case resultTags.integer:
      return { kind: 'integer', digits: reader.field() };
    case resultTags.bulk:
      return { kind: 'bulk', bytes: reader.field() };
    case resultTags.error:
      return { kind: 'error', text: reader.field() };
    default:
      throw new KvFormatError(`unknown result tag ${tag}`);
  }
}

function opcodeOf(command: WriteCommand): number {
  return { set: 1, delete: 2, increment: 3, append: 4, setMany: 5 }[command.kind];
}

function flagsOf(command: WriteCommand & { kind: 'set' }): number {
  const condition = { always: 0, ifAbsent: flagIfAbsent, ifPresent: flagIfPresent };
  return condition[command.condition] | (command.answersOld ? flagAnswersOld : 0);
}

function countOf(command: WriteCommand): number | undefined {
  if (command.kind === 'delete') return command.keys.length;
  return command.kind === 'setMany' ? command.pairs.length / 2 : undefined;
}

function fieldsOf(command: WriteCommand): readonly ByteString[] {
  switch (command.kind) {
    case 'set':
    case 'append':
      return [command.key, command.value];
    case 'delete':
      return command.keys;
    case 'increment':
      return [command.key, command.delta];
    case 'setMany':
      return command.pairs;
  }
}

function decodeCommand(reader: FieldReader): WriteCommand {
  const opcode = reader.byte();
  switch (opcode) {
    case 1:
      return decodeSet(reader);
    case 2:
      return { kind: 'delete', keys: reader.fields(reader.number()) };
    case 3:
      return { kind: 'increment', key: reader.field(), delta: decodeDelta(reader) };
    case 4:
      return { kind: 'append', key: reader.field(), value: reader.field() };
    case 5:
      return { kind: 'setMany', pairs: reader.fields(reader.number() * 2) };
    default:
      throw new KvFormatError(`unknown command ${opcode}`);
  }
}

function decodeSet(reader: FieldReader): WriteCommand {
  const flags = reader.byte();
  if (flags > 7 || (flags & 3) === 3) throw new KvFormatError(`unknown flags ${flags}`);
  let condition: 'always' | 'ifAbsent' | 'ifPresent' = 'always';
  if ((flags & flagIfAbsent) !== 0) condition = 'ifAbsent';
  if ((flags & flagIfPresent) !== 0) condition = 'ifPresent';
  const answersOld = (flags & flagAnswersOld) !== 0;
  return { kind: 'set', key: reader.field(), value: reader.field(), condition, answersOld };
}

function decodeDelta(reader: FieldReader): string {
  const delta = reader.field();
  if (!/^-?\d{1,19}$/.test(delta)) throw new KvFormatError('a delta is not a number');
  return delta;
}

/** How many bytes a length or count takes. */
export function lengthOfNumber(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

function writeNumber(bytes: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

/** Writes a length and the bytes of `field` at `start`; answers the position behind them. */
export function writeField(bytes: Buffer, start: number, field: ByteString): number {
  const at = writeNumber(bytes, start, field.length);
  return at + bytes.write(field, at, 'latin1');
}

/** Reads fields one after the other, never past its end. */
export class FieldReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#end;
  }

  /** Position of the next byte. */
  get position(): number {
    return this.#at;
  }

  byte(): number {
    if (this.#at >= this.#end) throw new KvFormatError('the bytes end too early');
    return this.#bytes[this.#at++] ?? 0;
  }

  number(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const next = this.byte();
      value += (next & 0x7f) * 2 ** shift;
      if (next < 0x80) return value;
    }
    throw new KvFormatError('a length has too many bytes');
  }

  field(): ByteString {
    const length = this.number();
    if (length > valueBytesMax) throw new KvFormatError(`a field exceeds ${valueBytesMax} bytes`);
    if (length > this.#end - this.#at) throw new KvFormatError('the bytes end too early');
    const field = this.#bytes.toString('latin1', this.#at, this.#at + length);
    this.#at += length;
    return field;
  }

  fields(count: number): readonly ByteString[] {
    if (count > this.#end - this.#at) throw new KvFormatError('a count is larger than the rest');
    const fields: ByteString[] = [];
    for (let position = 0; position < count; position++) fields.push(this.field());
    return fields;
  }
}
