/** Random messages of every kind, made from the wire catalog: whatever its row allows. */
import { unreachable } from '../../src/base/assert.ts';
import { ByteWriter } from '../../src/base/bytes.ts';
import { uuidFromBytes } from '../../src/base/ids.ts';
import { nextBelow, pick, type PrngState } from '../../src/base/prng.ts';
import {
  wireCatalog,
  type FieldRow,
  type MessageKind,
  type MessageRow,
} from '../../src/codec/wire-catalog.ts';
import { encodeMessage, type WireMessage } from '../../src/codec/wire-messages.ts';

/** The body of a message, without its length prefix. */
export function bodyOf(message: WireMessage): Uint8Array {
  const writer = new ByteWriter();
  encodeMessage(message, writer);
  return writer.take().subarray(4);
}

/** A random message of a row. */
export function randomMessage(prng: PrngState, kind: MessageKind): WireMessage {
  const row = (wireCatalog as readonly MessageRow[]).find((candidate) => candidate.kind === kind)!;
  const values: Record<string, unknown> = { kind };
  if (row.class !== 'oneWay') {
    values['requestId'] = randomSafe(prng);
    values['deadlineMs'] = nextBelow(prng, 0x1_0000_0000);
    values['routingEpoch'] = nextBelow(prng, 0x1_0000_0000);
  }
  if (row.scope === 'partition') {
    values['partitionId'] = randomUuid(prng);
    values['toIncarnation'] = randomUuid(prng);
  }
  for (const field of row.fields) values[field.name] = randomValue(prng, field);
  return values as unknown as WireMessage;
}

function randomValue(prng: PrngState, field: FieldRow): unknown {
  switch (field.type) {
    case 'u8':
    case 'flags8':
      return nextBelow(prng, 0x100);
    case 'u16':
      return nextBelow(prng, 0x1_0000);
    case 'u32':
      return nextBelow(prng, 0x1_0000_0000);
    case 'u64':
    case 'term':
    case 'logIndex':
    case 'nodeId':
    case 'replicaId':
      return randomSafe(prng);
    case 'bool':
      return nextBelow(prng, 2) === 1;
    case 'partitionId':
    case 'incarnation':
    case 'clusterId':
      return randomUuid(prng);
    case 'bytes':
    case 'rest':
      return randomBytes(prng, nextBelow(prng, 40));
    case 'text':
      return Array.from({ length: nextBelow(prng, 20) }, () =>
        pick(prng, ['a', '0', ':', 'é', '€', '𝄞', '\u0000']),
      ).join('');
    case 'enum':
      return pick(prng, field.values);
    case 'array':
      return Array.from({ length: nextBelow(prng, 4) }, () =>
        Object.fromEntries(field.of.map((inner) => [inner.name, randomValue(prng, inner)])),
      );
    default:
      return unreachable(field);
  }
}

/** Small values, the largest one and everything between. */
export function randomSafe(prng: PrngState): number {
  const kind = nextBelow(prng, 4);
  if (kind === 0) return nextBelow(prng, 3);
  if (kind === 1) return Number.MAX_SAFE_INTEGER - nextBelow(prng, 2);
  return nextBelow(prng, 0x20_0000) * 0x1_0000_0000 + nextBelow(prng, 0x1_0000_0000);
}

/** Bytes of any value. */
export function randomBytes(prng: PrngState, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => nextBelow(prng, 256));
}

/** Any 16 bytes as an id. */
export function randomUuid(prng: PrngState): string {
  return uuidFromBytes(randomBytes(prng, 16), 0);
}
