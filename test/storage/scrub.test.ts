/** The background scrub on a simulated disk, over days of virtual time (specification §5.4). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import { readLedgerFileHeader, readLedgerFlush } from '../../src/codec/ledger-format.ts';
import { segmentFileName } from '../../src/codec/segment-format.ts';
import { scrubIntervalMs } from '../../src/policy/scrub-pace.ts';
import { StoreWorld } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};
const dayMs = 24 * 60 * 60 * 1000;
const passMs = scrubIntervalMs + 60_000;

/** A store with a closed segment and entries in the one in use, of two partitions. */
async function filled(isEncrypted = false): Promise<StoreWorld> {
  const world = new StoreWorld({ seed: 11, partitions: 2, limits, isEncrypted });
  await world.open();
  await world.createReplicas();
  await fill(world);
  world.crash('processKill');
  await world.open();
  await fill(world);
  return world;
}

async function fill(world: StoreWorld): Promise<void> {
  for (const model of world.partitions) world.vote(model);
  for (let count = 0; count < 12; count++) {
    for (const model of world.partitions) world.append(model, 3, 4000);
    world.store?.flush();
    await world.run(20);
  }
}

function statistics(world: StoreWorld): ReturnType<NonNullable<StoreWorld['store']>['statistics']> {
  return present(world.store, 'the store is open').statistics();
}

describe('the scrub', () => {
  test('reads every byte within seven days, reports nothing, and rests nearly all the time', async () => {
    const world = await filled();

    let oldestMs = 0;
    for (let hour = 0; hour < 9 * 24; hour++) {
      await world.run(dayMs / 24);
      oldestMs = Math.max(oldestMs, statistics(world).scrub.coverageAgeMs);
    }

    const { scrub, journalBytes } = statistics(world);
    expect(world.damages).toEqual([]);
    expect(scrub.passes).toBeGreaterThanOrEqual(35);
    expect(scrub.bytesRead).toBeGreaterThanOrEqual(journalBytes);
    expect(oldestMs).toBeLessThanOrEqual(7 * dayMs);
    expect(world.failures).toBe(0);
  });

  test('goes on while entries are written, truncated and segments change', async () => {
    const world = await filled();
    for (let round = 0; round < 60; round++) {
      for (const model of world.partitions) {
        if (round % 5 === 0) world.truncate(model);
        else world.append(model, 8, 30_000);
      }
      world.store?.flush();
      await world.run(scrubIntervalMs / 10 + round);
    }

    expect(world.damages).toEqual([]);
    expect(statistics(world).scrub.passes).toBeGreaterThan(3);
  });

  test('names the partition and the indexes of damage in a closed segment and in the one in use', async () => {
    const world = await filled();
    const [first] = world.disk.list('/data/wal').filter((name) => name.endsWith('.idx'));
    const closedSeq = Number(/\d+/.exec(first ?? '')?.[0]);
    const second = present(world.partitions[1], 'a partition');
    // A flush that holds nothing but entries of the second partition.
    world.append(second, 3, 4000);
    world.store?.flush();
    await world.run(20);
    const { segmentSeq, endOffset } = statistics(world);
    world.disk.flipBit(`/data/wal/${segmentFileName(segmentSeq)}`, endOffset - 4096 + 60, 1);
    await world.run(7 * dayMs);

    const found = present(
      world.damages.find((damage) => damage.segmentSeq === segmentSeq),
      'the damage was found',
    );
    // The rest of its unit is lost with it.
    expect(found.reasons).toEqual([expect.stringMatching(/^[1-4] blocks are damaged$/)]);
    expect(found.ranges).toMatchObject([
      { partitionId: second.id, lastIndex: second.entries.length },
    ]);
    expect(world.lost).toContainEqual(found.ranges[0]);
    expect(statistics(world).scrub.damagedSegments).toBe(1);

    world.disk.flipBit(`/data/wal/${segmentFileName(closedSeq)}`, 4096 * 2 + 60, 1);
    await world.run(7 * dayMs);
    const closed = world.damages.find((damage) => damage.segmentSeq === closedSeq);
    expect(closed?.ranges.length).toBeGreaterThan(0);
    expect(statistics(world).scrub.damagedSegments).toBe(2);
  });

  test('remembers over a restart what it has read', async () => {
    const world = await filled();
    await world.run(passMs);
    const text = new TextDecoder().decode(world.disk.syncedBytes('/data/wal/scrub.json'));
    expect(Object.keys(JSON.parse(text) as object).length).toBeGreaterThan(0);

    world.crash('powerLoss');
    await world.open();
    await world.verify();
    await world.run(passMs);

    expect(statistics(world).scrub.passes).toBeGreaterThan(0);
    expect(world.damages).toEqual([]);
  });

  test('misses nothing where a repair moved entries, in the segment in use and in closed ones', async () => {
    const world = await filled();
    const model = present(world.partitions[0], 'a partition');
    const repair = async (index: number): Promise<void> => {
      const log = present(world.store?.partition(model.id), 'a log');
      const batch = await world.settle(log.read(logIndex(index), logIndex(index), 1 << 20));
      log.repair(present(batch, 'an entry'), () => undefined);
      world.store?.flush();
      await world.run(50);
    };
    for (const index of [3, model.entries.length - 4]) await repair(index);
    await fill(world);
    await world.run(7 * dayMs);
    expect(world.damages).toEqual([]);

    world.crash('powerLoss');
    await world.open();
    await repair(5);
    await world.run(7 * dayMs);
    expect(world.damages).toEqual([]);
    expect(statistics(world).scrub.passes).toBeGreaterThan(3);
  });

  test('misses nothing while segments are sealed anew, and checks their trailers', async () => {
    const world = await filled(true);
    for (let round = 0; round < 3; round++) {
      await world.settle(present(world.store, 'open').keyDesk.rotate());
      await world.run(2 * dayMs + round * 1000);
    }
    expect(present(world.store, 'open').keyDesk.status().segmentsRewritten).toBeGreaterThan(2);
    expect(world.damages).toEqual([]);
    expect(world.reusedNonces).toEqual([]);
  });
});

