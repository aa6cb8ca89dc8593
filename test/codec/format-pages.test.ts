/** Every byte of a file of the data directory is accounted for by the layouts that the files and the pages come from. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import {
  dissectIndex,
  dissectLedger,
  dissectSegment,
  gapsOf,
  type Piece,
} from '../../scripts/format-dissection.ts';
import {
  fixtureFile,
  fixtureLedger,
  fixtureSegment,
  ledgerPage,
  walPage,
} from '../../scripts/format-pages.ts';
import {
  entryBodyLayout,
  entryFrameOverheadBytes,
  entryHeaderBytes,
  entryHeaderLayout,
  entryLeafTrailerBytes,
  entryTrailerBytes,
  entryTrailerLayout,
  frameBytesAt,
  frameCrc,
  frameIndex,
  framePartitionId,
  frameTerm,
} from '../../src/codec/entry-frame.ts';
import { decodeSegmentIndex } from '../../src/codec/idx-format.ts';
import { layoutBytes, offsetOf } from '../../src/codec/layout.ts';
import { ledgerRecordRows } from '../../src/codec/ledger-records.ts';
import {
  unitFirstFrame,
  unitFlags,
  unitHeaderBytes,
  unitHeaderLayout,
  claimedPlainBytes,
  segmentSeqOfFileName,
} from '../../src/codec/segment-format.ts';

const root = join(import.meta.dirname, '..', '..');
const kinds = ['plain', 'encrypted'] as const;

/** Numbers of the segments of a fixture. */
function segmentsOf(kind: (typeof kinds)[number]): readonly number[] {
  const wal = join(root, 'test', 'fixtures', 'formats', 'v2', kind, 'data', 'wal');
  return readdirSync(wal).flatMap((name) => segmentSeqOfFileName(name) ?? []);
}

function valuesOf(pieces: readonly Piece[], name: string): readonly string[] {
  return pieces.filter((piece) => piece.name === name).map(({ value }) => value);
}

describe('the pages of the file formats', () => {
  test.each([
    ['wal.md', walPage],
    ['ledger.md', ledgerPage],
  ])('%s is what the layouts say', (name, text) => {
    const page = readFileSync(join(root, 'docs', 'internals', name), 'utf8');

    expect(page, 'run `npm run docs`').toBe(text());
  });

  test('have a section for every kind of record, and numbers of their own', () => {
    const text = ledgerPage();
    for (const [kind, { number, fields }] of Object.entries(ledgerRecordRows)) {
      const section = text.split(`\n### ${number} ${kind}\n`)[1]?.split('\n### ')[0] ?? '';
      for (const { name } of fields) expect(section, kind).toContain(`\`${name}\``);
    }
    const numbers = Object.values(ledgerRecordRows).map(({ number }) => number);
    expect(new Set(numbers).size).toBe(numbers.length);
  });
});

describe.each(kinds)('every byte of the %s fixture is accounted for', (kind) => {
  test.each(segmentsOf(kind))('in segment %i', (segmentSeq) => {
    const segment = fixtureSegment(kind, segmentSeq);

    expect(gapsOf(dissectSegment(segment.bytes, segment), segment.bytes.length)).toEqual([]);
  });

  test('in the ledger, whose two copies of each flush say the same', () => {
    const { bytes, generation } = fixtureLedger(kind);

    const pieces = dissectLedger(bytes, generation);

    expect(gapsOf(pieces, bytes.length)).toEqual([]);
    const sayings = (copy: string): string[] =>
      pieces
        .filter(({ part }) => part.includes(copy))
        .map(({ part, name, value }) => `${part.replace(copy, '')} ${name} ${value}`);
    expect(sayings('copy 1').length).toBeGreaterThan(100);
    expect(sayings('copy 2')).toEqual(sayings('copy 1'));
  });

  test('in the index', () => {
    const bytes = fixtureFile(kind, 'segment-0000000000000002.idx');

    expect(gapsOf(dissectIndex(bytes), bytes.length)).toEqual([]);
  });
});

describe('what is written and read by hand is what its layout says', () => {
  test('headers of units', () => {
    const { bytes, ...segment } = fixtureSegment('plain', 2);
    const pieces = dissectSegment(bytes, segment).filter(({ part }) => part.startsWith('unit '));
    const starts = pieces.filter(({ name }) => name === 'plainBytes').map(({ start }) => start);
    expect(starts.length).toBe(15);

    const read = (value: (bytes: Uint8Array, at: number) => number): string[] =>
      starts.map((start) => `${value(bytes, start)}`);

    expect(valuesOf(pieces, 'plainBytes')).toEqual(read(claimedPlainBytes));
    expect(valuesOf(pieces, 'firstFrame')).toEqual(read(unitFirstFrame));
    expect(valuesOf(pieces, 'flags')).toEqual(read(unitFlags));
    expect(layoutBytes(unitHeaderLayout)).toBe(unitHeaderBytes);
  });

  test('frames', () => {
    const { bytes, ...segment } = fixtureSegment('plain', 2);
    const pieces = dissectSegment(bytes, segment);
    // Those that stand in one piece: a frame over several units is cut.
    const starts = pieces
      .filter(({ part, name }) => part === 'frame' && name === 'version')
      .map(({ start }) => start)
      .filter((start) => frameBytesAt(bytes, start, bytes.length) < 16_000);
    expect(starts.length).toBeGreaterThan(5);

    for (const start of starts) {
      const end = start + frameBytesAt(bytes, start, bytes.length);
      const frame = pieces.filter((piece) => piece.start >= start && piece.end <= end);
      expect(valuesOf(frame, 'partitionId')).toEqual([framePartitionId(bytes, start)]);
      expect(valuesOf(frame, 'term')).toEqual([`${frameTerm(bytes, start)}`]);
      expect(valuesOf(frame, 'index')).toEqual([`${frameIndex(bytes, start)}`]);
      expect(valuesOf(frame, 'crc')).toEqual([`${frameCrc(bytes, start)}`]);
      expect(
        gapsOf(
          frame.map((piece) => ({ ...piece, start: piece.start - start, end: piece.end - start })),
          end - start,
        ),
      ).toEqual([]);
    }
    expect(layoutBytes(entryHeaderLayout)).toBe(entryHeaderBytes);
    expect(layoutBytes(entryTrailerLayout)).toBe(entryLeafTrailerBytes);
    expect(offsetOf(entryTrailerLayout, 'leaf')).toBe(entryTrailerBytes);
    expect(entryFrameOverheadBytes).toBe(
      entryHeaderBytes + layoutBytes(entryBodyLayout) + entryTrailerBytes,
    );
  });

  test('rows of an index', () => {
    const bytes = fixtureFile('plain', 'segment-0000000000000002.idx');
    const pieces = dissectIndex(bytes);
    const expected = { segmentSeq: 2, endOffset: Number(valuesOf(pieces, 'endOffset')[0]) };
    const rows = decodeSegmentIndex(bytes, expected)?.rows ?? [];
    const slots = valuesOf(pieces, 'partitionId');

    expect(rows.length).toBeGreaterThan(5);
    expect(valuesOf(pieces, 'slot').map((slot) => slots[Number(slot)])).toEqual(
      rows.map(({ partitionId }) => partitionId),
    );
    for (const name of ['term', 'firstIndex', 'block', 'offset', 'count'] as const)
      expect(valuesOf(pieces, name)).toEqual(rows.map((row) => `${row[name]}`));
  });
});
