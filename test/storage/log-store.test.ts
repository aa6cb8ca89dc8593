/** What becomes durable together, what is dropped before, and what a store says of its disk's failures (KER-10). */
import { describe, expect, test, vi } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { clusterId, logIndex, nodeId } from '../../src/base/ids.ts';
import { replayLedger } from '../../src/storage/ledger-replay.ts';
import type { LogStoreLimits, LogStoreStatistics } from '../../src/storage/log-store-types.ts';
import { frames } from './model-frames.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

/** A store with one partition in term 1. */
async function openStore(
  more: Partial<LogStoreLimits> = {},
): Promise<{ world: StoreWorld; model: PartitionModel }> {
  const limits = {
    ...more,
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

describe('entries that are dropped before they are sealed', () => {
  /** Appends an entry that a leader of a newer term has not, before anything of it is written. */
  function appendAndDrop(world: StoreWorld, model: PartitionModel, payload: string): void {
    const log = present(world.store?.partition(model.id), 'log');
    const entry = { index: 1, term: model.hardState, payload };
    log.append(frames(model.id, [entry]), 1);
    world.store?.flush();
    log.truncateFrom(logIndex(1));
  }

  test('take no room of their partition', async () => {
    const { world, model } = await openStore({ partitionLogBytesMax: 10 * 1024 * 1024 });
    const log = present(world.store?.partition(model.id), 'log');
    const statistics = (): LogStoreStatistics => present(world.store, 'open').statistics();
    const { journalBytes } = statistics();
    for (let round = 0; round < 20; round++) {
      // A vote is flushed first, so that the entry waits.
      world.vote(model);
      appendAndDrop(world, model, 'x'.repeat(600_000));
      await world.run(20);
    }

    expect(statistics().journalBytes).toBe(journalBytes);
    expect(log.frameBytes).toBe(0);
    expect(log.refusal(100)).toBeUndefined();
  });

  test('are not the beginning of the next hold in Group-Fsync mode', async () => {
    const { world, model } = await openStore();
    const log = present(world.store?.partition(model.id), 'log');
    log.changeDurabilityMode({ mode: 'GroupFsync', epoch: 4, index: logIndex(1) });
    world.store?.flush();
    await world.run(100);
    appendAndDrop(world, model, 'held');
    await world.run(10_000);

    world.append(model, 1, 100);
    world.store?.flush();
    await world.run(100);

    expect(model.durableIndex).toBe(1);
    expect(world.overruns).toBe(0);
  });
});

test('a vote that waits behind a change of mode does not take its epoch back (KER-8)', async () => {
  const { world, model } = await openStore();
  const log = present(world.store?.partition(model.id), 'log');
  log.changeDurabilityMode({ mode: 'GroupFsync', epoch: 4, index: logIndex(1) });
  world.vote(model);
  world.store?.flush();
  await world.run(100);
  expect(model.durableHardState).toBe(2);

  world.crash('powerLoss');
  const replay = await world.settle(
    replayLedger(world.reader(), '/data/wal/durability.log', {
      clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
      nodeId: nodeId(1),
    }),
  );
  expect(replay?.image.row(model.id).durabilityModeEpoch).toBe(4);
});