describe('the scrub of the ledger', () => {
  const ledgerPath = '/data/wal/durability.log';
  /** Offsets of flushes of one block each, with their copies behind them. */
  const flushAt = (number: number): number => 2 * 4096 + number * 2 * 4096;

  test.each([
    ['a copy of the header', [20]],
    ['both copies of the header', [20, 4096 + 20]],
    ['the first copy of a flush', [flushAt(3) + 60]],
    ['the second copy of a flush', [flushAt(3) + 4096 + 60]],
    ['both copies of a flush', [flushAt(3) + 60, flushAt(3) + 4096 + 60]],
    ['both copies of the last flush', [-2 * 4096 + 60, -4096 + 60]],
  ])('finds %s that rotted and writes a new generation from memory', async (_, offsets) => {
    const world = await filled();
    const { ledgerGeneration } = statistics(world);
    const pages = world.disk.syncedPageNumbers(ledgerPath).length;
    const newest = present(world.disk.findSynced(ledgerPath), 'a ledger');
    const end = endOfFlushes(newest.read(0, pages * 4096, 'synced'));
    for (const offset of offsets)
      expect(world.disk.flipBit(ledgerPath, offset < 0 ? end + offset : offset, 1)).toBe(true);

    await world.run(7 * dayMs);

    expect(statistics(world).scrub.ledgerRenewals).toBe(1);
    expect(statistics(world).ledgerGeneration).toBe(ledgerGeneration + 1);
    world.crash('powerLoss');
    await world.open();
    await world.verify();
    expect(world.store?.bootReport.ledgerFlushesFromSecondCopy).toBe(0);
    expect(world.failures).toBe(0);
  });

  test('leaves a whole one as it is, also while it is written and begun anew', async () => {
    const world = await filled();
    for (let round = 0; round < 40; round++) {
      for (const model of world.partitions) world.append(model, 2, 300);
      world.store?.flush();
      await world.run(scrubIntervalMs / 8 + round);
    }

    expect(statistics(world).scrub).toMatchObject({ ledgerRenewals: 0, damagedSegments: 0 });
    expect(statistics(world).scrub.passes).toBeGreaterThan(3);
  });

  test('leaves a whole one as it is that is given its name just then', async () => {
    for (let wait = 22; wait <= 32; wait++) {
      const world = new StoreWorld({ seed: wait, partitions: 1, limits, isEncrypted: true });
      await world.open();
      await world.createReplicas();
      const store = present(world.store, 'open');
      // A change of keys begins a new generation of the ledger.
      const rotated = store.keyDesk.rotate();
      await world.run(wait * 0.2);
      await world.settle(store.scrub.start());
      await world.settle(rotated);
      await world.run(120_000);

      expect(statistics(world).scrub.passes).toBeGreaterThan(0);
      expect(statistics(world).scrub.ledgerRenewals, `started after ${wait} * 0.2 ms`).toBe(0);
    }
  });

  /** Behind the newest flush of the generation in use: what follows is of an older one, or zeros. */
  function endOfFlushes(bytes: Uint8Array): number {
    let end = 2 * 4096;
    const generation = readLedgerFileHeader(bytes, 0)?.generation;
    for (;;) {
      const flush = readLedgerFlush(bytes, end, generation);
      if (flush === undefined) return end;
      end += flush.blocks * 2 * 4096;
    }
  }
});

