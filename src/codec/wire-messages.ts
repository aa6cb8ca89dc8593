/**
 * Messages ↔ bytes, driven by the wire catalog. Types of messages are derived from its rows, so a field that is in the
 * table is in the type, in the encoder, in the decoder and in the docs, or the build fails.
 *
 * Decoders never look past the body, never allocate from a claimed count before the bytes are there, and answer anything
 * malformed with a catalogued error.
 */
import { assert, unreachable } from '../base/assert.ts';
import { ByteReader, type ByteWriter } from '../base/bytes.ts';
import { ClustorError } from '../base/errors.ts';
import type {
  ClusterId,
  Incarnation,
  LogIndex,
  NodeId,
  PartitionId,
  ReplicaId,
  Term,
} from '../base/ids.ts';
import { bodyBytesMax, wireCatalog, type FieldRow, type MessageRow } from './wire-catalog.ts';

interface PlainValues {
  readonly u8: number;
  readonly u16: number;
  readonly u32: number;
  readonly u64: number;
  readonly bool: boolean;
  readonly flags8: number;
  readonly term: Term;
  readonly logIndex: LogIndex;
  readonly nodeId: NodeId;
  readonly replicaId: ReplicaId;
  readonly partitionId: PartitionId;
  readonly incarnation: Incarnation;
  readonly clusterId: ClusterId;
  readonly bytes: Uint8Array;
  readonly text: string;
  readonly rest: Uint8Array;
}

type FieldValue<F> = F extends {
  readonly type: 'array';
  readonly of: infer Inner extends readonly FieldRow[];
}
  ? readonly FieldValues<Inner>[]
  : F extends { readonly type: 'enum'; readonly values: infer Values extends readonly string[] }
    ? Values[number]
    : F extends { readonly type: infer Type extends keyof PlainValues }
      ? PlainValues[Type]
      : never;

type FieldValues<Fields extends readonly FieldRow[]> = {
  readonly [F in Fields[number] as F['name']]: FieldValue<F>;
};

interface RequestHead {
  readonly requestId: number;
  /** Milliseconds that the caller still waits; 0 for no limit. */
  readonly deadlineMs: number;
  readonly routingEpoch: number;
}

interface PartitionHead {
  readonly partitionId: PartitionId;
  readonly toIncarnation: Incarnation;
}

type MessageOf<Row> = Row extends {
  readonly kind: infer Kind;
  readonly class: infer Class;
  readonly scope: infer Scope;
  readonly fields: infer Fields extends readonly FieldRow[];
}
  ? { readonly kind: Kind } & (Class extends 'oneWay' ? unknown : RequestHead) &
      (Scope extends 'partition' ? PartitionHead : unknown) &
      FieldValues<Fields> &
      (Kind extends 'appendEntries' | 'repairResponse' | 'snapshotResponse'
        ? {
            /** Bytes that the sender puts right behind the encoded message. */ readonly trailingBytes?: number;
          }
        : unknown)
  : never;

/** Any message of the catalog. */
export type WireMessage = MessageOf<(typeof wireCatalog)[number]>;

/** What was agreed in the handshake. */
export interface DecodeOptions {
  /** Unknown bytes behind the payload are skipped. */
  readonly forwardCompat: boolean;
}

type Values = Record<string, unknown>;

const flagTlv = 1;
const tlvSender = 16;
const rows = wireCatalog as readonly MessageRow[];
const rowsById: readonly (MessageRow | undefined)[] = Array.from({ length: 256 }, (_, id) =>
  rows.find((row) => row.id === id),
);
const rowsByKind: ReadonlyMap<string, MessageRow> = new Map(rows.map((row) => [row.kind, row]));

/** Appends a frame (length prefix and body) to what `writer` holds. */
export function encodeMessage(message: WireMessage, writer: ByteWriter): void {
  const row = rowsByKind.get(message.kind);
  assert(row !== undefined, 'every message has a row in the catalog');
  const start = writer.length;
  try {
    writeFrame(message, row, writer);
  } catch (error) {
    // A half-written frame would spoil those behind it.
    writer.cut(start);
    throw error;
  }
}

