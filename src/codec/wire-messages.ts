/**
 * Messages ↔ bytes, driven by the wire catalog. Types of messages are derived from its rows, and code that writes and reads them
 * is generated from the rows, so a field that is in the table is in the type, in the encoder, in the decoder and in the docs, or
 * a test fails.
 *
 * Decoders never look past the body, never allocate from a claimed count before the bytes are there, and answer anything
 * malformed with a catalogued error.
 */
import { assert } from '../base/assert.ts';
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
import { wireCode, type MessageCode } from './generated/wire-code.ts';
import { wireCatalog, type FieldRow, type MessageRow } from './wire-catalog.ts';
import { readTlvBlock } from './wire-fields.ts';

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

type PreVoteResponse = Extract<WireMessage, { readonly kind: 'preVoteResponse' }>;

interface Codec extends MessageCode {
  readonly row: MessageRow;
}

const flagTlv = 1;
const tlvSender = 16;
const preVoteResponse: MessageCode = { write: writePreVoteResponse, read: readPreVoteResponse };
const codecsByKind: ReadonlyMap<string, Codec> = new Map(
  (wireCatalog as readonly MessageRow[]).map((row) => {
    const kind = row.kind as WireMessage['kind'];
    const code = kind === 'preVoteResponse' ? preVoteResponse : wireCode[kind];
    return [row.kind, { row, ...code }];
  }),
);
const codecsById: readonly (Codec | undefined)[] = Array.from({ length: 256 }, (_, id) =>
  [...codecsByKind.values()].find(({ row }) => row.id === id),
);

/** Appends a frame (length prefix and body) to what `writer` holds. */
export function encodeMessage(message: WireMessage, writer: ByteWriter): void {
  const codec = codecsByKind.get(message.kind);
  assert(codec !== undefined, 'every message has a row in the catalog');
  const start = writer.length;
  try {
    writeFrame(message, codec, writer);
  } catch (error) {
    // A half-written frame would spoil those behind it.
    writer.cut(start);
    throw error;
  }
}

function writeFrame(message: WireMessage, { row, write }: Codec, writer: ByteWriter): void {
  const start = writer.length;
  writer.u32(0);
  writer.u8(row.id);
  writer.u8(row.layout === 'preVote' ? flagTlv : 0);
  writer.u16(0);
  write(writer, message);
  const trailingBytes = 'trailingBytes' in message ? (message.trailingBytes ?? 0) : 0;
  const bodyBytes = writer.length - start - 4 + trailingBytes;
  assert(bodyBytes <= row.bodyBytesMax, 'a message fits the maximum of its row');
  writer.patchU32(start, bodyBytes);
}

/** Decodes one body. @throws ClustorError with a `CLUSTOR_WIRE_*` code. */
export function decodeBody(body: Uint8Array, options: DecodeOptions): WireMessage {
  const reader = new ByteReader(body);
  const codec = codecsById[reader.u8()];
  if (codec === undefined)
    throw new ClustorError(
      'CLUSTOR_WIRE_UNKNOWN_MESSAGE',
      `message id ${body[0] ?? 0} is not in the catalog`,
    );
  const { row } = codec;
  if (body.length > row.bodyBytesMax)
    throw new ClustorError(
      'CLUSTOR_WIRE_BODY_TOO_LARGE',
      `${row.kind} of ${body.length} bytes exceeds its maximum of ${row.bodyBytesMax}`,
    );
  const flags = reader.u8();
  const reserved = reader.u16();
  if ((flags & ~flagTlv) !== 0 || reserved !== 0)
    throw new ClustorError('CLUSTOR_WIRE_UNKNOWN_FIELD', `${row.kind} has unknown flags`);
  const message = codec.read(reader, (flags & flagTlv) !== 0);
  if (reader.remaining > 0 && !options.forwardCompat) {
    throw new ClustorError(
      'CLUSTOR_WIRE_UNKNOWN_FIELD',
      `${row.kind} has ${reader.remaining} bytes behind its payload`,
    );
  }
  return message;
}

/** Its sender stands in the block of tags. */
function writePreVoteResponse(writer: ByteWriter, message: PreVoteResponse): void {
  writer.uuid(message.partitionId);
  writer.uuid(message.toIncarnation);
  writer.u16(26);
  writer.u8(tlvSender);
  writer.u8(24);
  writer.u64(message.fromReplica);
  writer.uuid(message.fromIncarnation);
  writer.u64(message.term);
  writer.bool(message.voteGranted);
  writer.bool(true);
  writer.bool(message.highRtt);
}

/** Published layout: 9 bytes, 10 with a zero flag, or 11 (facts, Decisions). */
function readPreVoteResponse(reader: ByteReader, hasTlvBlock: boolean): PreVoteResponse {
  const partitionId = reader.uuid() as PartitionId;
  const toIncarnation = reader.uuid() as Incarnation;
  let sender: { fromReplica: ReplicaId; fromIncarnation: Incarnation } | undefined;
  if (hasTlvBlock)
    readTlvBlock(reader, (tag, value) => {
      if (tag !== tlvSender) return;
      const fromReplica = value.u64() as ReplicaId;
      sender = { fromReplica, fromIncarnation: value.uuid() as Incarnation };
    });
  const term = reader.u64() as Term;
  const voteGranted = reader.bool();
  const highRtt = reader.remaining > 0 && reader.bool() ? reader.bool() : false;
  if (sender === undefined)
    throw new ClustorError('CLUSTOR_WIRE_BAD_VALUE', 'a pre-vote response names its sender');
  return {
    kind: 'preVoteResponse',
    partitionId,
    toIncarnation,
    ...sender,
    term,
    voteGranted,
    highRtt,
  };
}
