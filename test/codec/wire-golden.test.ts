import { describe, expect, test } from 'vitest';

import { ByteReader, ByteWriter } from '../../src/base/bytes.ts';
import { FrameAssembler } from '../../src/codec/frame-assembler.ts';
import { wireCatalog, type MessageKind } from '../../src/codec/wire-catalog.ts';
import { decodeBody, encodeMessage } from '../../src/codec/wire-messages.ts';
import { bytesOf, hexOf, refusalOf, u32Hex, u64Hex } from './bytes-of.ts';
import { messageSamples } from './message-samples.ts';

const partition = '101112131415161718191a1b1c1d1e1f 202122232425262728292a2b2c2d2e2f';
const replica3 = '0300000000000000';
const life3 = '303132333435363738393a3b3c3d3e3f';
const cluster = '404142434445464748494a4b4c4d4e4f';
const boot = '505152535455565758595a5b5c5d5e5f';
const request = '0201000000000000 e8030000 01000000';
const ok = '02000000 4f4b';
const term7 = '0700000000000000';
const index301 = '2d01000000000000';

/** Bodies written down by hand: head, then the fields in order. */
const golden: Readonly<Record<MessageKind, readonly string[]>> = {
  preVoteRequest: [
    '01 00 0000',
    partition,
    replica3,
    life3,
    term7,
    '2c01000000000000 0600000000000000 01',
  ],
  preVoteResponse: [
    '02 01 0000',
    partition,
    '1a00 10 18',
    replica3,
    life3,
    '2a00000000000000 01 01 01',
  ],
  voteRequest: [
    '03 00 0000',
    partition,
    replica3,
    life3,
    term7,
    '2c01000000000000 0600000000000000 00',
  ],
  voteResponse: ['04 00 0000', partition, replica3, life3, term7, '01'],
  appendEntries: [
    '05 00 0000',
    partition,
    replica3,
    life3,
    term7,
    '2c01000000000000 0600000000000000 2b01000000000000 00 02000000 cafe',
  ],
  appendRejected: [
    '06 00 0000',
    partition,
    replica3,
    life3,
    term7,
    '2c01000000000000 1801000000000000 0500000000000000 0e01000000000000 0c00000000000000',
  ],
  durabilityAck: [
    '07 00 0000',
    partition,
    replica3,
    index301,
    '0400000000000000 01',
    term7,
    life3,
    '0d00000000000000 0000000000000000',
  ],
  heartbeatBatch: [
    '08 00 0000 0100',
    partition,
    replica3,
    life3,
    term7,
    '0900000000000000 2b01000000000000 00',
  ],
  heartbeatBatchResponse: [
    '09 00 0000 dc050000 0100',
    partition,
    replica3,
    life3,
    term7,
    '0900000000000000 02 2c01',
  ],
  timeoutNow: ['0a 00 0000', partition, replica3, life3, term7],
  repairRequest: [
    '0b 00 0000',
    partition,
    replica3,
    life3,
    '0500000000000000 2c01000000000000',
    index301,
    '0100',
    index301,
    term7,
  ],
  repairResponse: [
    '0c 00 0000',
    partition,
    replica3,
    life3,
    '0500000000000000 01',
    index301,
    term7,
    '2c01000000000000 02000000 cafe',
  ],
  appendRequest: ['20 00 0000', request, partition, '0100 03000000 05016b', ok],
  appendResponse: [
    '21 00 0000',
    request,
    partition,
    '0100 0000 e4070000 02',
    term7,
    index301,
    '0200000000000000',
    ok,
  ],
  readIndexRequest: ['22 00 0000', request, partition],
  readIndexResponse: ['23 00 0000', request, partition, term7, index301],
  readRequest: ['24 00 0000', request, partition, '01', ok],
  readResponse: ['25 00 0000', request, partition, index301, '00', ok],
  describeRequest: ['26 00 0000', request],
  describeResponse: [
    '27 00 0000',
    request,
    '0200000000000000',
    boot,
    '0100 101112131415161718191a1b1c1d1e1f 0100000000000000',
    ok,
    term7,
    index301,
    '00 0100 0100000000000000',
    ok,
  ],
  errorResponse: ['28 00 0000', request, '86030000 02 0000000000000000', ok],
  snapshotRequest: [
    '60 00 0000',
    partition,
    replica3,
    life3,
    '0500000000000000 2c01000000000000',
    index301,
    term7,
    '02000000',
  ],
  snapshotResponse: [
    '61 00 0000',
    partition,
    replica3,
    life3,
    '0500000000000000 02',
    index301,
    term7,
    '02000000 cafe',
  ],
  hello: [
    '70 00 0000 01 00 00004000 01000000 00',
    cluster,
    '0200000000000000',
    boot,
    '0100000000000000',
    ok,
  ],
  helloAccepted: [
    '71 00 0000 01 00 00004000 01000000 00',
    cluster,
    '0200000000000000',
    boot,
    '0100000000000000',
    ok,
  ],
  goodbye: ['72 00 0000 8a130000', ok],
  pingRequest: ['73 00 0000', request],
  pingResponse: ['74 00 0000', request],
  createReplicaRequest: [
    '75 00 0000',
    request,
    '101112131415161718191a1b1c1d1e1f',
    replica3,
    life3,
    '02000000 cafe',
    index301,
    term7,
  ],
  createReplicaResponse: ['76 00 0000', request],
};

