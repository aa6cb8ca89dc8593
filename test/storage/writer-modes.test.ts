/** A store whose writer changes its mode as its disk slows down and recovers, crashed anywhere (specification §5.1, KER-4). */
import { describe, expect, test } from 'vitest';
import { present } from '../../src/base/assert.ts';
import { nextBelow } from '../../src/base/prng.ts';
import type { IoWriterStatus } from '../../src/storage/io-writer-desk.ts';
import { listLedger } from '../../src/storage/ledger-listing.ts';
import { StoreWorld } from './store-world.ts';

/** Chains of some 300 to 800 ms. */
const slowFactor = 300;

async function begin(seed: number): Promise<StoreWorld> {
  const world = new StoreWorld({
    seed,
    partitions: 2,
    limits: {
      segmentBytes: 8 * 1024 * 1024,
      logBytesMax: 256 * 1024 * 1024,
      ledgerBytes: 4 * 1024 * 1024,
    },
  });
  await world.open();
  await world.createReplicas();
  world.crash('processKill');
  await world.open();
  for (const model of world.partitions) world.vote(model);
  return world;
}

function writerOf(world: StoreWorld): IoWriterStatus {
  return present(world.store, 'an open store').statistics().ioWriter;
}

/** Appends every so often, for so long or until something holds. */
async function load(
  world: StoreWorld,
  forMs: number,
  apartMs: number,
  isDone: () => boolean = () => false,
): Promise<void> {
  const untilMs = world.scheduler.nowMs + forMs;
  while (world.scheduler.nowMs < untilMs && !isDone()) {
    world.append(present(world.partitions[nextBelow(world.random, 2)], 'a partition'), 1, 300);
    world.store?.flush();
    await world.run(apartMs);
  }
}

test('a slow disk brings Pooled, and a minute of health brings Direct back; the ledger says in which mode each flush was made', async () => {
  const world = await begin(1);
  await load(world, 1_000, 100);
  expect(writerOf(world)).toMatchObject({ mode: 'Direct', alarm: 'None', changes: 0 });

  world.disk.latencyFactor = slowFactor;
  await load(world, 30_000, 100, () => writerOf(world).mode === 'Pooled');
  expect(writerOf(world)).toMatchObject({ mode: 'Pooled', cause: 'SlowDisk', changes: 1 });
  await load(world, 10_000, 100);
  expect(writerOf(world)).toMatchObject({ mode: 'Pooled', alarm: 'Incident', changes: 1 });

  world.disk.latencyFactor = 1;
  const healedMs = world.scheduler.nowMs;
  await load(world, 100_000, 500, () => writerOf(world).mode === 'Direct');
  expect(world.scheduler.nowMs - healedMs).toBeGreaterThan(60_000);
  expect(writerOf(world)).toMatchObject({ mode: 'Direct', cause: 'Configured', changes: 2 });
  await load(world, 2_000, 100);

  world.crash('processKill');
  const [inUse] = present(await world.settle(listLedger(world.place())), 'a ledger');
  const modes = present(inUse, 'a generation').flushes.map(({ flush }) => flush.ioWriterMode);
  expect(modes.filter((mode, at) => mode !== modes[at - 1])).toEqual([
    'Direct',
    'Pooled',
    'Direct',
  ]);
});

test('a disk that refuses direct writes has Pooled for good, and no alarm', async () => {
  const world = new StoreWorld({ seed: 2, partitions: 2 });
  world.disk.refusesDirect = true;
  await world.open();
  await world.createReplicas();
  for (const model of world.partitions) world.vote(model);
  world.disk.refusesDirect = false;
  await load(world, 200_000, 1_000);

  expect(writerOf(world)).toMatchObject({
    mode: 'Pooled',
    bestMode: 'Pooled',
    cause: 'DirectRefused',
    alarm: 'None',
    changes: 0,
  });
});

test('a thread that is gone leaves the work to the loop until one can be had again', async () => {
  const world = await begin(3);
  world.disk.hasNoThread = true;
  await load(world, 100_000, 1_000);
  expect(writerOf(world)).toMatchObject({ mode: 'Blocking', cause: 'ThreadLost', changes: 1 });

  world.disk.hasNoThread = false;
  await load(world, 100_000, 1_000);
  expect(writerOf(world)).toMatchObject({ mode: 'Direct', cause: 'Configured', changes: 2 });
});

describe('crashes while the mode changes back and forth lose nothing that was reported durable', () => {
  test.each(Array.from({ length: 12 }, (_, at) => at + 1))('seed %i', async (seed) => {
    const world = await begin(seed + 100);
    let changes = 0;
    for (let life = 0; life < 6; life++) {
      for (let phase = 0; phase < 4; phase++) {
        world.disk.latencyFactor = phase % 2 === 0 ? slowFactor : 1;
        world.disk.hasNoThread = nextBelow(world.random, 4) === 0;
        const wanted = writerOf(world).changes + 1;
        await load(world, 75_000, 700, () => writerOf(world).changes >= wanted);
        changes += writerOf(world).changes >= wanted ? 1 : 0;
        // The change has just been made: the power may go in the first chain of the new mode, or some time later.
        if (nextBelow(world.random, 3) === 0) break;
      }
      world.append(present(world.partitions[0], 'a partition'), 3, 3_000);
      world.store?.flush();
      await world.run(nextBelow(world.random, 3) * world.disk.latencyFactor);
      world.crash(nextBelow(world.random, 2) === 0 ? 'powerLoss' : 'processKill');
      world.disk.heal();
      await world.open();
      await world.verify();
    }

    expect(changes).toBeGreaterThan(3);
    expect(world.failures).toBe(0);
  });
});
