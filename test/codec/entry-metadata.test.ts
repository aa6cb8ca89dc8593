import { describe, expect, test } from 'vitest';

import { ByteReader, ByteWriter } from '../../src/base/bytes.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';
import { logIndex, term } from '../../src/base/ids.ts';
import type { Configuration, Member } from '../../src/base/membership.ts';
import {
  createEntryMetadata,
  ingestMetadataBytes,
  readEntryMetadata,
  writeEntryMetadata,
  writeIngestMetadata,
  type EntryMetadata,
} from '../../src/codec/entry-metadata.ts';
import {
  noOpPayload,
  readConfiguration,
  readSystemEntry,
  writeConfiguration,
  writeSystemEntry,
  type SystemEntry,
} from '../../src/codec/system-entry.ts';
import { bytesOf, hexOf, mutate, refusalOf } from './bytes-of.ts';
import { messageSamples } from './message-samples.ts';

const clientId = bytesOf('00112233445566778899aabbccddeeff');
const clientKey = String.fromCharCode(...clientId);

function read(bytes: Uint8Array): EntryMetadata {
  const into = createEntryMetadata();
  readEntryMetadata(bytes, { start: 0, end: bytes.length }, into);
  return into;
}

describe('metadata', () => {
  test('has the bytes of its layout', () => {
    const writer = new ByteWriter();
    writeEntryMetadata(writer, {
      clientId,
      sequence: 9,
      opaqueKey: Uint8Array.of(0x6b),
      ackedThrough: 4,
      firstSeenCommit: 300,
    });
    expect(hexOf(writer.take())).toBe(
      hexOf(
        bytesOf(
          '04 18 00112233445566778899aabbccddeeff 0900000000000000',
          '05 01 6b  06 08 0400000000000000  07 08 2c01000000000000',
        ),
      ),
    );
    const ingest = new Uint8Array(ingestMetadataBytes);
    writeIngestMetadata(ingest, 1_700_000_000_000.9);
    expect(hexOf(ingest)).toBe('030800' + '68e5cf8b010000');
  });

  test('comes back as it was written', () => {
    const writer = new ByteWriter();
    writer.zeros(ingestMetadataBytes);
    writeEntryMetadata(writer, {
      clientId,
      sequence: 9,
      opaqueKey: bytesOf('ff00'),
      ackedThrough: 0,
      firstSeenCommit: 7,
    });
    const bytes = writer.take();
    writeIngestMetadata(bytes, 1234);
    expect(read(bytes)).toEqual({
      ingestMs: 1234,
      clientKey,
      sequence: 9,
      opaqueKey: '\u00ff\u0000',
      ackedThrough: 0,
      firstSeenCommit: 7,
    });
  });

  test('that is absent leaves nothing of the entry before', () => {
    const into = createEntryMetadata();
    readEntryMetadata(bytesOf('06 08 0400000000000000'), { start: 0, end: 10 }, into);
    expect(into.ackedThrough).toBe(4);
    readEntryMetadata(bytesOf('aabb'), { start: 1, end: 1 }, into);
    expect(into).toEqual(createEntryMetadata());
  });

  test('tells clients apart whose ids are nearly the same', () => {
    const textOf = (first: string): string | undefined =>
      read(bytesOf(`04 18 ${first}112233445566778899aabbccddeeff 0900000000000000`)).clientKey;
    const texts = ['00', '01', '00', '01'].map(textOf);
    expect(texts.map((text) => text?.charCodeAt(0))).toEqual([0, 1, 0, 1]);
  });

  test('of later versions is skipped', () => {
    expect(read(bytesOf('01 02 aabb  63 00  06 08 0400000000000000'))).toMatchObject({
      ackedThrough: 4,
    });
  });

  test.each([
    [
      'a client id of another size',
      '04 17 00112233445566778899aabbccddeeff 09000000000000',
      'CLUSTOR_WIRE_BAD_VALUE',
    ],
    ['a key of 65 bytes', `05 41 ${'00'.repeat(65)}`, 'CLUSTOR_WIRE_BAD_VALUE'],
    ['a number of four bytes', '06 04 01000000', 'CLUSTOR_WIRE_BAD_VALUE'],
    ['a number past 2^53 − 1', '07 08 ffffffffffffffff', 'CLUSTOR_WIRE_BAD_VALUE'],
    ['a field that is cut', '07 08 0100', 'CLUSTOR_WIRE_BODY_TOO_SHORT'],
    ['a tag alone', '07', 'CLUSTOR_WIRE_BODY_TOO_SHORT'],
  ])('with %s is refused', (_name, hex, code) => {
    expect(refusalOf(() => read(bytesOf(hex)))).toBe(code);
  });

  test('with a key of 65 bytes is never written', () => {
    const write = (): void =>
      writeEntryMetadata(new ByteWriter(), { opaqueKey: new Uint8Array(65) });
    expect(refusalOf(write)).toBe('CLUSTOR_INVALID_ARGUMENT');
  });

  test('that is damaged meets catalogued errors only', () => {
    const writer = new ByteWriter();
    writeEntryMetadata(writer, {
      clientId,
      sequence: 9,
      opaqueKey: bytesOf('ff00'),
      ackedThrough: 0,
      firstSeenCommit: 7,
    });
    const whole = writer.take();
    const prng = createPrng(6);
    for (let round = 0; round < 3000; round++) refusalOf(() => read(mutate(prng, whole)));
  });
});

