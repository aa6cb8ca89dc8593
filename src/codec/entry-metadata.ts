/**
 * Metadata of an entry: `{tag u8, len u8, value}` fields, at most 1 KiB.
 *
 * 1 trace id 16 · 2 span id 8 · 3 ingest time u64 ms · 4 client id 16 + sequence u64 · 5 opaque key ≤ 64 · 6 acked_through
 * u64 · 7 commit index known at the first attempt u64. Unknown tags are kept and skipped.
 */
import { byteText, readU64, writeU64, type ByteWriter } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';

/** What apply needs of an entry's metadata; reused from entry to entry. */
export interface EntryMetadata {
  /** Milliseconds since 1970 at the leader that took the entry in; −1 when absent. */
  ingestMs: number;
  /** The 16 bytes of the client id as a string of 16 char codes. */
  clientKey: string | undefined;
  sequence: number;
  opaqueKey: string | undefined;
  /** −1 when absent. */
  ackedThrough: number;
  /** −1 when absent. */
  firstSeenCommit: number;
}

/** Fields that a client puts into metadata. */
export interface ClientMetadata {
  readonly clientId?: Uint8Array;
  readonly sequence?: number;
  readonly opaqueKey?: Uint8Array;
  readonly ackedThrough?: number;
  readonly firstSeenCommit?: number;
}

/** Bytes of the ingest time's field. */
export const ingestMetadataBytes = 10;
const opaqueKeyBytesMax = 64;

/** An empty metadata object to read into. */
export function createEntryMetadata(): EntryMetadata {
  return {
    ingestMs: -1,
    clientKey: undefined,
    sequence: 0,
    opaqueKey: undefined,
    ackedThrough: -1,
    firstSeenCommit: -1,
  };
}

/** Reads the metadata in `bytes[start, end)`. @throws ClustorError `CLUSTOR_WIRE_BAD_VALUE`, `CLUSTOR_WIRE_BODY_TOO_SHORT`. */
export function readEntryMetadata(
  bytes: Uint8Array,
  range: { readonly start: number; readonly end: number },
  into: EntryMetadata,
): void {
  into.ingestMs = -1;
  into.clientKey = undefined;
  into.sequence = 0;
  into.opaqueKey = undefined;
  into.ackedThrough = -1;
  into.firstSeenCommit = -1;
  // Read from the bytes themselves: it is done for every entry on every node, and a reader is made for more.
  let at = range.start;
  while (at < range.end) {
    const valueAt = at + 2;
    const valueEnd = valueAt + (bytes[at + 1] ?? 0);
    if (valueAt > range.end || valueEnd > range.end) throw cutField(at - range.start);
    readField(bytes, { tag: bytes[at] ?? 0, valueAt, length: valueEnd - valueAt }, into);
    at = valueEnd;
  }
}

/** Writes a client's fields behind what `writer` holds. */
export function writeEntryMetadata(writer: ByteWriter, fields: ClientMetadata): void {
  if (fields.clientId !== undefined) {
    writer.u8(4);
    writer.u8(24);
    writer.raw(fields.clientId);
    writer.u64(fields.sequence ?? 0);
  }
  if (fields.opaqueKey !== undefined) {
    if (fields.opaqueKey.length > opaqueKeyBytesMax)
      throw new ClustorError(
        'CLUSTOR_INVALID_ARGUMENT',
        `an opaque key has at most ${opaqueKeyBytesMax} bytes`,
      );
    writer.u8(5);
    writer.u8(fields.opaqueKey.length);
    writer.raw(fields.opaqueKey);
  }
  if (fields.ackedThrough !== undefined) writeNumber(writer, 6, fields.ackedThrough);
  if (fields.firstSeenCommit !== undefined) writeNumber(writer, 7, fields.firstSeenCommit);
}

/** Writes the ingest time's field at the start of `target`. */
export function writeIngestMetadata(target: Uint8Array, ingestMs: number): void {
  target[0] = 3;
  target[1] = 8;
  writeU64(
    new DataView(target.buffer, target.byteOffset, target.byteLength),
    2,
    Math.max(0, Math.floor(ingestMs)),
  );
}

function writeNumber(writer: ByteWriter, tag: number, value: number): void {
  writer.u8(tag);
  writer.u8(8);
  writer.u64(value);
}

interface FieldPlace {
  readonly tag: number;
  readonly valueAt: number;
  readonly length: number;
}

function readField(bytes: Uint8Array, field: FieldPlace, into: EntryMetadata): void {
  switch (field.tag) {
    case 3:
      into.ingestMs = numberField(bytes, field);
      return;
    case 4:
      expectLength(field, 24);
      into.clientKey = clientText(bytes, field.valueAt);
      into.sequence = safeNumber(bytes, field.valueAt + 16);
      return;
    case 5:
      if (field.length > opaqueKeyBytesMax) throw badField(field);
      into.opaqueKey = byteText(bytes, field.valueAt, field.valueAt + field.length);
      return;
    case 6:
      into.ackedThrough = numberField(bytes, field);
      return;
    case 7:
      into.firstSeenCommit = numberField(bytes, field);
      return;
    default:
    // Of a later version.
  }
}

/**
 * Clients come again and again, and a text of their id is dear to make and to find in a table for the first time: those that
 * came last are kept, one for each value of a byte of the id.
 */
const knownBytes = new Uint8Array(256 * 16);
const knownTexts: (string | undefined)[] = Array.from({ length: 256 });

function clientText(bytes: Uint8Array, at: number): string {
  const row = bytes[at + 15] ?? 0;
  const known = knownTexts[row];
  if (known !== undefined && isKnown(row * 16, bytes, at)) return known;
  const text = byteText(bytes, at, at + 16);
  knownTexts[row] = text;
  for (let offset = 0; offset < 16; offset++)
    knownBytes[row * 16 + offset] = bytes[at + offset] ?? 0;
  return text;
}

function isKnown(from: number, bytes: Uint8Array, at: number): boolean {
  for (let offset = 0; offset < 16; offset++)
    if (knownBytes[from + offset] !== bytes[at + offset]) return false;
  return true;
}

function numberField(bytes: Uint8Array, field: FieldPlace): number {
  expectLength(field, 8);
  return safeNumber(bytes, field.valueAt);
}

function safeNumber(bytes: Uint8Array, at: number): number {
  const value = readU64(bytes, at);
  if (Number.isNaN(value))
    throw new ClustorError('CLUSTOR_WIRE_BAD_VALUE', 'a number in metadata exceeds 2^53 - 1');
  return value;
}

function expectLength(field: FieldPlace, length: number): void {
  if (field.length !== length) throw badField(field);
}

function cutField(offset: number): ClustorError {
  return new ClustorError(
    'CLUSTOR_WIRE_BODY_TOO_SHORT',
    `the metadata field at offset ${offset} goes on behind the end`,
  );
}

function badField(field: FieldPlace): ClustorError {
  return new ClustorError(
    'CLUSTOR_WIRE_BAD_VALUE',
    `metadata field ${field.tag} cannot have ${field.length} bytes`,
  );
}
