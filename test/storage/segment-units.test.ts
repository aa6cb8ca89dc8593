/**
 * Segments whose units have any number of blocks, as the format has it and no release writes them: what reads them must not know
 * how large units were made, and damage costs no more than its unit (ADR 0023).
 */
import { describe, expect, test } from 'vitest';

import { clusterId, logIndex, nodeId, partitionId, term } from '../../src/base/ids.ts';
import { frameIndex } from '../../src/codec/entry-frame.ts';
import {
  blockBytes,
  blockOffset,
  flagFirstOfFlush,
  flagLastOfFlush,
  noFirstFrame,
  segmentFileName,
  unitBlocks,
  unitBlocksMax,
  unitHeaderBytes,
  unitPlainBytesMax,
  UnitSealer,
  writeSegmentHeader,
} from '../../src/codec/segment-format.ts';
import type { FileHandle, FileSystem } from '../../src/ports/file-system.ts';
import type { JournalKeys } from '../../src/storage/journal-keys.ts';
import { RunRows, rowOf } from '../../src/storage/run-rows.ts';
import { SegmentReader } from '../../src/storage/segment-reader.ts';
import { scanSegment, type SegmentScanResult } from '../../src/storage/segment-scan.ts';
import { entriesOf, frames } from './model-frames.ts';

const id = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');
const salt = new Uint8Array(16).fill(9);
const owner = {
  clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
  nodeId: nodeId(1),
  keys: { opener: () => new UnitSealer(salt) } as unknown as JournalKeys,
  isDead: () => false,
};

interface Unit {
  readonly first: number;
  readonly blocks: number;
  /** Bytes from its header to the end of its CRC. */
  readonly usedBytes: number;
  /** Indexes of the entries of which a part is in it. */
  readonly entries: ReadonlySet<number>;
}

interface Segment {
  readonly bytes: Uint8Array;
  readonly units: readonly Unit[];
  readonly lastIndex: number;
}

/** Flushes of entries of up to 9 KiB, sealed in units of the sizes given, in turn. */
function segmentOf(sizes: readonly number[]): Segment {
  const blocks: Uint8Array[] = [new Uint8Array(blockBytes)];
  writeSegmentHeader(blocks[0] ?? new Uint8Array(), {
    clusterId: owner.clusterId,
    nodeId: owner.nodeId,
    segmentSeq: 1,
    isEncrypted: false,
    dekEpoch: 0,
    integrityMacEpoch: 0,
    salt,
    createdMs: 0,
  });
  const sealer = new UnitSealer(salt);
  const units: Unit[] = [];
  let index = 0;
  let turn = 0;
  let number = 0;
  for (let flush = 0; flush < 6; flush++) {
    const first = index + 1;
    const parts = Array.from({ length: 4 + flush * 9 }, () => {
      index++;
      const payload = `${index}`.padEnd((index * 1237) % 9_000, '.');
      return frames(id, [{ index, term: 1, payload }]).bytes;
    });
    const stream = new Uint8Array(Buffer.concat(parts));
    let end = 0;
    const ends = parts.map((part) => (end += part.length));
    const starts = [0, ...ends.slice(0, -1)];
    for (let from = 0; from < stream.length;) {
      const size = unitPlainBytesMax(sizes[turn++ % sizes.length] ?? 1);
      const plain = stream.subarray(from, from + size);
      const to = from + plain.length;
      const count = unitBlocks(plain.length);
      const unit = new Uint8Array(count * blockBytes);
      unit.set(plain, unitHeaderBytes);
      const frame = starts.find((start) => start >= from && start < to);
      const isLast = to === stream.length ? flagLastOfFlush : 0;
      sealer.seal(unit, 0, {
        number,
        plainBytes: plain.length,
        firstFrame: frame === undefined ? noFirstFrame : frame - from,
        flags: isLast | (from === 0 ? flagFirstOfFlush : 0),
      });
      const within = ends.flatMap((frameEnd, at) =>
        frameEnd > from && (starts[at] ?? 0) < to ? [first + at] : [],
      );
      const usedBytes = unitHeaderBytes + plain.length + 4;
      units.push({ first: number, blocks: count, usedBytes, entries: new Set(within) });
      blocks.push(unit);
      number += count;
      from = to;
    }
  }
  return { bytes: new Uint8Array(Buffer.concat(blocks)), units, lastIndex: index };
}