function writeFrame(message: WireMessage, row: MessageRow, writer: ByteWriter): void {
  const values = message as unknown as Values;
  const start = writer.length;
  writer.u32(0);
  writer.u8(row.id);
  writer.u8(row.layout === 'preVote' ? flagTlv : 0);
  writer.u16(0);
  writeHead(writer, row, values);
  if (row.layout === 'preVote') writePreVotePayload(writer, values);
  else for (const field of row.fields) writeField(writer, field, values[field.name]);
  const trailingBytes = 'trailingBytes' in message ? (message.trailingBytes ?? 0) : 0;
  const bodyBytes = writer.length - start - 4 + trailingBytes;
  assert(bodyBytes <= row.bodyBytesMax, 'a message fits the maximum of its row');
  writer.patchU32(start, bodyBytes);
}

/** Decodes one body. @throws ClustorError with a `CLUSTOR_WIRE_*` code. */
export function decodeBody(body: Uint8Array, options: DecodeOptions): WireMessage {
  const reader = new ByteReader(body);
  const row = rowsById[reader.u8()];
  if (row === undefined)
    throw new ClustorError(
      'CLUSTOR_WIRE_UNKNOWN_MESSAGE',
      `message id ${body[0] ?? 0} is not in the catalog`,
    );
  if (body.length > row.bodyBytesMax)
    throw new ClustorError(
      'CLUSTOR_WIRE_BODY_TOO_LARGE',
      `${row.kind} of ${body.length} bytes exceeds its maximum of ${row.bodyBytesMax}`,
    );
  const flags = reader.u8();
  const reserved = reader.u16();
  if ((flags & ~flagTlv) !== 0 || reserved !== 0)
    throw new ClustorError('CLUSTOR_WIRE_UNKNOWN_FIELD', `${row.kind} has unknown flags`);
  const values: Values = { kind: row.kind };
  readHead(reader, row, values);
  if ((flags & flagTlv) !== 0) readTlvBlock(reader, row, values);
  if (row.layout === 'preVote') readPreVotePayload(reader, values);
  else for (const field of row.fields) values[field.name] = readField(reader, field);
  if (reader.remaining > 0 && !options.forwardCompat) {
    throw new ClustorError(
      'CLUSTOR_WIRE_UNKNOWN_FIELD',
      `${row.kind} has ${reader.remaining} bytes behind its payload`,
    );
  }
  return values as unknown as WireMessage;
}

function writeHead(writer: ByteWriter, row: MessageRow, values: Values): void {
  if (row.class !== 'oneWay') {
    writer.u64(values['requestId'] as number);
    writer.u32(values['deadlineMs'] as number);
    writer.u32(values['routingEpoch'] as number);
  }
  if (row.scope === 'partition') {
    writer.uuid(values['partitionId'] as string);
    writer.uuid(values['toIncarnation'] as string);
  }
}

function readHead(reader: ByteReader, row: MessageRow, values: Values): void {
  if (row.class !== 'oneWay') {
    values['requestId'] = reader.u64();
    values['deadlineMs'] = reader.u32();
    values['routingEpoch'] = reader.u32();
  }
  if (row.scope === 'partition') {
    values['partitionId'] = reader.uuid();
    values['toIncarnation'] = reader.uuid();
  }
}

/** Unknown tags are skipped: later versions may say more. */
function readTlvBlock(reader: ByteReader, row: MessageRow, values: Values): void {
  const block = reader.section(reader.u16());
  while (block.remaining > 0) {
    const tag = block.u8();
    const value = block.section(block.u8());
    if (tag === tlvSender && row.layout === 'preVote') {
      values['fromReplica'] = value.u64();
      values['fromIncarnation'] = value.uuid();
    }
  }
}

function writePreVotePayload(writer: ByteWriter, values: Values): void {
  writer.u16(26);
  writer.u8(tlvSender);
  writer.u8(24);
  writer.u64(values['fromReplica'] as number);
  writer.uuid(values['fromIncarnation'] as string);
  writer.u64(values['term'] as number);
  writer.bool(values['voteGranted'] as boolean);
  writer.bool(true);
  writer.bool(values['highRtt'] as boolean);
}

