/** Accidents with damaged or torn files that other systems had, as one data directory sees them. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex, term } from '../../src/base/ids.ts';
import { readLedgerFlush } from '../../src/codec/ledger-format.ts';
import { segmentIndexFileName } from '../../src/codec/idx-format.ts';
import { blockBytes, segmentFileName } from '../../src/codec/segment-format.ts';
import type { RecoveredPartition } from '../../src/storage/log-store-types.ts';
import { frames } from '../storage/model-frames.ts';
import { StoreWorld, type PartitionModel } from '../storage/store-world.ts';

const ledgerPath = '/data/wal/durability.log';

async function settledStore(partitions: number, seed = 1): Promise<StoreWorld> {
  const limits = {
    segmentBytes: 8 * 1024 * 1024,
    logBytesMax: 256 * 1024 * 1024,
    ledgerBytes: 256 * 1024,
  };
  const world = new StoreWorld({ seed, partitions, limits });
  await world.open();
  await world.createReplicas();
  world.crash('processKill');
  await world.open();
  for (const model of world.partitions) {
    world.vote(model);
    world.append(model, 3, 500);
    await flush(world);
  }
  return world;
}

async function flush(world: StoreWorld): Promise<void> {
  world.store?.flush();
  await world.run(50);
}

async function restart(world: StoreWorld): Promise<void> {
  world.crash('powerLoss');
  await world.open();
}

function modelAt(world: StoreWorld, at: number): PartitionModel {
  return present(world.partitions[at], 'a partition');
}

function recovered(world: StoreWorld, at: number): RecoveredPartition {
  const { id } = modelAt(world, at);
  return present(
    world.store?.recovered.find((row) => row.partitionId === id),
    'the partition was recovered',
  );
}

describe('regression 33: a torn end of a segment behind which another one is covered is no tail', () => {
  test('its partition is in quarantine, and what stands behind it is kept', async () => {
    const world = await settledStore(1);
    const model = modelAt(world, 0);
    const first = present(world.store, 'open').statistics().segmentSeq;
    let last = 0;
    while (present(world.store, 'open').statistics().segmentSeq === first) {
      last = present(world.store, 'open').statistics().endOffset;
      world.append(model, 1, 2_000_000);
      await flush(world);
      await world.run(2_000);
    }
    await flush(world);
    const { durableIndex } = model;

    expect(
      world.disk.flipBit(`/data/wal/${segmentFileName(first)}`, last - blockBytes + 60, 1),
    ).toBe(true);
    // Without its index the segment is read as a whole.
    expect(world.disk.flipBit(`/data/wal/${segmentIndexFileName(first)}`, 40, 1)).toBe(true);
    await restart(world);

    const { doubt, quarantine } = recovered(world, 0);
    expect(doubt).toBeUndefined();
    expect(quarantine).toMatchObject({ endIndex: durableIndex });
    expect(quarantine?.readable.at(-1)?.lastIndex).toBe(durableIndex);
  });
});

describe('regression 38: a data directory or a partition that was wiped does not begin afresh under its old id', () => {
  test.each([ledgerPath, 'metadata.json'])(
    'without %s it is refused, and says why',
    async (lost) => {
      const world = await settledStore(1);
      world.crash('powerLoss');
      const path = present(
        world.disk.paths().find((one) => one.endsWith(lost)),
        'the file',
      );
      world.disk.unlink(path);

      await expect(world.open()).rejects.toMatchObject({ code: 'CLUSTOR_REPLICA_FILES_MISSING' });
    },
  );
});

describe('regression 51: a ledger flush of several sectors of which only some persisted is cut', () => {
  test.each([1, 2, 3, 4, 5, 6])('seed %i', async (seed) => {
    const world = await settledStore(90, seed);
    for (const model of world.partitions) world.vote(model);
    world.killAt({ kind: 'chain', chain: world.disk.chainCount, step: 1 });
    await flush(world);
    expect(world.isKilled).toBe(true);

    await restart(world);

    for (const [at] of world.partitions.entries())
      expect(recovered(world, at)).toMatchObject({ doubt: undefined, quarantine: undefined });
  });
});

describe('regression 65: one rotten block of the shared journal', () => {
  test('is the trouble of the partition whose entries it held, and of no other', async () => {
    const world = await settledStore(3);
    const { segmentSeq, endOffset } = present(world.store, 'open').statistics();
    // The partitions' flushes came one after the other, a block each.
    const path = `/data/wal/${segmentFileName(segmentSeq)}`;
    expect(world.disk.flipBit(path, endOffset - 2 * blockBytes + 40, 1)).toBe(true);
    await restart(world);

    const damaged = world.partitions.map((_, at) => recovered(world, at).quarantine !== undefined);
    expect(damaged).toEqual([false, true, false]);
    expect(recovered(world, 0)).toMatchObject({ lastIndex: 3, doubt: undefined });
    expect(recovered(world, 2)).toMatchObject({ lastIndex: 3, doubt: undefined });
  });
});

describe('regression 66: rot in the newest synced ledger flush', () => {
  test('costs no vote: its second copy serves, and is two again before anything is said', async () => {
    const world = await settledStore(1);
    world.vote(modelAt(world, 0));
    await flush(world);
    const bytes = present(world.disk.syncedBytes(ledgerPath), 'the ledger');
    let newest = { offset: 0, flushSeq: 0 };
    for (let offset = 0; offset < bytes.length; offset += 4096) {
      const found = readLedgerFlush(bytes, offset);
      if (found !== undefined && found.flushSeq > newest.flushSeq)
        newest = { offset, flushSeq: found.flushSeq };
    }

    world.disk.flipBit(ledgerPath, newest.offset + 20, 3);
    await restart(world);

    expect(recovered(world, 0)).toMatchObject({ hardState: { term: 2 }, doubt: undefined });
    expect(world.store?.bootReport.ledgerFlushesFromSecondCopy).toBe(1);
    await restart(world);
    expect(recovered(world, 0)).toMatchObject({ hardState: { term: 2 }, doubt: undefined });
    expect(world.store?.bootReport.ledgerFlushesFromSecondCopy).toBe(0);
  });
});

describe('a ledger that went back behind the terms of its log', () => {
  test('leaves the replica in doubt: a vote may have gone with the term', async () => {
    const world = await settledStore(1);
    await world.run(5_000);
    const before = present(world.disk.syncedBytes(ledgerPath), 'the ledger').slice();
    world.vote(modelAt(world, 0));
    await flush(world);
    world.append(modelAt(world, 0), 2, 500);
    world.killAt({ kind: 'chain', chain: world.disk.chainCount, step: 1 });
    await flush(world);
    expect(world.isKilled).toBe(true);
    world.crash('processKill');
    const file = present(world.disk.find(ledgerPath), 'the ledger');
    for (let page = 0; page * 4096 < before.length; page++)
      file.replaceOnMedium({
        number: page,
        bytes: before.subarray(page * 4096, page * 4096 + 4096),
      });

    await world.open();

    expect(recovered(world, 0)).toMatchObject({ lastIndex: 5, hardState: { term: 2 } });
    expect(recovered(world, 0).doubt).toContain('entries of term 2');
  });
});

describe('a copy of a ledger flush that landed on the first one of its generation', () => {
  /** The newest flush of the ledger, written over copies of the first one. */
  async function misdirected(copies: number): Promise<StoreWorld> {
    const world = await settledStore(2);
    world.vote(modelAt(world, 0));
    await flush(world);
    const file = present(world.disk.find(ledgerPath), 'the ledger');
    const bytes = present(world.disk.syncedBytes(ledgerPath), 'the ledger');
    const pages = Array.from({ length: bytes.length / 4096 }, (_, page) => ({
      page,
      flush: readLedgerFlush(bytes, page * 4096),
    })).filter(({ flush: found }) => found !== undefined);
    const newest = pages.reduce((left, right) =>
      (right.flush?.flushSeq ?? 0) > (left.flush?.flushSeq ?? 0) ? right : left,
    );
    for (let copy = 0; copy < copies; copy++)
      file.replaceOnMedium({ number: 2 + copy, bytes: file.syncedPage(newest.page) });
    await restart(world);
    return world;
  }

  test('is not taken for the beginning: the second copy is', async () => {
    const world = await misdirected(1);

    expect(recovered(world, 0)).toMatchObject({
      hardState: { term: 2 },
      lastIndex: 3,
      doubt: undefined,
    });
    expect(recovered(world, 1)).toMatchObject({ lastIndex: 3, doubt: undefined });
    expect(world.store?.bootReport.ledgerFlushesFromSecondCopy).toBe(1);
  });

  test('on both of its copies leaves the replicas in doubt', async () => {
    const world = await misdirected(2);

    for (const at of [0, 1])
      expect(recovered(world, at).doubt).toContain('first flush of the ledger');
  });
});

