/** Crashes anywhere (specification §5.5, KER-4, KER-11): what was reported durable is there afterwards, whatever was in flight. */
import { describe, expect, test } from 'vitest';
import { nextBelow } from '../../src/base/prng.ts';
import type { CrashKind } from '../../src/testing/sim-file-system.ts';
import { StoreWorld } from './store-world.ts';

const kinds: readonly CrashKind[] = ['powerLoss', 'processKill'];

/** One random step of work. */
function work(world: StoreWorld): void {
  const model = world.partitions[nextBelow(world.random, world.partitions.length)];
  if (model === undefined) return;
  switch (nextBelow(world.random, 10)) {
    case 0:
      world.vote(model);
      break;
    case 1:
      world.truncate(model);
      break;
    case 2:
    case 3:
      world.commit(model);
      break;
    default:
      world.append(
        model,
        1 + nextBelow(world.random, 8),
        nextBelow(world.random, 20) === 0 ? 30_000 : 600,
      );
  }
  if (nextBelow(world.random, 3) > 0) world.store?.flush();
}

async function begin(seed: number, partitions: number): Promise<StoreWorld> {
  const world = new StoreWorld({
    seed,
    partitions,
    limits: {
      segmentBytes: 8 * 1024 * 1024,
      logBytesMax: 256 * 1024 * 1024,
      ledgerBytes: 256 * 1024,
    },
  });
  await world.open();
  await world.createReplicas();
  world.crash('processKill');
  await world.open();
  for (const model of world.partitions) world.vote(model);
  return world;
}

describe('a store that crashes at random', () => {
  test.each(Array.from({ length: 40 }, (_, at) => at + 1))(
    'keeps its promises, seed %i',
    async (seed) => {
      const world = await begin(seed, 1 + (seed % 4));

      for (let life = 0; life < 6; life++) {
        const steps = nextBelow(world.random, 60);
        for (let step = 0; step < steps; step++) {
          work(world);
          if (nextBelow(world.random, 2) === 0) await world.run(nextBelow(world.random, 4));
        }
        world.crash(kinds[nextBelow(world.random, 2)] ?? 'powerLoss');
        await world.open();
        await world.verify();
      }

      expect(world.failures).toBe(0);
    },
  );

  test.each(Array.from({ length: 20 }, (_, at) => at + 1))(
    'also when it crashes while it recovers, seed %i',
    async (seed) => {
      const world = await begin(seed + 1000, 2);

      for (let round = 0; round < 8; round++) {
        for (let step = 0; step < 20; step++) {
          work(world);
          if (nextBelow(world.random, 2) === 0) await world.run(nextBelow(world.random, 3));
        }
        world.crash(kinds[round % 2] ?? 'powerLoss');
        for (let attempt = 0; attempt < 3; attempt++) {
          world.killAt({
            kind: 'operation',
            operation: world.disk.operationCount + nextBelow(world.random, 40),
          });
          await world.open();
          world.crash(kinds[nextBelow(world.random, 2)] ?? 'powerLoss');
        }
        // Kill points that the attempts did not reach.
        world.disk.heal();
        await world.open();
        await world.verify();
      }
    },
  );
});

describe('kill points of the ledger ordering', () => {
  // A data chain: write blocks, sync, write ledger, sync ledger; `step` counts those that completed.
  const points = [
    { step: 1, name: 'after the write, before its sync' },
    { step: 2, name: 'after the sync, before the ledger record' },
    { step: 3, name: 'after the ledger record, before its sync' },
    { step: 4, name: 'after the sync of the ledger, before the completion' },
  ];

  test.each(points.flatMap((point) => kinds.map((kind) => ({ ...point, kind }))))(
    '$name, $kind',
    async ({ step, kind }) => {
      const world = await begin(7, 1);
      const [model] = world.partitions;
      if (model === undefined) throw new Error('one partition');
      world.store?.flush();
      await world.run(50);
      world.append(model, 3, 500);
      world.store?.flush();
      await world.run(50);
      expect(model.durableIndex).toBe(3);

      world.killAt({ kind: 'chain', chain: world.disk.chainCount, step });
      world.append(model, 2, 500);
      world.store?.flush();
      await world.run(50);
      expect(world.isKilled).toBe(true);
      expect(model.durableIndex, 'nothing is reported before the last sync').toBe(3);
      world.crash(kind);
      await world.open();

      await world.verify();
      if (step === 4) expect(model.entries.length, 'covered entries are there').toBe(5);
    },
  );
});