/** A disk with this one file. */
function diskOf(bytes: Uint8Array): FileSystem {
  const source: Partial<FileSystem> = {
    listDirectory: () => Promise.resolve([segmentFileName(1)]),
    open: () => Promise.resolve(0 as FileHandle),
    size: () => Promise.resolve(bytes.length),
    read: (_file, position, length) => Promise.resolve(bytes.slice(position, position + length)),
    close: () => Promise.resolve(),
  };
  return source as FileSystem;
}

interface Scanned {
  readonly result: SegmentScanResult;
  readonly indexes: readonly number[];
  readonly damaged: readonly number[];
  readonly rows: RunRows;
}

async function scanned(bytes: Uint8Array, isPaced: boolean): Promise<Scanned> {
  const indexes: number[] = [];
  const damaged: number[] = [];
  const rows = new RunRows();
  const result = await scanSegment({
    fileSystem: diskOf(bytes),
    path: `/wal/${segmentFileName(1)}`,
    segmentSeq: 1,
    owner,
    coveredEnd: bytes.length,
    closedEnd: bytes.length,
    onFrame: (frame) => {
      indexes.push(frameIndex(frame.bytes, frame.start));
      rows.add(rowOf(frame), frame.flush);
    },
    onDamagedBlock: (block) => {
      damaged.push(block);
      rows.interrupt();
    },
    ...(isPaced ? { pace: () => Promise.resolve(true) } : {}),
  });
  return { result, indexes, damaged, rows };
}

function upTo(lastIndex: number): number[] {
  return Array.from({ length: lastIndex }, (_, at) => at + 1);
}

describe.each([
  ['one block, as in format 1', [1]],
  ['four', [4]],
  ['sixteen', [unitBlocksMax]],
  ['any number of blocks', [3, 16, 1, 7, 2, 15, 5]],
])('units of %s', (_name, sizes) => {
  const segment = segmentOf(sizes);
  const { bytes, units, lastIndex } = segment;

  test.each([false, true])('are all read (in small slices: %s)', async (isPaced) => {
    const { result, indexes, damaged } = await scanned(bytes, isPaced);

    expect(units.length).toBeGreaterThan(10);
    expect(indexes).toEqual(upTo(lastIndex));
    expect(damaged).toEqual([]);
    expect(result.blocksRead).toBe(bytes.length / blockBytes - 1);
    expect(result.endOffset).toBe(bytes.length);
  });

  test('are read from any entry on', async () => {
    const { rows } = await scanned(bytes, false);
    const reader = new SegmentReader(diskOf(bytes), '/wal', owner);
    for (const run of rows.rows)
      for (let count = 0; count < run.count; count++) {
        const from = run.firstIndex + count;
        const batch = await reader.readRun(
          { segmentSeq: 1, endOffset: bytes.length, run: { ...run, term: term(1) } },
          {
            partitionId: id,
            firstIndex: logIndex(from),
            lastIndex: logIndex(lastIndex),
            bytesMax: 200_000,
          },
        );
        const [first, ...others] = entriesOf(batch.bytes).map(({ index }) => index);
        expect([first, ...others]).toEqual(upTo(from + others.length).slice(from - 1));
      }
  });

  test('that rot in any of their blocks cost their own entries and no others', async () => {
    for (const { first, blocks, usedBytes, entries } of units)
      for (let block = first; block < first + blocks; block++) {
        const bad = bytes.slice();
        // The last block of a unit may be padding for the most part, or all of it.
        const at = blockOffset(block);
        if (at >= blockOffset(first) + usedBytes) continue;
        bad[at] = (bad[at] ?? 0) ^ 4;

        const { result, indexes, damaged } = await scanned(bad, block % 2 === 0);

        expect(damaged, `block ${block}`).toEqual(
          Array.from({ length: blocks }, (_, offset) => first + offset),
        );
        expect(result.damagedBlocks).toBe(blocks);
        expect(indexes).toEqual(upTo(lastIndex).filter((index) => !entries.has(index)));
      }
  });

  test('that are cut at any block end the segment there, where nothing is covered', async () => {
    for (const { first, blocks } of units) {
      const cut = bytes.subarray(0, blockOffset(first + blocks - 1));
      const { result } = await scanned(cut, false);

      expect(result.endOffset).toBe(blockOffset(first));
      expect(result.damagedBlocks).toBe(blocks - 1);
    }
  });
});
