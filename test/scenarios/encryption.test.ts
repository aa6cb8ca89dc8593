/** What other systems did with keys and nonces; it must not happen here. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { nextBelow } from '../../src/base/prng.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { StoreWorld } from '../storage/store-world.ts';

const kinds: readonly CrashKind[] = ['powerLoss', 'processKill'];

async function write(world: StoreWorld, count: number): Promise<void> {
  for (const model of world.partitions) world.append(model, count, 3000);
  world.store?.flush();
  await world.run(100);
}

async function begin(seed: number): Promise<StoreWorld> {
  const world = new StoreWorld({
    seed,
    partitions: 2,
    limits: {
      segmentBytes: 8 * 1024 * 1024,
      logBytesMax: 256 * 1024 * 1024,
      ledgerBytes: 256 * 1024,
    },
    isEncrypted: true,
  });
  await world.open();
  await world.createReplicas();
  world.crash('processKill');
  await world.open();
  for (const model of world.partitions) world.vote(model);
  world.store?.flush();
  await world.run(50);
  await write(world, 3);
  return world;
}

describe('regression 36: a key and a nonce meet twice', () => {
  test.each(Array.from({ length: 12 }, (_, at) => at + 1))(
    'neither over crashes, truncations, rotations nor old copies of the disk, seed %i',
    async (seed) => {
      const world = await begin(seed + 100);
      let copy = world.disk.cloneSynced();
      for (let life = 0; life < 8; life++) {
        for (let step = 0; step < 12; step++) {
          const model = present(world.partitions[nextBelow(world.random, 2)], 'a partition');
          const draw = nextBelow(world.random, 12);
          if (draw === 0) world.vote(model);
          else if (draw === 1) world.truncate(model);
          else if (draw === 2) void world.store?.keyDesk.rotate().catch(() => undefined);
          else world.append(model, 1 + nextBelow(world.random, 6), 3000);
          world.store?.flush();
          await world.run(nextBelow(world.random, 60));
        }
        world.crash(kinds[nextBelow(world.random, 2)] ?? 'powerLoss');
        if (life === 3) {
          // The machine comes back with the disk of a while ago: what it promised since is gone, and no nonce may come twice.
          world.disk = copy;
          await world.open();
          await world.accept();
          for (const model of world.partitions) world.vote(model);
          await write(world, 5);
          continue;
        }
        if (life === 1) copy = world.disk.cloneSynced();
        await world.open();
        await world.verify();
      }

      expect(world.reusedNonces).toEqual([]);
      expect(world.encryption.watch.sealed).toBeGreaterThan(20);
    },
  );
});
