/** What a store says of its disk's failures (KER-10). */
import { describe, expect, test, vi } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

/** A store with one partition in term 1. */
async function openStore(): Promise<{ world: StoreWorld; model: PartitionModel }> {
  const limits = {
    segmentBytes: 8 * 1024 * 1024,
    logBytesMax: 256 * 1024 * 1024,
    ledgerBytes: 256 * 1024,
  };
  const world = new StoreWorld({ seed: 1, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  const model = present(world.partitions[0], 'one partition');
  world.vote(model);
  world.store?.flush();
  await world.run(50);
  expect(model.durableHardState).toBe(1);
  return { world, model };
}

describe('a flush', () => {
  test('larger than what the journal begins with is durable whole, and so are small ones behind it', async () => {
    const { world, model } = await openStore();
    world.append(model, 60, 60_000);
    world.store?.flush();
    world.append(model, 2, 500);
    await world.run(200);
    world.append(model, 60, 60_000);
    world.store?.flush();
    await world.run(200);
    const bytes = world.store?.statistics().journalBytesWritten ?? 0;
    expect(bytes).toBeGreaterThan(2 * 256 * 1024);
    expect(model.durableIndex).toBe(122);

    world.crash('powerLoss');
    await world.open();

    await world.verify();
    expect(model.entries.length).toBe(122);
  });
});

describe('a sync that failed (KER-10)', () => {
  test('of entries is told, and neither they nor later ones ever become durable', async () => {
    const { world, model } = await openStore();
    world.disk.failNext('sync', 'EIO');
    world.append(model, 3, 500);
    world.store?.flush();
    await world.run(50);
    expect(world.failures).toBe(1);

    world.append(model, 2, 500);
    world.store?.flush();
    await world.run(5_000);

    expect(model.durableIndex).toBe(0);
    expect(world.failures, 'told once').toBe(1);
  });

  test('of a vote is told, and the vote never becomes durable', async () => {
    const { world, model } = await openStore();
    world.disk.failNext('sync', 'EIO');
    world.vote(model);
    world.store?.flush();
    await world.run(5_000);

    expect(world.failures).toBe(1);
    expect(model.durableHardState).toBe(1);
  });

  test('leaves what was durable before, and the next start goes on from there', async () => {
    const { world, model } = await openStore();
    world.append(model, 3, 500);
    world.store?.flush();
    await world.run(50);
    world.disk.failNext('sync', 'EIO');
    world.append(model, 2, 500);
    world.store?.flush();
    await world.run(50);

    world.crash('powerLoss');
    await world.open();

    await world.verify();
    expect(model.entries.length).toBeGreaterThanOrEqual(3);
  });
});

describe('a disk that fails to read', () => {
  test.each([1, 2])(
    'the index of a closed segment and then %i of its blocks is asked again',
    async (failures) => {
      const { world, model } = await openStore();
      world.append(model, 3, 500);
      world.store?.flush();
      await world.run(50);
      world.crash('processKill');
      await world.open();

      world.disk.failNext('read', 'EIO');
      for (let count = 0; count < failures; count++) world.disk.failNext('read', 'EIO');

      await world.verify();
      expect(world.lost).toEqual([]);
    },
  );

  // The simulator found it (seed 8338): nobody heard the failure, and a process with a failure that nobody hears ends.
  test('a file that is left while it fails to open harms nobody but its reader', async () => {
    const { world, model } = await openStore();
    const segments = 20;
    for (let life = 0; life < segments; life++) {
      world.append(model, 1, 500);
      world.store?.flush();
      await world.run(50);
      world.crash('processKill');
      await world.open();
    }
    const log = present(world.store?.partition(model.id), 'a log');
    const unheard = vi.fn();
    process.on('unhandledRejection', unheard);
    for (const path of world.disk.paths().filter((name) => /\/segment-\d+\.log$/.test(name)))
      world.disk.failNextAt(path, 'read', 'EIO');

    const reads = Array.from({ length: segments }, (_, at) =>
      log.read(logIndex(at + 1), logIndex(at + 1), 1),
    );
    const batches = await world.settle(Promise.all(reads));
    await new Promise(setImmediate);
    process.off('unhandledRejection', unheard);

    expect(batches?.map(({ lastIndex }) => lastIndex)).toEqual(
      model.entries.map((_, at) => at + 1),
    );
    expect(unheard).not.toHaveBeenCalled();
  });
});
