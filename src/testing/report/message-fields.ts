/**
 * Which numbers of a message a picture keeps. It follows from the wire catalog: a message that is added there is shown with
 * its fields without a line here. Identities that the lanes already tell are left out; bytes and text become their length.
 */
import { unreachable } from '../../base/assert.ts';
import { wireCatalog, type FieldRow, type MessageRow } from '../../codec/wire-catalog.ts';
import type { WireMessage } from '../../codec/wire-messages.ts';
import {
  elementsKeptMax,
  type MessageGroup,
  type PictureField,
  type PictureKind,
} from './run-picture.ts';

interface Reading {
  readonly field: PictureField;
  readonly source: string;
  readonly of: readonly Reading[];
}

interface KindReading {
  readonly kind: PictureKind;
  readonly readings: readonly Reading[];
}

/** Kind of frames that do not decode; a peer of another version would send such. */
const unreadable: KindReading = {
  kind: { name: 'unreadable', group: 'link', fields: [] },
  readings: [],
};

const kindReadings: readonly KindReading[] = [
  ...(wireCatalog as readonly MessageRow[]).map((row) => {
    const readings = readingsOf(row);
    return {
      kind: { name: row.kind, group: groupOf(row), fields: readings.map(({ field }) => field) },
      readings,
    };
  }),
  unreadable,
];

const positions: ReadonlyMap<string, number> = new Map(
  kindReadings.map(({ kind }, position) => [kind.name, position]),
);

/** All kinds, in the order of the catalog. */
export const pictureKinds: readonly PictureKind[] = kindReadings.map(({ kind }) => kind);

/** The position of a kind; frames that do not decode are a kind of their own. */
export function kindPosition(message: WireMessage | undefined): number {
  return positions.get(message?.kind ?? unreadable.kind.name) ?? kindReadings.length - 1;
}

/** Appends the numbers of a message to `values`. */
export function pushValues(
  message: WireMessage,
  values: number[],
  partitionNumber: (partitionId: string) => number,
): void {
  const { readings } = kindReadings[kindPosition(message)] ?? unreadable;
  pushReadings(message as unknown as Readonly<Record<string, unknown>>, readings, {
    values,
    partitionNumber,
  });
}

interface Sink {
  readonly values: number[];
  readonly partitionNumber: (partitionId: string) => number;
}

function pushReadings(
  record: Readonly<Record<string, unknown>>,
  readings: readonly Reading[],
  sink: Sink,
): void {
  for (const { field, source, of } of readings) {
    const value = record[source];
    if (Array.isArray(value)) {
      sink.values.push(value.length);
      for (const element of value.slice(0, elementsKeptMax))
        pushReadings(element as Readonly<Record<string, unknown>>, of, sink);
    } else sink.values.push(numberOf(value, field, sink));
  }
}

function numberOf(value: unknown, field: PictureField, sink: Sink): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value instanceof Uint8Array) return value.length;
  if (typeof value !== 'string') return 0;
  if (field.values !== undefined) return field.values.indexOf(value);
  return field.name === 'partition' ? sink.partitionNumber(value) : value.length;
}

function readingsOf(row: MessageRow): readonly Reading[] {
  const head: Reading[] = [];
  if (row.scope === 'partition')
    head.push({ field: { name: 'partition' }, source: 'partitionId', of: [] });
  if (row.class !== 'oneWay') {
    head.push({ field: { name: 'requestId' }, source: 'requestId', of: [] });
    head.push({ field: { name: 'deadlineMs' }, source: 'deadlineMs', of: [] });
  }
  return [...head, ...row.fields.flatMap(readingOf)];
}

function readingOf(row: FieldRow): readonly Reading[] {
  const { name } = row;
  switch (row.type) {
    case 'u8':
    case 'u16':
    case 'u32':
    case 'u64':
    case 'flags8':
    case 'term':
    case 'logIndex':
    case 'nodeId':
      return [{ field: { name }, source: name, of: [] }];
    case 'bool':
      return [{ field: { name, values: ['no', 'yes'] }, source: name, of: [] }];
    case 'enum':
      return [{ field: { name, values: row.values }, source: name, of: [] }];
    case 'bytes':
    case 'text':
    case 'rest':
      return [{ field: { name: `${name} (bytes)` }, source: name, of: [] }];
    case 'partitionId':
      return [{ field: { name: 'partition' }, source: name, of: [] }];
    case 'replicaId':
    case 'incarnation':
    case 'clusterId':
      return [];
    case 'array': {
      const of = row.of.flatMap(readingOf);
      return [{ field: { name, of: of.map(({ field }) => field) }, source: name, of }];
    }
    default:
      return unreachable(row);
  }
}

/** Numbers of messages lie in ranges by purpose, see the wire catalog. */
function groupOf({ id, kind }: MessageRow): MessageGroup {
  if (/heartbeat/i.test(kind)) return 'heartbeat';
  if (/vote/i.test(kind)) return 'vote';
  // Snapshots stand for entries.
  if (id < 0x20 || id >> 4 === 6) return 'append';
  return id < 0x40 ? 'client' : 'link';
}
