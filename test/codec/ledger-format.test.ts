import { describe, expect, test } from 'vitest';

import { ByteWriter } from '../../src/base/bytes.ts';
import { crc32c } from '../../src/base/crc32c.ts';
import { logIndex, partitionId, term } from '../../src/base/ids.ts';
import type { Member } from '../../src/base/membership.ts';
import { createPrng } from '../../src/base/prng.ts';
import {
  beginLedgerFlush,
  endLedgerFlush,
  ledgerBlockBytes,
  ledgerHeaderMac,
  ledgerHeaderMacInput,
  readLedgerFileHeader,
  readLedgerFlush,
  writeLedgerFileHeader,
  type LedgerFlushHeader,
} from '../../src/codec/ledger-format.ts';
import { writeLedgerRecord, type LedgerRecord } from '../../src/codec/ledger-records.ts';
import { bytesOf, hexOf, mutate, refusalOf, u32Hex, u64Hex } from './bytes-of.ts';
import { messageSamples } from './message-samples.ts';

const partition = partitionId('10111213-1415-1617-1819-1a1b1c1d1e1f');
const { replicaId, incarnation } = messageSamples.durabilityAck;
const { clusterId, nodeId } = messageSamples.hello;
const member: Member = { replicaId, nodeId, incarnation, role: 'voter', addresses: ['db1:7400'] };

/** One record of every kind and its bytes: kind, length, payload. */
const records: readonly (readonly [LedgerRecord, string])[] = [
  [
    {
      kind: 'hardState',
      partitionId: partition,
      term: term(7),
      votedFor: { replicaId, incarnation },
      durabilityModeEpoch: 2,
    },
    '01 3500 101112131415161718191a1b1c1d1e1f 0700000000000000 01 0300000000000000 303132333435363738393a3b3c3d3e3f 02000000',
  ],
  [
    {
      kind: 'hardState',
      partitionId: partition,
      term: term(8),
      votedFor: undefined,
      durabilityModeEpoch: 0,
    },
    `01 3500 101112131415161718191a1b1c1d1e1f 0800000000000000 00 0000000000000000 ${'00'.repeat(16)} 00000000`,
  ],
  [
    {
      kind: 'durability',
      partitionId: partition,
      term: term(7),
      index: logIndex(300),
      commitIndex: logIndex(299),
    },
    '02 2800 101112131415161718191a1b1c1d1e1f 0700000000000000 2c01000000000000 2b01000000000000',
  ],
  [
    {
      kind: 'truncated',
      partitionId: partition,
      fromIndex: logIndex(300),
      segmentSeq: 4,
      offset: 8192,
    },
    '03 2800 101112131415161718191a1b1c1d1e1f 2c01000000000000 0400000000000000 0020000000000000',
  ],
  [
    {
      kind: 'configuration',
      partitionId: partition,
      configuration: { term: term(1), index: logIndex(2), members: [member], outgoingMembers: [] },
    },
    '04 5300 101112131415161718191a1b1c1d1e1f 0100000000000000 0200000000000000 0100 0300000000000000 0200000000000000' +
      '303132333435363738393a3b3c3d3e3f 00 0100 08000000 6462313a37343030 0000',
  ],
  [
    { kind: 'snapshotBase', partitionId: partition, index: logIndex(300), term: term(7) },
    '05 2000 101112131415161718191a1b1c1d1e1f 2c01000000000000 0700000000000000',
  ],
  [
    { kind: 'segmentOpened', segmentSeq: 4, reservedBlocks: 1024 },
    '06 1000 0400000000000000 0004000000000000',
  ],
  [
    { kind: 'segmentClosed', segmentSeq: 4, endOffset: 8192, trailerOffset: 12288, blocksSpent: 2 },
    '07 2000 0400000000000000 0020000000000000 0030000000000000 0200000000000000',
  ],
  [
    { kind: 'doubt', partitionId: partition, incarnation, reason: 'OK' },
    '08 2600 101112131415161718191a1b1c1d1e1f 303132333435363738393a3b3c3d3e3f 02000000 4f4b',
  ],
  [
    {
      kind: 'nonceAbandon',
      segmentSeq: 4,
      reason: 'rewriteInterrupted',
      reservedBlocks: 9,
      blocksSpent: 2,
    },
    '14 1900 0400000000000000 01 0900000000000000 0200000000000000',
  ],
  [
    { kind: 'segmentRewriting', segmentSeq: 4, dekEpoch: 3, reservedBlocks: 9 },
    '15 1400 0400000000000000 03000000 0900000000000000',
  ],
  [
    {
      kind: 'rangeMoved',
      partitionId: partition,
      firstIndex: logIndex(300),
      lastIndex: logIndex(301),
      lastTerm: term(7),
      toSegment: 4,
      endOffset: 8192,
      cause: 'copy',
    },
    '11 3900 101112131415161718191a1b1c1d1e1f 2c01000000000000 2d01000000000000 0700000000000000 ' +
      '0400000000000000 0020000000000000 01',
  ],
  [
    {
      kind: 'quarantine',
      partitionId: partition,
      incarnation,
      isActive: true,
      sinceMs: 300,
      begunMs: [300],
      ranges: [{ firstIndex: logIndex(2), lastIndex: logIndex(3) }],
    },
    '12 4600 101112131415161718191a1b1c1d1e1f 303132333435363738393a3b3c3d3e3f 01 01 2c01000000000000 ' +
      '0100 2c01000000000000 0100 0200000000000000 0300000000000000',
  ],
  [
    {
      kind: 'hold',
      partitionId: partition,
      incarnation,
      reason: 'Administrative',
      isActive: true,
      sinceMs: 300,
      index: logIndex(2),
      detail: 'ab',
      ticket: 'c',
    },
    '13 3d00 101112131415161718191a1b1c1d1e1f 303132333435363738393a3b3c3d3e3f 03 01 2c01000000000000 ' +
      '0200000000000000 02000000 6162 01000000 63',
  ],
];

