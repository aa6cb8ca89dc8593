/** Trailers of closed segments: made in the background, named once synced, made again after a crash (specification §4.1, SCR-5). */
import { afterEach, describe, expect, test, vi } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import { segmentIndexFileName } from '../../src/codec/idx-format.ts';
import { readSegmentHeader, segmentFileName } from '../../src/codec/segment-format.ts';
import type { LedgerRecord } from '../../src/codec/ledger-records.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { gatherEvidence, type EntryFinding } from '../../src/storage/entry-evidence.ts';
import { listLedger } from '../../src/storage/ledger-listing.ts';
import { verifyDirectory, type DirectoryVerification } from '../../src/storage/verify-directory.ts';
import { diskError } from '../../src/testing/sim-disk.ts';
import { SimFileSystem, type CrashKind } from '../../src/testing/sim-file-system.ts';
import { StoreWorld } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};
const kinds: readonly CrashKind[] = ['powerLoss', 'processKill'];
const longMs = 5000;

type Closed = Extract<LedgerRecord, { readonly kind: 'segmentClosed' }>;

/** A store whose first segment with entries was closed by a restart and has no trailer yet. */
async function restarted(seed = 5, isEncrypted = false): Promise<StoreWorld> {
  const world = new StoreWorld({ seed, partitions: 1, limits, isEncrypted });
  await world.open();
  await world.createReplicas();
  world.crash('processKill');
  await world.open();
  const model = present(world.partitions[0], 'a partition');
  world.vote(model);
  for (let count = 0; count < 40; count++) {
    world.append(model, 4, 3000);
    world.store?.flush();
    await world.run(20);
  }
  world.crash('processKill');
  await world.open();
  return world;
}

async function verified(world: StoreWorld): Promise<DirectoryVerification> {
  const result = verifyDirectory(world.place(), nodeCryptography);
  return present(await world.settle(result), 'the directory was read');
}

/** The newest record of each closed segment that is still there. */
async function closedOf(world: StoreWorld): Promise<readonly Closed[]> {
  const listed = present(await world.settle(listLedger(world.place())), 'the ledger');
  const records = listed[0]?.flushes.flatMap(({ flush }) => flush.records) ?? [];
  const closed = new Map<number, Closed>();
  for (const record of records)
    if (record.kind === 'segmentClosed') closed.set(record.segmentSeq, record);
    else if (record.kind === 'segmentRetired') closed.delete(record.segmentSeq);
  return [...closed.values()];
}

afterEach(() => {
  vi.restoreAllMocks();
});