const scrubOf = (world: StoreWorld): NonNullable<StoreWorld['store']>['scrub'] =>
  present(world.store, 'the store is open').scrub;

describe('a scrub that an operator starts', () => {
  test('reads everything at once, and goes on as before', async () => {
    const world = await filled();
    const { journalBytes } = statistics(world);

    const started = await world.settle(scrubOf(world).start());
    expect(started).toMatchObject({ passes: 0, pausedSinceMs: undefined });
    await world.run(60_000);

    const { scrub } = statistics(world);
    expect(scrub).toMatchObject({ passes: 1, passBytesLeft: 0 });
    expect(scrub.bytesRead).toBeGreaterThanOrEqual(journalBytes);
    expect(scrub.busyMs).toBeGreaterThan(0);
    await world.run(passMs);
    expect(statistics(world).scrub.passes).toBe(2);
  });

  test('takes no more than its share of the time', async () => {
    const world = await filled();
    const before = world.scheduler.nowMs;
    await world.settle(scrubOf(world).start());
    while (statistics(world).scrub.passes === 0) await world.run(10);

    const { busyMs } = statistics(world).scrub;
    expect(busyMs).toBeGreaterThan(0);
    expect(busyMs / (world.scheduler.nowMs - before)).toBeLessThan(0.01);
  });

  test('rests behind segments that are smaller than a slice, too', async () => {
    const costs: { readonly busyMs: number; readonly elapsedMs: number }[] = [];
    for (const segments of [2, 12]) {
      const world = new StoreWorld({ seed: 7, partitions: 1, limits });
      await world.open();
      await world.createReplicas();
      for (let count = 0; count < segments; count++) {
        for (const model of world.partitions) world.vote(model);
        for (const model of world.partitions) world.append(model, 1, 100);
        world.store?.flush();
        await world.run(20);
        world.crash('processKill');
        await world.open();
      }
      const before = world.scheduler.nowMs;
      await world.settle(scrubOf(world).start());
      while (statistics(world).scrub.passes === 0) await world.run(1);
      const elapsedMs = world.scheduler.nowMs - before;
      costs.push({ busyMs: statistics(world).scrub.busyMs, elapsedMs });
    }

    const [few, many] = [present(costs[0], 'a pass'), present(costs[1], 'another')];
    // Each read takes the disk some time.
    expect(many.busyMs - few.busyMs).toBeGreaterThan(10 * 0.01);
    expect(many.elapsedMs - few.elapsedMs).toBeGreaterThan(90 * (many.busyMs - few.busyMs));
  });

  test('asked for while it reads, reads everything again behind that', async () => {
    const world = await filled();
    await world.settle(scrubOf(world).start());
    while (statistics(world).scrub.passBytesLeft === 0) await world.run(1);
    await world.settle(scrubOf(world).start());
    await world.settle(scrubOf(world).start());
    await world.run(120_000);

    const { scrub, journalBytes } = statistics(world);
    expect(scrub.passes).toBe(2);
    expect(scrub.bytesRead).toBeGreaterThanOrEqual(2 * journalBytes);
  });

  test('asked for while it pauses, begins when it is resumed', async () => {
    const world = await filled();
    await world.settle(scrubOf(world).pause());
    await world.settle(scrubOf(world).start());
    await world.run(120_000);
    expect(statistics(world).scrub.bytesRead).toBe(0);

    await world.settle(scrubOf(world).resume());
    await world.run(60_000);
    const { scrub, journalBytes } = statistics(world);
    expect(scrub.passes).toBe(1);
    expect(scrub.bytesRead).toBeGreaterThanOrEqual(journalBytes);
  });

  test('asked for before a disk that fails, is not forgotten, and does not try without end', async () => {
    const world = await filled();
    await world.settle(scrubOf(world).status());
    await world.settle(scrubOf(world).start());
    while (statistics(world).scrub.passBytesLeft === 0) await world.run(1);
    world.disk.failNext('rename', 'EIO');
    await world.settle(scrubOf(world).start());
    await world.run(60_000);
    expect(statistics(world).scrub.passes).toBe(1);

    await world.run(passMs);
    const { scrub, journalBytes } = statistics(world);
    expect(scrub.passes).toBe(2);
    expect(scrub.bytesRead).toBeGreaterThanOrEqual(2 * journalBytes);
  });
});