const member = (number: number, addresses: readonly string[] = []): Member => ({
  replicaId: messageSamples.durabilityAck.replicaId,
  nodeId: messageSamples.hello.nodeId,
  incarnation: messageSamples.durabilityAck.incarnation,
  role: (['voter', 'learner', 'observer'] as const)[number % 3]!,
  addresses,
});

const change: SystemEntry = {
  kind: 'membershipChange',
  phase: 'joint',
  oldMembers: [member(0), member(1)],
  newMembers: [member(2, ['db1:7400', '[::1]:7400'])],
  routingEpoch: 3,
  placementDigest: new Uint8Array(32).fill(0xdd),
};

function written(entry: Exclude<SystemEntry, { kind: 'unknown' }>): Uint8Array {
  const writer = new ByteWriter();
  writeSystemEntry(writer, entry);
  return writer.take();
}

describe('a system entry', () => {
  test("of a term's start is one zero byte", () => {
    expect(hexOf(noOpPayload)).toBe('00');
    expect(readSystemEntry(noOpPayload, 0, 1)).toEqual({ kind: 'noOp' });
    expect(hexOf(written({ kind: 'noOp' }))).toBe('00');
  });

  test('of a membership change has the bytes of its layout and comes back', () => {
    const bytes = written(change);
    const row = `0300000000000000 0200000000000000 303132333435363738393a3b3c3d3e3f`;
    expect(hexOf(bytes)).toBe(
      hexOf(
        bytesOf(
          '01 01',
          `0200 ${row} 00 0000 ${row} 01 0000`,
          `0100 ${row} 02 0200 08000000 6462313a37343030 0a000000 5b3a3a315d3a37343030`,
          '03000000',
          'dd'.repeat(32),
        ),
      ),
    );
    expect(readSystemEntry(bytes, 0, bytes.length)).toEqual(change);
  });

  test('that is not known is told by its id, never skipped', () => {
    expect(readSystemEntry(bytesOf('09 01 02'), 0, 3)).toEqual({ kind: 'unknown', id: 9 });
  });

  test('that is cut anywhere is too short', () => {
    const bytes = written(change);
    for (let length = 0; length < bytes.length; length++) {
      expect(refusalOf(() => readSystemEntry(bytes, 0, length))).toBe(
        'CLUSTOR_WIRE_BODY_TOO_SHORT',
      );
    }
  });

  test('with more members or addresses than there can be is refused', () => {
    expect(refusalOf(() => readSystemEntry(bytesOf('01 00 4100'), 0, 4))).toBe(
      'CLUSTOR_WIRE_BAD_VALUE',
    );
    const addresses = bytesOf('01 00 0100', '00'.repeat(33), '1100');
    expect(refusalOf(() => readSystemEntry(addresses, 0, addresses.length))).toBe(
      'CLUSTOR_WIRE_BAD_VALUE',
    );
  });

  test('that is damaged meets catalogued errors only', () => {
    const whole = written(change);
    const prng = createPrng(8);
    for (let round = 0; round < 3000; round++) {
      const bytes = mutate(prng, whole);
      refusalOf(() => readSystemEntry(bytes, nextBelow(prng, 2), bytes.length));
    }
  });
});

test('a configuration comes back as it was written', () => {
  const configuration: Configuration = {
    term: term(4),
    index: logIndex(900),
    members: [member(0, ['a:1']), member(1)],
    outgoingMembers: [member(2)],
  };
  const writer = new ByteWriter();
  writeConfiguration(writer, configuration);
  expect(readConfiguration(new ByteReader(writer.take()))).toEqual(configuration);
});