describe('regression 67: a repaired frame whose entry was truncated before it was written', () => {
  test('is not written', async () => {
    const world = await settledStore(1);
    const { id } = modelAt(world, 0);
    const log = present(world.store?.partition(id), 'a log');
    const old = await world.settle(log.read(logIndex(2), logIndex(3), 1 << 20));

    log.repair(present(old, 'entries'), () => undefined);
    world.vote(modelAt(world, 0));
    log.truncateFrom(logIndex(2));
    log.append(frames(id, [{ index: 2, term: 2, payload: 'new' }]), 1_000);
    await flush(world);
    await restart(world);

    expect(recovered(world, 0)).toMatchObject({ lastIndex: 2, quarantine: undefined });
    const again = present(world.store?.partition(id), 'a log');
    const entry = await world.settle(again.read(logIndex(2), logIndex(2), 1 << 20));
    expect(entry).toMatchObject({ firstIndex: 2, lastIndex: 2, lastTerm: term(2) });
  });

  test('is written, and found there, when its entry is still the one', async () => {
    const world = await settledStore(1);
    const { id } = modelAt(world, 0);
    const log = present(world.store?.partition(id), 'a log');
    const old = present(
      await world.settle(log.read(logIndex(2), logIndex(2), 1 << 20)),
      'an entry',
    );
    let isDone = false;
    log.repair(old, () => (isDone = true));
    await flush(world);
    expect(isDone).toBe(true);

    for (let life = 0; life < 2; life++) {
      await restart(world);
      expect(recovered(world, 0)).toMatchObject({ lastIndex: 3, quarantine: undefined });
      const found = present(world.store?.partition(id), 'a log');
      for (const index of [1, 2, 3])
        expect(await world.settle(found.read(logIndex(index), logIndex(index), 1))).toMatchObject({
          firstIndex: index,
        });
    }
  });

  test('counts before the row of its first place when both are in the index of one segment', async () => {
    const world = await settledStore(1);
    const model = modelAt(world, 0);
    const log = present(world.store?.partition(model.id), 'a log');
    const old = present(
      await world.settle(log.read(logIndex(2), logIndex(2), 1 << 20)),
      'an entry',
    );
    const { segmentSeq } = present(world.store, 'open').statistics();
    log.repair(old, () => undefined);
    while (present(world.store, 'open').statistics().segmentSeq === segmentSeq) {
      world.append(model, 1, 2_000_000);
      await flush(world);
      await world.run(2_000);
    }
    const path = `/data/wal/${segmentFileName(segmentSeq)}`;
    // The first place of entries 1 to 3 is the first block of the segment.
    expect(world.disk.flipBit(path, blockBytes + 60, 1)).toBe(true);

    for (let life = 0; life < 2; life++) {
      const again = present(world.store?.partition(model.id), 'a log');
      expect(await world.settle(again.read(logIndex(2), logIndex(2), 1 << 20))).toMatchObject({
        firstIndex: 2,
        lastIndex: 2,
      });
      await expect(
        world.settle(again.read(logIndex(1), logIndex(1), 1 << 20)),
      ).rejects.toMatchObject({
        code: 'CLUSTOR_INTEGRITY',
        range: { firstIndex: 1, lastIndex: 3 },
      });
      await restart(world);
      expect(recovered(world, 0)).toMatchObject({ quarantine: undefined });
    }
  });
});
