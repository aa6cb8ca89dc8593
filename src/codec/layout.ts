/**
 * What stands where in a file of the data directory: tables from which encoders, decoders and the pages in `docs/internals`
 * come. A layout is a list of fields, one behind the other, little-endian, without gaps.
 *
 * Entries and their blocks are written and read by hand, field by field without a table, because there is one for each
 * entry; their tables are held to the bytes by a test.
 */
import { assert, present, unreachable } from '../base/assert.ts';
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';

interface Described {
  readonly name: string;
  /** For people: meaning and unit. */
  readonly note: string;
}

/** Types of fields that have one size and one way to be written. */
export type ScalarType = 'u8' | 'u16' | 'u32' | 'u64' | 'bool' | 'uuid';

/** A field. */
export type LayoutField = Described &
  (
    | { readonly type: ScalarType }
    /** Always the same. */
    | { readonly type: 'constant'; readonly bytes: Uint8Array }
    | { readonly type: 'zeros'; readonly count: number }
    | { readonly type: 'bytes'; readonly count: number }
    /** A byte that stands for a word. */
    | { readonly type: 'enum'; readonly values: Readonly<Record<string, number>> }
    /** u32 length and so much UTF-8. */
    | { readonly type: 'text'; readonly bytesMax: number }
    /** u16 count and so many values. */
    | { readonly type: 'numbers'; readonly countMax: number }
    | { readonly type: 'texts'; readonly countMax: number; readonly bytesMax: number }
    | { readonly type: 'rows'; readonly countMax: number; readonly of: Layout }
  );

/** Fields one behind the other. */
export type Layout = readonly LayoutField[];

/** Values of a layout's fields by their names; constants and zeros have none. */
export type LayoutValues = Record<string, unknown>;

/** A word for each position of a list, as numbers from 0. */
export function numbered<Word extends string>(
  words: readonly Word[],
): Readonly<Record<Word, number>> {
  return Object.fromEntries(words.map((word, at) => [word, at])) as Record<Word, number>;
}

/** Bytes of a field; `undefined` where that depends on its value. */
export function fieldBytes(field: LayoutField): number | undefined {
  switch (field.type) {
    case 'u8':
    case 'bool':
    case 'enum':
      return 1;
    case 'u16':
      return 2;
    case 'u32':
      return 4;
    case 'u64':
      return 8;
    case 'uuid':
      return 16;
    case 'constant':
      return field.bytes.length;
    case 'zeros':
    case 'bytes':
      return field.count;
    case 'text':
    case 'numbers':
    case 'texts':
    case 'rows':
      return undefined;
    default:
      return unreachable(field);
  }
}

/** Bytes of a layout whose fields all have one size. */
export function layoutBytes(layout: Layout): number {
  return layout.reduce((sum, field) => sum + present(fieldBytes(field), 'one size'), 0);
}

/** Where a field stands; all fields before it have one size. */
export function offsetOf(layout: Layout, name: string): number {
  const at = layout.findIndex((field) => field.name === name);
  assert(at >= 0, 'a layout has the field that is looked for');
  return layoutBytes(layout.slice(0, at));
}

/** Writes the fields of a layout. */
export function writeLayout(writer: ByteWriter, layout: Layout, values: object): void {
  for (const field of layout) writeField(writer, field, (values as LayoutValues)[field.name]);
}

function writeField(writer: ByteWriter, field: LayoutField, value: unknown): void {
  switch (field.type) {
    case 'u8':
      writer.u8(value as number);
      return;
    case 'u16':
      writer.u16(value as number);
      return;
    case 'u32':
      writer.u32(value as number);
      return;
    case 'u64':
      writer.u64(value as number);
      return;
    case 'bool':
      writer.bool(value as boolean);
      return;
    case 'uuid':
      writer.uuid(value as string);
      return;
    case 'constant':
      writer.raw(field.bytes);
      return;
    case 'zeros':
      writer.zeros(field.count);
      return;
    case 'bytes':
      assert((value as Uint8Array).length === field.count, 'bytes have the size of their field');
      writer.raw(value as Uint8Array);
      return;
    case 'enum':
      writer.u8(present(field.values[value as string], 'a word is in its table'));
      return;
    case 'text':
      writer.text(value as string);
      return;
    default:
      writeMany(writer, field, value as readonly unknown[]);
  }
}

type ManyField = Extract<LayoutField, { readonly type: 'numbers' | 'texts' | 'rows' }>;

function writeMany(writer: ByteWriter, field: ManyField, values: readonly unknown[]): void {
  assert(values.length <= field.countMax, 'a list fits the maximum of its field');
  writer.u16(values.length);
  for (const value of values) {
    if (field.type === 'numbers') writer.u64(value as number);
    else if (field.type === 'texts') writer.text(value as string);
    else writeLayout(writer, field.of, value as LayoutValues);
  }
}

/** What is read, for messages, and the code for a word that a later version may know. */
export interface LayoutSource {
  readonly what: string;
  readonly unknownCode: 'CLUSTOR_FORMAT_UNSUPPORTED' | 'CLUSTOR_WIRE_UNKNOWN_FIELD';
}

/** A source of stored bytes. */
export function storedSource(what: string): LayoutSource {
  return { what, unknownCode: 'CLUSTOR_FORMAT_UNSUPPORTED' };
}

/** Reads the fields of a layout. @throws ClustorError of the source for an unknown word, `CLUSTOR_WIRE_*` for bytes that are none. */
export function readLayout(reader: ByteReader, layout: Layout, source: LayoutSource): LayoutValues {
  const values: LayoutValues = {};
  for (const field of layout) {
    const value = readField(reader, field, source);
    if (value !== undefined) values[field.name] = value;
  }
  return values;
}

function readField(reader: ByteReader, field: LayoutField, source: LayoutSource): unknown {
  switch (field.type) {
    case 'u8':
      return reader.u8();
    case 'u16':
      return reader.u16();
    case 'u32':
      return reader.u32();
    case 'u64':
      return reader.u64();
    case 'bool':
      return reader.bool();
    case 'uuid':
      return reader.uuid();
    case 'constant':
      reader.take(field.bytes.length);
      return undefined;
    case 'zeros':
      reader.take(field.count);
      return undefined;
    case 'bytes':
      return reader.take(field.count).slice();
    case 'enum':
      return wordOf(reader.u8(), field, source);
    case 'text':
      return reader.text(field.bytesMax);
    default:
      return readMany(reader, field, source);
  }
}

function wordOf(
  number: number,
  field: Extract<LayoutField, { readonly type: 'enum' }>,
  { what, unknownCode }: LayoutSource,
): string {
  for (const word in field.values) if (field.values[word] === number) return word;
  throw new ClustorError(unknownCode, `${what} has the unknown ${field.name} ${number}`);
}

function readMany(reader: ByteReader, field: ManyField, source: LayoutSource): readonly unknown[] {
  const count = reader.u16();
  if (count > field.countMax)
    throw new ClustorError(
      'CLUSTOR_WIRE_BAD_VALUE',
      `${source.what} has ${count} ${field.name}, at most ${field.countMax} are allowed`,
    );
  const values: unknown[] = [];
  for (let at = 0; at < count; at++) {
    if (field.type === 'numbers') values.push(reader.u64());
    else if (field.type === 'texts') values.push(reader.text(field.bytesMax));
    else values.push(readLayout(reader, field.of, source));
  }
  return values;
}
