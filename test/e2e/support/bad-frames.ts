/** Frames that no honest peer sends: truncated, oversized, random, and good ones with a few bytes changed. */
import { nextBelow, nextFloat, nextUint32, pick, type PrngState } from '../../../src/base/prng.ts';
import {
  bodyBytesMax,
  wireCatalog,
  type FieldRow,
  type MessageRow,
} from '../../../src/codec/wire-catalog.ts';
import type { WireMessage } from '../../../src/codec/wire-messages.ts';
import { frameOf } from './raw-peer.ts';

/** Kinds of bad frames. */
export const badFrameKinds = [
  'truncated',
  'oversized',
  'short',
  'random',
  'changed',
  'tooLargeForItsKind',
] as const;
/** One of them. */
export type BadFrameKind = (typeof badFrameKinds)[number];

/** A bad frame; a `truncated` one waits for bytes that never come. */
export interface BadFrame {
  readonly kind: BadFrameKind;
  readonly bytes: Uint8Array;
}

const rows = wireCatalog as readonly MessageRow[];
const goodbyeId = rows.find(({ kind }) => kind === 'goodbye')?.id;
const prefixBytes = 4;

/** Draws a bad frame. What would be understood as a farewell is not drawn: it rightly ends a connection without a word. */
export function drawBadFrame(prng: PrngState): BadFrame {
  for (;;) {
    const frame = drawFrame(prng);
    if (frame.bytes[prefixBytes] !== goodbyeId) return frame;
  }
}

function drawFrame(prng: PrngState): BadFrame {
  const kind = pick(prng, badFrameKinds);
  switch (kind) {
    case 'truncated': {
      const frame = goodFrame(prng);
      return { kind, bytes: frame.subarray(0, 1 + nextBelow(prng, frame.length - 1)) };
    }
    case 'oversized': {
      const bytes = randomBytes(prng, 32);
      const claimed = bodyBytesMax + 1 + nextBelow(prng, 0xffff_ffff - bodyBytesMax);
      new DataView(bytes.buffer).setUint32(0, claimed, true);
      return { kind, bytes };
    }
    case 'short':
      return { kind, bytes: framed(randomBytes(prng, nextBelow(prng, 4))) };
    case 'random':
      return { kind, bytes: framed(randomBytes(prng, 4 + nextBelow(prng, 200))) };
    case 'changed': {
      const bytes = goodFrame(prng);
      for (let count = 1 + nextBelow(prng, 4); count > 0; count--) {
        bytes[prefixBytes + nextBelow(prng, bytes.length - prefixBytes)] = nextBelow(prng, 256);
      }
      return { kind, bytes };
    }
    case 'tooLargeForItsKind': {
      const small = rows.filter((row) => row.bodyBytesMax <= 4096);
      const body = randomBytes(prng, 4097 + nextBelow(prng, 4096));
      body[0] = pick(prng, small).id;
      return { kind, bytes: framed(body) };
    }
  }
}

/** A well-formed message of any kind but the handshake's, about partitions that do not exist. */
function goodFrame(prng: PrngState): Uint8Array {
  const row = pick(
    prng,
    rows.filter(({ kind }) => !['hello', 'helloAccepted', 'goodbye'].includes(kind)),
  );
  const head = {
    requestId: nextUint32(prng),
    deadlineMs: 100,
    routingEpoch: 0,
    partitionId: uuid(prng),
    toIncarnation: uuid(prng),
  };
  const fields = Object.fromEntries(row.fields.map((field) => [field.name, valueOf(field, prng)]));
  return frameOf({ kind: row.kind, ...head, ...fields } as unknown as WireMessage);
}

function valueOf(field: FieldRow, prng: PrngState): unknown {
  switch (field.type) {
    case 'enum':
      return pick(prng, field.values);
    case 'array': {
      const length = nextBelow(prng, 4);
      const entryOf = (): object =>
        Object.fromEntries(field.of.map((inner) => [inner.name, valueOf(inner, prng)]));
      return Array.from({ length }, entryOf);
    }
    case 'bool':
      return nextFloat(prng) < 0.5;
    case 'bytes':
    case 'rest':
      return randomBytes(prng, nextBelow(prng, 64));
    case 'text':
      return 'some text';
    case 'partitionId':
    case 'incarnation':
    case 'clusterId':
      return uuid(prng);
    case 'u8':
    case 'flags8':
      return nextBelow(prng, 2);
    default:
      return nextBelow(prng, 1000);
  }
}

function framed(body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(prefixBytes + body.length);
  new DataView(bytes.buffer).setUint32(0, body.length, true);
  bytes.set(body, prefixBytes);
  return bytes;
}

function randomBytes(prng: PrngState, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, () => nextBelow(prng, 256));
}

function uuid(prng: PrngState): string {
  const hex = Buffer.from(randomBytes(prng, 16)).toString('hex');
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join('-');
}