const flushHeader: LedgerFlushHeader = {
  generation: 1,
  flushSeq: 12,
  syncedFlushSeq: 11,
  segmentSeq: 4,
  endOffset: 8192,
  ioWriterMode: 'Pooled',
};
const flushHeaderHex =
  '464c5348 0100000000000000 0c00000000000000 0b00000000000000 0400000000000000 0020000000000000 01 000000';

function flushOf(rows: readonly LedgerRecord[]): Uint8Array {
  const writer = new ByteWriter();
  const start = beginLedgerFlush(writer, flushHeader);
  for (const row of rows) writeLedgerRecord(writer, row);
  endLedgerFlush(writer, start);
  return writer.take();
}

/** A flush around record bytes of any kind, with a CRC that fits. */
function sealedAround(recordBytes: Uint8Array): Uint8Array {
  const covered = bytesOf(
    flushHeaderHex,
    u32Hex(recordBytes.length),
    '00000000',
    hexOf(recordBytes),
  );
  const bytes = new Uint8Array(Math.ceil(covered.length / ledgerBlockBytes) * ledgerBlockBytes);
  bytes.set(covered);
  bytes.set(bytesOf(u32Hex(crc32c(covered))), 52);
  return bytes;
}

describe('the header of a ledger', () => {
  const header = { clusterId, nodeId, generation: 3, macEpoch: 0 };
  const written = (): Uint8Array => {
    const writer = new ByteWriter();
    writeLedgerFileHeader(writer, header);
    return writer.take();
  };

  test('has the bytes of its layout and comes back', () => {
    const covered = bytesOf(
      '434c5354524c4447 01 00000000000000 404142434445464748494a4b4c4d4e4f 0200000000000000 0300000000000000 00000000',
    );
    const block = hexOf(covered) + u32Hex(crc32c(covered)) + '00'.repeat(ledgerBlockBytes - 56);
    expect(hexOf(written())).toBe(block);
    expect(readLedgerFileHeader(written(), 0)).toEqual(header);
  });

  test('is signed where there are keys: the HMAC stands behind everything that it covers', () => {
    const writer = new ByteWriter();
    let covered: Uint8Array | undefined;
    writeLedgerFileHeader(writer, { ...header, macEpoch: 2 }, (bytes) => {
      covered = bytes;
      return new Uint8Array(32).fill(0xab);
    });
    const bytes = writer.take();

    expect(bytes.length).toBe(ledgerBlockBytes);
    expect(hexOf(ledgerHeaderMacInput(bytes, 0))).toBe(hexOf(covered ?? new Uint8Array(0)));
    expect(covered?.length).toBe(56);
    expect(hexOf(ledgerHeaderMac(bytes, 0))).toBe('ab'.repeat(32));
    expect(readLedgerFileHeader(bytes, 0)).toMatchObject({ macEpoch: 2 });
  });

  test('is written twice, and either copy is enough', () => {
    const writer = new ByteWriter();
    for (let copy = 0; copy < 2; copy++) writeLedgerFileHeader(writer, header);
    const bytes = writer.take();
    bytes[20] = 0xff;
    expect(readLedgerFileHeader(bytes, 0)).toBeUndefined();
    expect(readLedgerFileHeader(bytes, ledgerBlockBytes)).toEqual(header);
  });

  test('with any single bit of its fields changed, or cut, is damaged', () => {
    const bytes = written();
    for (let bit = 0; bit < 56 * 8; bit++) {
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(readLedgerFileHeader(bytes, 0), `bit ${bit}`).toBeUndefined();
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    }
    for (const length of [0, 7, 56, ledgerBlockBytes - 1]) {
      expect(readLedgerFileHeader(bytes.slice(0, length), 0)).toBeUndefined();
    }
  });

  test('of a newer version is of an unsupported format', () => {
    const bytes = written();
    bytes[8] = 2;
    bytes.set(bytesOf(u32Hex(crc32c(bytes, 0, 52))), 52);
    expect(refusalOf(() => readLedgerFileHeader(bytes, 0))).toBe('CLUSTOR_FORMAT_UNSUPPORTED');
  });
});