describe('the bytes on the wire', () => {
  test.each(wireCatalog.map(({ kind }) => kind))('of %s are what the catalog says', (kind) => {
    const body = bytesOf(...golden[kind]);
    const writer = new ByteWriter();
    encodeMessage(messageSamples[kind], writer);

    expect(hexOf(writer.take())).toBe(u32Hex(body.length) + hexOf(body));
    expect(decodeBody(body, { forwardCompat: false })).toEqual(messageSamples[kind]);
  });

  test('a string is its u32 length and its bytes', () => {
    const writer = new ByteWriter();
    writer.text('OK');
    expect(hexOf(writer.take())).toBe('020000004f4b');
    expect(new ByteReader(bytesOf('020000004f4b')).text(10)).toBe('OK');
  });

  test('ids of messages are in the ranges of their families and never used twice', () => {
    const ids = wireCatalog.map(({ id }) => id as number);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(ids.every((id) => (id >= 0x01 && id <= 0x3f) || (id >= 0x60 && id <= 0x7f))).toBe(true);
  });
});

describe('a pre-vote response', () => {
  const head = ['02 01 0000', partition, '1a00 10 18', replica3, life3];
  const decode = (...payload: readonly string[]): unknown =>
    decodeBody(bytesOf(...head, ...payload), { forwardCompat: false });

  test('of eleven bytes says whether the round trip is slow', () => {
    expect(decode(u64Hex(42), '01 01 01')).toMatchObject({
      term: 42,
      voteGranted: true,
      highRtt: true,
    });
    expect(decode(u64Hex(42), '01 01 00')).toMatchObject({
      term: 42,
      voteGranted: true,
      highRtt: false,
    });
  });

  test('of nine bytes is that of an older sender', () => {
    expect(decode('2a00000000000000 00')).toMatchObject({
      term: 42,
      voteGranted: false,
      highRtt: false,
    });
  });

  test('of ten bytes says with its flag that nothing follows', () => {
    expect(decode('2a00000000000000 00 00')).toMatchObject({
      term: 42,
      voteGranted: false,
      highRtt: false,
    });
    expect(refusalOf(() => decode('2a00000000000000 01 01'))).toBe('CLUSTOR_WIRE_BODY_TOO_SHORT');
  });

  test('of twelve bytes is refused, unless later fields were agreed on', () => {
    const body = bytesOf(...head, '2a00000000000000 01 01 00 99');
    expect(refusalOf(() => decodeBody(body, { forwardCompat: false }))).toBe(
      'CLUSTOR_WIRE_UNKNOWN_FIELD',
    );
    expect(decodeBody(body, { forwardCompat: true })).toMatchObject({ term: 42, highRtt: false });
  });

  test('without its sender is refused', () => {
    const nameless = bytesOf('02 00 0000', partition, '2a00000000000000 01 01 00');
    expect(refusalOf(() => decodeBody(nameless, { forwardCompat: true }))).toBe(
      'CLUSTOR_WIRE_BAD_VALUE',
    );
  });

  test('may bring further blocks of later versions', () => {
    const later = bytesOf(
      '02 01 0000',
      partition,
      '1f00 63 03 aabbcc 10 18',
      replica3,
      life3,
      '2a00000000000000 01',
    );
    expect(decodeBody(later, { forwardCompat: false })).toMatchObject({
      fromReplica: 3,
      voteGranted: true,
    });
  });
});

test('a frame that declares twelve bytes and sends eight is not handed on', () => {
  const bodies: Uint8Array[] = [];
  const assembler = new FrameAssembler(4096);
  assembler.push(bytesOf('0c0000002a00000000000000'), (body) => bodies.push(body));
  expect(bodies).toEqual([]);
  assembler.push(bytesOf('01020304'), (body) => bodies.push(body));
  expect(bodies.map(hexOf)).toEqual(['2a0000000000000001020304']);
});
