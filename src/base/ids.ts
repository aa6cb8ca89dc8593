/**
 * Identifiers that cannot be mixed up.
 *
 * Numbers that mean different things are branded; a branded value is made only by its constructor here. On the wire
 * and on disk they are u64 little-endian; in memory they are safe integers (a log that passes 2^53 entries is refused).
 * 16-byte identifiers (UUIDv7) are kept as lower-case canonical text, which makes them usable as map keys.
 */
import { ClustorError } from './errors.ts';

declare const brand: unique symbol;

/** A nominal type over a primitive. @public */
export type Brand<Base, Name extends string> = Base & { readonly [brand]: Name };

/** Election term, counted from 1; 0 before the first election. @public */
export type Term = Brand<number, 'Term'>;
/** Position in a partition's log, counted from 1; 0 is the empty prefix. @public */
export type LogIndex = Brand<number, 'LogIndex'>;
/** A process with one data directory. @public */
export type NodeId = Brand<number, 'NodeId'>;
/** A replica of one partition; never reused (specification §1). @public */
export type ReplicaId = Brand<number, 'ReplicaId'>;
/** One replicated log; 16 bytes, canonical UUID text. @public */
export type PartitionId = Brand<string, 'PartitionId'>;
/** A whole deployment; 16 bytes, canonical UUID text. @public */
export type ClusterId = Brand<string, 'ClusterId'>;
/** One life of a replica's files; 16 bytes, canonical UUID text (specification §1). @public */
export type Incarnation = Brand<string, 'Incarnation'>;

function safeInteger(value: number, what: string): number {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `${what} must be a whole number from 0 to 2^53 - 1, got ${value}`,
    );
  }
  return value;
}

/** Makes a {@link Term}. */
export function term(value: number): Term {
  return safeInteger(value, 'a term') as Term;
}
/** Makes a {@link LogIndex}. */
export function logIndex(value: number): LogIndex {
  return safeInteger(value, 'a log index') as LogIndex;
}
/** Makes a {@link NodeId}. @public */
export function nodeId(value: number): NodeId {
  return safeInteger(value, 'a node id') as NodeId;
}
/** Makes a {@link ReplicaId}. @public */
export function replicaId(value: number): ReplicaId {
  return safeInteger(value, 'a replica id') as ReplicaId;
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function uuidText(value: string, what: string): string {
  const lower = value.toLowerCase();
  if (!uuidPattern.test(lower)) {
    throw new ClustorError(
      'CLUSTOR_INVALID_ARGUMENT',
      `${what} must be a UUID such as 018c0d6c-9c11-7e9d-8000-86f5bb8c0001, got "${value}"`,
    );
  }
  return lower;
}
/** Makes a {@link PartitionId} from UUID text. @public */
export function partitionId(value: string): PartitionId {
  return uuidText(value, 'a partition id') as PartitionId;
}
/** Makes a {@link ClusterId} from UUID text. @public */
export function clusterId(value: string): ClusterId {
  return uuidText(value, 'a cluster id') as ClusterId;
}
/** Makes an {@link Incarnation} from UUID text. @public */
export function incarnation(value: string): Incarnation {
  return uuidText(value, 'an incarnation') as Incarnation;
}

const hyphen = 0x2d;
const textCodes: number[] = new Array<number>(36).fill(0);

/**
 * Identifiers come again and again, and their text is dear to make: the newest ones are kept, one for each value of a few
 * bits of the random part. A miss costs what a conversion costs. There is room for those of some thousand partitions: each
 * brings its own and one for each member, twenty times a second.
 */
const cacheRows = 32_768;
const cachedBytes = new Uint8Array(cacheRows * 16);
const cachedTexts: (string | undefined)[] = Array.from({ length: cacheRows });
const cachedOffsets = new Map<string, number>();

/** Canonical text of the 16 bytes at `offset`. */
export function uuidFromBytes(bytes: Uint8Array, offset: number): string {
  const row = rowOf(bytes, offset);
  const known = cachedTexts[row];
  if (known !== undefined && isCached(row, bytes, offset)) return known;
  const text = convertToText(bytes, offset);
  keep(row, text, bytes, offset);
  return text;
}

/** Writes the 16 bytes of canonical UUID text at `offset`. */
export function uuidToBytes(text: string, bytes: Uint8Array, offset: number): void {
  const from = cachedOffsets.get(text);
  if (from !== undefined) {
    for (let position = 0; position < 16; position++)
      bytes[offset + position] = cachedBytes[from + position] ?? 0;
    return;
  }
  convertToBytes(text, bytes, offset);
  const row = rowOf(bytes, offset);
  keep(row, text, bytes, offset);
}

function rowOf(bytes: Uint8Array, offset: number): number {
  const high = (bytes[offset + 14] ?? 0) ^ (bytes[offset + 9] ?? 0);
  return ((high << 8) | (bytes[offset + 15] ?? 0)) & (cacheRows - 1);
}

function isCached(row: number, bytes: Uint8Array, offset: number): boolean {
  const from = row * 16;
  for (let position = 15; position >= 0; position--)
    if (cachedBytes[from + position] !== bytes[offset + position]) return false;
  return true;
}

function keep(row: number, text: string, bytes: Uint8Array, offset: number): void {
  const old = cachedTexts[row];
  if (old !== undefined) cachedOffsets.delete(old);
  cachedTexts[row] = text;
  cachedOffsets.set(text, row * 16);
  for (let position = 0; position < 16; position++)
    cachedBytes[row * 16 + position] = bytes[offset + position] ?? 0;
}

function convertToText(bytes: Uint8Array, offset: number): string {
  let at = 0;
  for (let position = 0; position < 16; position++) {
    if (position === 4 || position === 6 || position === 8 || position === 10)
      textCodes[at++] = hyphen;
    const value = bytes[offset + position] ?? 0;
    textCodes[at++] = hexCode(value >> 4);
    textCodes[at++] = hexCode(value & 15);
  }
  // In one piece: text that is put together stays in pieces until somebody looks, and many are kept.
  return String.fromCharCode(...textCodes);
}

function convertToBytes(text: string, bytes: Uint8Array, offset: number): void {
  let position = 0;
  for (let at = 0; at < 36; at++) {
    if (at === 8 || at === 13 || at === 18 || at === 23) continue;
    bytes[offset + position] =
      (hexDigit(text.charCodeAt(at)) << 4) | hexDigit(text.charCodeAt(at + 1));
    position++;
    at++;
  }
}

function hexCode(digit: number): number {
  return digit < 10 ? digit + 48 : digit + 87;
}

function hexDigit(code: number): number {
  return code <= 57 ? code - 48 : code - 87;
}