describe('a closed segment', () => {
  test.each([
    { what: 'a quick disk', latencyFactor: 1, atLeastMs: 20, atMostMs: 35 },
    { what: 'a slow disk', latencyFactor: 8, atLeastMs: 40, atMostMs: 105 },
    { what: 'one that hardly moves', latencyFactor: 100, atLeastMs: 100, atMostMs: 160 },
  ])(
    'is read back with pauses in proportion to what reading takes: $what',
    async ({ latencyFactor, atLeastMs, atMostMs }) => {
      const begunMs: number[] = [];
      const { read } = SimFileSystem.prototype;
      const world = await restarted(5);
      world.disk.latencyFactor = latencyFactor;
      vi.spyOn(SimFileSystem.prototype, 'read').mockImplementation(function (
        this: SimFileSystem,
        file,
        from,
        length,
      ) {
        if (length === 32 * 4096) begunMs.push(world.scheduler.nowMs);
        return read.call(this, file, from, length);
      });
      await world.run(longMs);

      const [first = 0, second = 0] = begunMs;
      expect(second - first).toBeGreaterThanOrEqual(atLeastMs);
      expect(second - first).toBeLessThanOrEqual(atMostMs);
    },
  );

  test.each(kinds)(
    'gets a trailer in its last block, which the ledger then names (%s)',
    async (kind) => {
      const world = await restarted();
      await world.run(longMs);
      world.crash(kind);

      const [closed, ...others] = await closedOf(world);
      const { findings, trailers } = await verified(world);

      expect(others).toEqual([]);
      expect(closed?.trailerOffset).toBe(closed?.endOffset);
      const path = `/data/wal/${segmentFileName(closed?.segmentSeq ?? 0)}`;
      expect(world.disk.syncedBytes(path)).toHaveLength((closed?.endOffset ?? 0) + 4096);
      expect(trailers).toBe(1);
      expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
    },
  );

  test('has its trailer named in the next generation of the ledger as well', async () => {
    const world = await restarted();
    await world.run(longMs);
    const [before] = await closedOf(world);
    world.crash('powerLoss');
    await world.open();
    world.crash('powerLoss');

    const again = (await closedOf(world)).find(
      ({ segmentSeq }) => segmentSeq === before?.segmentSeq,
    );

    expect(again).toEqual(before);
    expect((await verified(world)).trailers).toBeGreaterThan(0);
  });

  test('whose named trailer is damaged or gone is damage; one that has none is not', async () => {
    const world = await restarted();
    await world.run(longMs);
    world.crash('powerLoss');
    const [closed] = await closedOf(world);
    const { segmentSeq, trailerOffset } = present(closed, 'a closed segment');
    const path = `/data/wal/${segmentFileName(segmentSeq)}`;

    world.disk.flipBit(path, trailerOffset + 40, 1);
    expect((await verified(world)).findings).toContainEqual({
      severity: 'damage',
      where: `segment ${segmentSeq}`,
      what: 'the trailer is not that of the frames',
    });

    world.disk.find(path)?.truncate(trailerOffset);
    world.disk.find(path)?.sync();
    expect((await verified(world)).findings).toContainEqual({
      severity: 'damage',
      where: `segment ${segmentSeq}`,
      what: 'the trailer is cut short',
    });

    const fresh = await restarted();
    fresh.crash('powerLoss');
    expect((await verified(fresh)).isDamaged).toBe(false);
  });

  test('has a MAC where there is a key, in its header the epoch of the key', async () => {
    const world = await restarted(5, true);
    await world.run(longMs);
    world.crash('powerLoss');

    const [closed] = await closedOf(world);
    const { segmentSeq, trailerOffset } = present(closed, 'a closed segment');
    const bytes = present(
      world.disk.syncedBytes(`/data/wal/${segmentFileName(segmentSeq)}`),
      'the segment',
    );
    const [version, suite] = bytes.subarray(trailerOffset);

    expect(readSegmentHeader(bytes).integrityMacEpoch).toBe(1);
    expect([version, suite]).toEqual([1, 1]);
    const { findings, trailers } = await verified(world);
    expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
    expect(trailers).toBe(1);

    // The MAC and nothing else.
    world.disk.flipBit(`/data/wal/${segmentFileName(segmentSeq)}`, trailerOffset + 70, 1);
    expect((await verified(world)).findings).toContainEqual({
      severity: 'damage',
      where: `segment ${segmentSeq}`,
      what: 'the MAC of the trailer is wrong',
    });
  });

  test('with a damaged block gets none', async () => {
    const world = await restarted();
    world.crash('processKill');
    const [closed] = await closedOf(world);
    const { segmentSeq, endOffset } = present(closed, 'a closed segment');
    world.disk.flipBit(`/data/wal/${segmentFileName(segmentSeq)}`, endOffset - 4096 + 100, 1);
    await world.open();
    await world.run(longMs);
    world.crash('powerLoss');

    const closings = await closedOf(world);

    expect(closings.filter(({ trailerOffset }) => trailerOffset === 0)).toMatchObject([
      { segmentSeq },
    ]);
  });
});