describe('a scrub that was made to pause', () => {
  test('reads nothing, through a restart too, and goes on at once when it is resumed', async () => {
    const world = await filled();
    const paused = await world.settle(scrubOf(world).pause());
    expect(paused?.pausedSinceMs).toBeGreaterThan(0);
    await world.run(2 * dayMs);
    expect(statistics(world).scrub).toMatchObject({ passes: 0, bytesRead: 0 });

    world.crash('powerLoss');
    await world.open();
    await world.run(3 * dayMs);
    const still = await world.settle(scrubOf(world).status());
    expect(still).toMatchObject({ passes: 0, bytesRead: 0, pausedSinceMs: paused?.pausedSinceMs });
    expect(still?.coverageAgeMs).toBeGreaterThan(2 * dayMs);

    const resumed = await world.settle(scrubOf(world).resume());
    await world.run(60_000);
    expect(resumed?.pausedSinceMs).toBeUndefined();
    expect(statistics(world).scrub.passes).toBe(1);
    expect(world.damages).toEqual([]);
  });

  test('does not pause where that cannot be kept, and is asked again in earnest', async () => {
    const world = await filled();
    await world.settle(scrubOf(world).status());
    world.disk.failNext('sync', 'EIO');
    await expect(world.settle(scrubOf(world).pause())).rejects.toThrow(/EIO/);
    expect((await world.settle(scrubOf(world).status()))?.pausedSinceMs).toBeUndefined();

    const paused = await world.settle(scrubOf(world).pause());
    world.crash('powerLoss');
    await world.open();

    const found = await world.settle(scrubOf(world).status());
    expect(found?.pausedSinceMs).toBe(paused?.pausedSinceMs);
    expect(found?.pausedSinceMs).toBeGreaterThan(0);
  });

  test('asks the disk again for what it remembers when that could not be read', async () => {
    const world = await filled();
    await world.settle(scrubOf(world).pause());
    world.crash('powerLoss');
    await world.open();

    world.disk.failNext('read', 'EIO');
    await expect(world.settle(scrubOf(world).status())).rejects.toThrow(/EIO/);
    expect((await world.settle(scrubOf(world).status()))?.pausedSinceMs).toBeGreaterThan(0);
  });

  test('stops between two slices of a segment', async () => {
    const world = await filled();
    await world.run(10 * 60_000);
    for (let ms = 0; ms < 5_000 && statistics(world).scrub.passes === 0; ms++) await world.run(1);
    await world.settle(scrubOf(world).pause());
    const { bytesRead } = statistics(world).scrub;
    await world.run(7 * dayMs);

    expect(statistics(world).scrub.bytesRead).toBe(bytesRead);
    await world.settle(present(world.store, 'open').close());
  });
});