/** Published layout: 9 bytes, 10 with a zero flag, or 11 (facts, Decisions). */
function readPreVotePayload(reader: ByteReader, values: Values): void {
  values['term'] = reader.u64();
  values['voteGranted'] = reader.bool();
  values['highRtt'] = reader.remaining > 0 && reader.bool() ? reader.bool() : false;
  if (values['fromReplica'] === undefined)
    throw new ClustorError('CLUSTOR_WIRE_BAD_VALUE', 'a pre-vote response names its sender');
}

function writeField(writer: ByteWriter, field: FieldRow, value: unknown): void {
  switch (field.type) {
    case 'u8':
    case 'flags8':
      writer.u8(value as number);
      return;
    case 'u16':
      writer.u16(value as number);
      return;
    case 'u32':
      writer.u32(value as number);
      return;
    case 'u64':
    case 'term':
    case 'logIndex':
    case 'nodeId':
    case 'replicaId':
      writer.u64(value as number);
      return;
    case 'bool':
      writer.bool(value as boolean);
      return;
    case 'partitionId':
    case 'incarnation':
    case 'clusterId':
      writer.uuid(value as string);
      return;
    case 'bytes':
      writer.lengthPrefixed(value as Uint8Array);
      return;
    case 'text':
      writer.text(value as string);
      return;
    case 'rest':
      writer.raw(value as Uint8Array);
      return;
    case 'enum':
      assert(field.values.includes(value as string), 'an enum value is in its table');
      writer.u8(field.values.indexOf(value as string));
      return;
    case 'array':
      writeArray(writer, field, value as readonly Values[]);
      return;
    default:
      unreachable(field);
  }
}

function writeArray(
  writer: ByteWriter,
  field: Extract<FieldRow, { readonly type: 'array' }>,
  elements: readonly Values[],
): void {
  assert(elements.length <= field.max, 'an array fits the maximum of its field');
  writer.u16(elements.length);
  for (const element of elements)
    for (const inner of field.of) writeField(writer, inner, element[inner.name]);
}

function readField(reader: ByteReader, field: FieldRow): unknown {
  switch (field.type) {
    case 'u8':
    case 'flags8':
      return reader.u8();
    case 'u16':
      return reader.u16();
    case 'u32':
      return reader.u32();
    case 'u64':
    case 'term':
    case 'logIndex':
    case 'nodeId':
    case 'replicaId':
      return reader.u64();
    case 'bool':
      return reader.bool();
    case 'partitionId':
    case 'incarnation':
    case 'clusterId':
      return reader.uuid();
    case 'bytes':
      return reader.lengthPrefixed(field.max ?? bodyBytesMax);
    case 'text':
      return reader.text(field.max ?? 1024);
    case 'rest':
      return reader.rest();
    case 'enum':
      return readEnum(reader, field);
    case 'array':
      return readArray(reader, field);
    default:
      return unreachable(field);
  }
}

function readEnum(reader: ByteReader, field: Extract<FieldRow, { readonly type: 'enum' }>): string {
  const number = reader.u8();
  const value = field.values[number];
  if (value !== undefined) return value;
  if (number >= 0xf0)
    throw new ClustorError(
      'CLUSTOR_WIRE_EXPERIMENTAL_FIELD',
      `${field.name} has the experimental value ${number}`,
    );
  throw new ClustorError(
    'CLUSTOR_WIRE_UNKNOWN_FIELD',
    `${field.name} has the unknown value ${number}`,
  );
}

function readArray(
  reader: ByteReader,
  field: Extract<FieldRow, { readonly type: 'array' }>,
): Values[] {
  const count = reader.u16();
  if (count > field.max)
    throw new ClustorError(
      'CLUSTOR_WIRE_BODY_TOO_LARGE',
      `${field.name} has ${count} elements, at most ${field.max} are allowed`,
    );
  const elements: Values[] = [];
  for (let position = 0; position < count; position++) {
    const element: Values = {};
    for (const inner of field.of) element[inner.name] = readField(reader, inner);
    elements.push(element);
  }
  return elements;
}