describe('a segment that the process itself has left', () => {
  /** A store that has just filled its first segment and entered the next, and what was read meanwhile. */
  async function left(
    isEncrypted: boolean,
    damage?: (world: StoreWorld, path: string) => void,
  ): Promise<{ readonly world: StoreWorld; readonly largestRead: number; readonly seq: number }> {
    const world = new StoreWorld({ seed: 6, partitions: 2, limits, isEncrypted });
    world.rotateAfterMs = 'never';
    await world.open();
    await world.createReplicas();
    for (const model of world.partitions) world.vote(model);
    const { read } = SimFileSystem.prototype;
    let largestRead = 0;
    vi.spyOn(SimFileSystem.prototype, 'read').mockImplementation(function (
      this: SimFileSystem,
      file,
      from,
      length,
    ) {
      largestRead = Math.max(largestRead, length);
      return read.call(this, file, from, length);
    });
    const segmentOf = (): number => present(world.store, 'open').statistics().segmentSeq;
    const seq = segmentOf();
    for (let flush = 0; segmentOf() === seq; flush++) {
      // Entries that are truncated stay in the segment, as frames that nobody wants.
      if (flush % 7 === 6) for (const model of world.partitions) world.truncate(model);
      else for (const model of world.partitions) world.append(model, 8, 60_000);
      world.store?.flush();
      await world.run(50);
      if (flush === 3) damage?.(world, `/data/wal/${segmentFileName(seq)}`);
    }
    await world.run(1000);
    return { world, largestRead, seq };
  }

  test.each([false, true])(
    'gets its trailer without being read: it says what was laid out (encrypted: %s)',
    async (isEncrypted) => {
      const { world, largestRead, seq } = await left(isEncrypted);
      world.crash('powerLoss');

      const closed = (await closedOf(world)).find(({ segmentSeq }) => segmentSeq === seq);
      const { findings, trailers } = await verified(world);

      expect(closed?.trailerOffset).toBe(closed?.endOffset);
      expect(trailers).toBe(1);
      expect(findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
      expect(largestRead, 'headers').toBeLessThanOrEqual(2 * 4096);
    },
  );

  test('gets it though a block of it has rotted, which is told when it is read', async () => {
    const { world, seq } = await left(false, ({ disk }, path) => {
      disk.flipBit(path, 4096 * 3 + 60, 1);
    });
    world.crash('powerLoss');

    const { findings } = await verified(world);

    expect(findings.some(({ where }) => where.startsWith(`segment ${seq} block`))).toBe(true);
    expect(
      (await closedOf(world)).find(({ segmentSeq }) => segmentSeq === seq)?.trailerOffset,
    ).toBeGreaterThan(0);
  });

  test('whose header is bad by then is read back instead, and gets none', async () => {
    const { world, seq } = await left(false, ({ disk }, path) => {
      disk.flipBit(path, 30, 1);
    });

    expect(
      (await closedOf(world)).find(({ segmentSeq }) => segmentSeq === seq)?.trailerOffset,
    ).toBe(0);
  });
});

describe('evidence of an entry', () => {
  /** From now on the disk refuses what begins there. */
  function spoilReads(position: number): void {
    const { read } = SimFileSystem.prototype;
    vi.spyOn(SimFileSystem.prototype, 'read').mockImplementation(function (
      this: SimFileSystem,
      file,
      from,
      length,
    ) {
      return from === position
        ? Promise.reject(diskError('EIO', 'the segment'))
        : read.call(this, file, from, length);
    });
  }

  async function findingOf(world: StoreWorld): Promise<EntryFinding | undefined> {
    const { id } = present(world.partitions[0], 'a partition');
    const index = logIndex(8);
    const question = {
      partitionId: id,
      indexes: new Set([index]),
      cryptography: nodeCryptography,
    };
    const evidence = await world.settle(gatherEvidence(world.place(), question));
    return evidence?.findings.get(index);
  }

  /** Stopped once its closed segment had a trailer. */
  async function trailed(isEncrypted: boolean): Promise<{
    readonly world: StoreWorld;
    readonly path: string;
    readonly trailerOffset: number;
  }> {
    const world = await restarted(5, isEncrypted);
    await world.run(longMs);
    world.crash('powerLoss');
    const { segmentSeq, trailerOffset } = present((await closedOf(world))[0], 'a closed segment');
    return { world, path: `/data/wal/${segmentFileName(segmentSeq)}`, trailerOffset };
  }

  test('says that the MAC of its segment was checked, or that there is none', async () => {
    const open = await restarted(5, true);
    open.crash('processKill');

    expect(await findingOf(open)).toMatchObject({ kind: 'held', segmentMac: 'open' });
    expect(await findingOf((await trailed(true)).world)).toMatchObject({
      kind: 'held',
      segmentMac: 'good',
    });
    expect(await findingOf((await trailed(false)).world)).toMatchObject({
      kind: 'held',
      segmentMac: 'none',
    });
  });

  test('does not hold where every frame was read and the MAC is wrong all the same', async () => {
    const { world, path, trailerOffset } = await trailed(true);
    world.disk.flipBit(path, trailerOffset + 70, 1);

    const finding = await findingOf(world);

    expect(finding).toMatchObject({ kind: 'notHeld' });
    expect(finding).toHaveProperty('reason', expect.stringContaining('the MAC of the trailer is'));
  });

  test('holds without a MAC where another entry of the segment, or the trailer, cannot be read', async () => {
    const { world, path, trailerOffset } = await trailed(true);
    world.disk.flipBit(path, trailerOffset - 4096 + 12, 1);
    expect(await findingOf(world)).toMatchObject({ kind: 'held', segmentMac: 'unchecked' });

    const other = await trailed(true);
    spoilReads(other.trailerOffset);
    expect(await findingOf(other.world)).toMatchObject({ kind: 'held', segmentMac: 'unchecked' });
    expect((await verified(other.world)).findings).toContainEqual(
      expect.objectContaining({ severity: 'damage', what: 'its trailer cannot be read' }),
    );
  });
});

describe('a crash while a trailer is made', () => {
  test.each(Array.from({ length: 24 }, (_, at) => at))(
    'leaves a segment that gets it at a later start, kill %i',
    async (number) => {
      const world = await restarted(100 + number, number % 4 > 1);
      // Every step of the work in turn: cutting, writing, syncing, and the ledger's record.
      if (number % 2 === 0)
        world.killAt({ kind: 'operation', operation: world.disk.operationCount + (number >> 1) });
      else
        world.killAt({
          kind: 'chain',
          chain: world.disk.chainCount + (number > 12 ? 1 : 0),
          step: 1 + ((number >> 1) % 2),
        });
      await world.run(longMs);
      world.crash(kinds[number % 3 === 0 ? 1 : 0] ?? 'powerLoss');
      world.disk.heal();
      expect((await verified(world)).isDamaged).toBe(false);

      await world.open();
      await world.verify();
      await world.run(longMs);
      world.crash('powerLoss');

      const closed = await closedOf(world);
      expect(closed.length).toBeGreaterThan(0);
      expect(closed.map(({ trailerOffset }) => trailerOffset)).toEqual(
        closed.map(({ endOffset }) => endOffset),
      );
      const { isDamaged, trailers } = await verified(world);
      expect({ isDamaged, trailers }).toEqual({ isDamaged: false, trailers: closed.length });
    },
  );
});

describe('a segment that is sealed anew under other keys', () => {
  /** Changes the keys of a store whose segment has its trailer, and begins to rewrite the segment. */
  async function rotated(seed: number): Promise<StoreWorld> {
    const world = await restarted(seed, true);
    await world.run(longMs);
    await world.settle(present(world.store, 'open').keyDesk.rotate());
    return world;
  }

  async function expectTrailers(world: StoreWorld): Promise<void> {
    const closed = await closedOf(world);
    expect(closed.map(({ trailerOffset }) => trailerOffset)).toEqual(
      closed.map(({ endOffset }) => endOffset),
    );
    const { isDamaged, trailers } = await verified(world);
    expect({ isDamaged, trailers }).toEqual({ isDamaged: false, trailers: closed.length });
  }

  test('has a trailer under the new keys', async () => {
    const world = await rotated(5);
    await world.run(4 * longMs);
    const { segmentsRewritten, segmentsToRewrite } = present(world.store, 'open').keyDesk.status();
    world.crash('powerLoss');

    expect(segmentsRewritten).toBeGreaterThan(0);
    expect(segmentsToRewrite).toBe(0);
    const [closed] = await closedOf(world);
    const path = `/data/wal/${segmentFileName(closed?.segmentSeq ?? 0)}`;
    const bytes = present(world.disk.syncedBytes(path), 'the segment');
    expect(readSegmentHeader(bytes).integrityMacEpoch).toBe(2);
    await expectTrailers(world);
  });

  test.each(Array.from({ length: 40 }, (_, at) => at))(
    'misses none after a crash, kill %i',
    async (number) => {
      const world = await rotated(200 + number);
      world.killAt({ kind: 'operation', operation: world.disk.operationCount + number });
      await world.run(longMs);
      world.crash(kinds[number % 2] ?? 'powerLoss');
      world.disk.heal();
      expect((await verified(world)).isDamaged).toBe(false);

      await world.open();
      await world.verify();
      await world.run(4 * longMs);
      world.crash('powerLoss');

      await expectTrailers(world);
    },
  );
});

test('a start that writes an index again leaves the trailer where it is', async () => {
  const world = await restarted();
  await world.run(longMs);
  world.crash('powerLoss');
  const [closed] = await closedOf(world);
  const { segmentSeq } = present(closed, 'a closed segment');
  const reader = world.reader();
  await world.settle(reader.remove(`/data/wal/${segmentIndexFileName(segmentSeq)}`));
  await world.settle(reader.syncDirectory('/data/wal'));
  await world.open();
  await world.run(longMs);
  world.crash('powerLoss');

  expect(await closedOf(world)).toContainEqual(closed);
  expect((await verified(world)).isDamaged).toBe(false);
});
