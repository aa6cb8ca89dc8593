/** What the generated code of wire messages does not write out: counts, enums, and the block of tags. */
import { assert } from '../base/assert.ts';
import type { ByteReader, ByteWriter } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';

/** The number of an array's elements. */
export function writeCount(writer: ByteWriter, count: number, countMax: number): void {
  assert(count <= countMax, 'an array fits the maximum of its field');
  writer.u16(count);
}

/** The number of an array's elements; memory for them is taken as they are read. @throws ClustorError `CLUSTOR_WIRE_BODY_TOO_LARGE`. */
export function readCount(reader: ByteReader, countMax: number, name: string): number {
  const count = reader.u16();
  if (count > countMax)
    throw new ClustorError(
      'CLUSTOR_WIRE_BODY_TOO_LARGE',
      `${name} has ${count} elements, at most ${countMax} are allowed`,
    );
  return count;
}

/** The place of a value in its table. */
export function writeEnum(writer: ByteWriter, values: readonly string[], value: string): void {
  const number = values.indexOf(value);
  assert(number >= 0, 'an enum value is in its table');
  writer.u8(number);
}

/** @throws ClustorError `CLUSTOR_WIRE_UNKNOWN_FIELD` or `CLUSTOR_WIRE_EXPERIMENTAL_FIELD`. */
export function readEnum<Value extends string>(
  reader: ByteReader,
  values: readonly Value[],
  name: string,
): Value {
  const number = reader.u8();
  const value = values[number];
  if (value !== undefined) return value;
  if (number >= 0xf0)
    throw new ClustorError(
      'CLUSTOR_WIRE_EXPERIMENTAL_FIELD',
      `${name} has the experimental value ${number}`,
    );
  throw new ClustorError('CLUSTOR_WIRE_UNKNOWN_FIELD', `${name} has the unknown value ${number}`);
}

/** Reads tags of one byte, each with a length and a value. Unknown ones are skipped: later versions may say more. */
export function readTlvBlock(
  reader: ByteReader,
  take: (tag: number, value: ByteReader) => void,
): void {
  const block = reader.section(reader.u16());
  while (block.remaining > 0) take(block.u8(), block.section(block.u8()));
}

/** A block of tags of a message that knows none. */
export function skipTlvBlock(reader: ByteReader): void {
  readTlvBlock(reader, () => undefined);
}
