/** How the ledger goes on in a new file: what has to fit it, and who makes it (specification §5.5). */
import { afterEach, describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { clusterId, logIndex, nodeId } from '../../src/base/ids.ts';
import { replayLedger } from '../../src/storage/ledger-replay.ts';
import { diskError } from '../../src/testing/sim-disk.ts';
import { SimFileSystem } from '../../src/testing/sim-file-system.ts';
import { StoreWorld } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};

describe('records that wait together and take more than a generation', () => {
  test.each([40, 70, 200])(
    'become durable, the quarantines of %i partitions at once',
    async (count) => {
      const world = new StoreWorld({ seed: count, partitions: count, limits });
      await world.open();
      await world.createReplicas();
      const store = present(world.store, 'open');
      const { ledgerGeneration } = store.statistics();
      const ranges = Array.from({ length: 256 }, (_, at) => ({
        firstIndex: logIndex(2 * at + 1),
        lastIndex: logIndex(2 * at + 1),
      }));
      let durable = 0;
      for (const { id } of world.partitions)
        present(store.partition(id), 'log').persistQuarantine(
          { isActive: true, sinceMs: 1, begunMs: [1], ranges },
          () => durable++,
        );
      store.flush();
      await world.run(5_000);

      expect(durable).toBe(count);
      expect(store.statistics().ledgerGeneration).toBe(ledgerGeneration + 1);
      world.crash('powerLoss');
      const replay = await world.settle(
        replayLedger(world.reader(), '/data/wal/durability.log', {
          clusterId: clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001'),
          nodeId: nodeId(1),
        }),
      );
      const rows = world.partitions.map(({ id }) => replay?.image.row(id).quarantine?.ranges);
      expect(rows.map((row) => row?.length)).toEqual(Array(count).fill(256));
    },
  );
});

describe('the file for the next generation', () => {
  const prototype = SimFileSystem.prototype;
  const { createZeroed } = prototype;
  afterEach(() => {
    prototype.createZeroed = createZeroed;
  });

  interface Fill {
    readonly end: (error?: Error) => void;
    isOver: boolean;
  }

  /** Fills of it end when the test says so; the file is there from the beginning, as on a real disk. */
  function slowFills(): Fill[] {
    const fills: Fill[] = [];
    prototype.createZeroed = async function (path, sizeBytes) {
      await createZeroed.call(this, path, sizeBytes);
      if (!path.endsWith('.filling')) return;
      await new Promise<void>((resolve, reject) => {
        const fill: Fill = {
          isOver: false,
          end: (error) => {
            fill.isOver = true;
            if (error === undefined) resolve();
            else void this.remove(path).then(() => reject(error));
          },
        };
        fills.push(fill);
      });
    };
    return fills;
  }

  /** A store that has begun to make it. */
  async function opened(): Promise<{ world: StoreWorld; fills: Fill[] }> {
    const world = new StoreWorld({ seed: 2, partitions: 1, limits });
    const fills = slowFills();
    const opening = world.open();
    await world.run(50);
    fills[0]?.end();
    await world.run(50);
    await opening;
    await world.createReplicas();
    expect(fills.map(({ isOver }) => isOver)).toEqual([true, false]);
    return { world, fills };
  }

  async function roomGoesAndComesBack(world: StoreWorld): Promise<void> {
    world.disk.isFull = true;
    for (let second = 0; second < 3; second++) {
      world.store?.diskStatus();
      await world.run(1_100);
    }
    expect(world.store?.diskStatus().pressure).toBe('hard');
    world.disk.isFull = false;
    await world.run(3_000);
    expect(world.store?.diskStatus().pressure).toBe('none');
  }

  /** Votes until the ledger is full. */
  async function voteOn(world: StoreWorld): Promise<void> {
    for (let round = 0; round < 50; round++) {
      world.vote(present(world.partitions[0], 'one'));
      world.store?.flush();
      await world.run(10);
    }
  }

  test('is made once while room comes and goes, and a rotation waits for it', async () => {
    const { world, fills } = await opened();
    const model = present(world.partitions[0], 'one');

    await roomGoesAndComesBack(world);
    await voteOn(world);
    expect(fills.map(({ isOver }) => isOver)).toEqual([true, false]);
    expect(model.durableHardState).toBeLessThan(model.hardState);
    fills[1]?.end();
    await world.run(2_000);

    expect({ term: model.durableHardState, failures: world.failures }).toEqual({
      term: model.hardState,
      failures: 0,
    });
  });

  test('is begun again when it failed and there is room again', async () => {
    const { world, fills } = await opened();
    fills[1]?.end(diskError('ENOSPC', '/data/wal/durability.log.filling'));
    await world.run(50);

    await roomGoesAndComesBack(world);

    expect(fills.map(({ isOver }) => isOver)).toEqual([true, true, false]);
  });
});