describe('a flush', () => {
  test.each(records)('with a record %o has the bytes of its layout', (record, hex) => {
    expect(hexOf(flushOf([record]))).toBe(hexOf(sealedAround(bytesOf(hex))));
  });

  test('comes back with every record in order', () => {
    const rows = records.map(([record]) => record);
    expect(readLedgerFlush(flushOf(rows), 0)).toEqual({ ...flushHeader, blocks: 1, records: rows });
    expect(readLedgerFlush(flushOf([]), 0)).toEqual({ ...flushHeader, blocks: 1, records: [] });
  });

  test('of many records fills whole blocks', () => {
    const rows = Array.from({ length: 400 }, () => records[2]![0]);
    const bytes = flushOf(rows);
    expect(bytes.length % ledgerBlockBytes).toBe(0);
    expect(readLedgerFlush(bytes, 0)).toMatchObject({
      blocks: bytes.length / ledgerBlockBytes,
      records: rows,
    });
  });

  test('is found at its offset only', () => {
    const bytes = new Uint8Array(3 * ledgerBlockBytes);
    bytes.set(flushOf([records[0]![0]]), ledgerBlockBytes);
    expect(readLedgerFlush(bytes, 0)).toBeUndefined();
    expect(readLedgerFlush(bytes, ledgerBlockBytes)).toMatchObject({ flushSeq: 12 });
    expect(readLedgerFlush(bytes, 2 * ledgerBlockBytes)).toBeUndefined();
    expect(readLedgerFlush(bytes, 3 * ledgerBlockBytes)).toBeUndefined();
  });

  test('with any single bit of header or records changed is none', () => {
    const bytes = flushOf([records[0]![0], records[2]![0]]);
    const used = 56 + 56 + 43;
    for (let bit = 0; bit < used * 8; bit++) {
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(readLedgerFlush(bytes, 0), `bit ${bit}`).toBeUndefined();
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    }
  });

  test('that is cut is none', () => {
    const bytes = flushOf(Array.from({ length: 200 }, () => records[2]![0]));
    for (let length = 0; length < bytes.length - ledgerBlockBytes; length += 97) {
      expect(readLedgerFlush(bytes.slice(0, length), 0)).toBeUndefined();
    }
  });

  test('of another writer mode is of an unsupported format, and no torn write', () => {
    const bytes = flushOf([]);
    bytes[44] = 9;
    bytes.fill(0, 52, 56);
    bytes.set(bytesOf(u32Hex(crc32c(bytes, 0, 56))), 52);
    expect(refusalOf(() => readLedgerFlush(bytes, 0))).toBe('CLUSTOR_FORMAT_UNSUPPORTED');
  });

  test('with a durability mode of a later version is of an unsupported format', () => {
    const id = partition.replaceAll('-', '');
    const later = sealedAround(bytesOf('10 1d00', id, '07 02000000', u64Hex(300)));
    expect(refusalOf(() => readLedgerFlush(later, 0))).toBe('CLUSTOR_FORMAT_UNSUPPORTED');
  });

  test('whose number is too large, though its CRC fits, is an integrity failure', () => {
    const bytes = flushOf([]);
    bytes[11] = 0xff;
    bytes.fill(0, 52, 56);
    bytes.set(bytesOf(u32Hex(crc32c(bytes, 0, 56))), 52);
    expect(refusalOf(() => readLedgerFlush(bytes, 0))).toBe('CLUSTOR_INTEGRITY');
  });

  test('with a record of a later version is of an unsupported format', () => {
    const later = sealedAround(bytesOf('63 0200 aabb'));
    expect(refusalOf(() => readLedgerFlush(later, 0))).toBe('CLUSTOR_FORMAT_UNSUPPORTED');
  });

  test('whose records are cut, though its CRC fits, is an integrity failure', () => {
    for (const [, hex] of records) {
      const whole = bytesOf(hex);
      for (let length = 1; length < whole.length; length++) {
        expect(refusalOf(() => readLedgerFlush(sealedAround(whole.subarray(0, length)), 0))).toBe(
          'CLUSTOR_INTEGRITY',
        );
      }
    }
  });

  test('that is damaged or made up meets catalogued errors only', () => {
    const prng = createPrng(5);
    const whole = bytesOf(...records.map(([, hex]) => hex));
    for (let round = 0; round < 2000; round++) {
      refusalOf(() => readLedgerFlush(sealedAround(mutate(prng, whole)), 0));
    }
    const flush = flushOf(records.map(([record]) => record));
    for (let round = 0; round < 200; round++)
      refusalOf(() => readLedgerFlush(mutate(prng, flush), 0));
  });
});

describe('a record', () => {
  test('of a long doubt is cut, so that it can be read again', () => {
    const doubt: LedgerRecord = {
      kind: 'doubt',
      partitionId: partition,
      incarnation,
      reason: '€'.repeat(3000),
    };
    expect(readLedgerFlush(flushOf([doubt]), 0)?.records).toEqual([
      { ...doubt, reason: '€'.repeat(256) },
    ]);
  });

  test('that does not fit its length field is a bug of the caller, never a damaged ledger', () => {
    const address = 'a'.repeat(250);
    const crowded = { ...member, addresses: Array.from({ length: 16 }, () => address) };
    const members = Array.from({ length: 64 }, () => crowded);
    const configuration = { term: term(1), index: logIndex(2), members, outgoingMembers: [] };
    const record: LedgerRecord = { kind: 'configuration', partitionId: partition, configuration };
    expect(() => flushOf([record])).toThrow(/fits its length field/);
  });
});
