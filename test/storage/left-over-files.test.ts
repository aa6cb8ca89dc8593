/** Files of segments that nothing uses: gone at the next start, also while something is damaged; and those kept for the system. */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { blockOffset, segmentFileName } from '../../src/codec/segment-format.ts';
import { StoreWorld } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};

test('starts of a store with damage leave no segments behind', async () => {
  const world = new StoreWorld({ seed: 3, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  const model = present(world.partitions[0], 'a partition');
  world.vote(model);
  world.append(model, 3, 100);
  world.store?.flush();
  await world.run(100);
  const { segmentSeq } = present(world.store, 'the store is open').statistics();
  const path = `/data/wal/${segmentFileName(segmentSeq)}`;
  world.crash('powerLoss');
  world.disk.flipBit(path, blockOffset(0) + 50, 1);
  const counts: number[] = [];
  for (let start = 0; start < 6; start++) {
    await world.open();
    const { recovered } = present(world.store, 'the store is open');
    expect(recovered[0]?.quarantine).toBeDefined();
    await world.run(2000);
    const names = world.disk.list('/data/wal');
    counts.push(names.filter((name) => /^segment-.*\.log$/.test(name)).length);
    await world.settle(present(world.store, 'the store is open').close());
    world.crash('processKill');
  }

  expect(world.disk.find(path), 'what is damaged stays').toBeDefined();
  expect(counts.at(-1)).toBe(counts[1]);
});

test('keys do not change by taking a segment that is kept for the system', async () => {
  const world = new StoreWorld({ seed: 3, partitions: 1, limits, isEncrypted: true });
  world.rotateAfterMs = 'never';
  await world.open();
  await world.createReplicas();
  const model = present(world.partitions[0], 'a partition');
  world.vote(model);
  world.append(model, 5, 3000);
  world.store?.flush();
  await world.run(20_000);
  const store = present(world.store, 'the store is open');
  const { reserveSegments } = store.diskStatus();
  world.disk.freeBytes = 5 * 1024 * 1024;
  // The disk is not being asked just now.
  await world.run(10);

  await expect(world.settle(store.keyDesk.rotate())).rejects.toMatchObject({
    code: 'CLUSTOR_DISK_HARD',
  });

  await world.run(3000);
  expect(store.diskStatus().reserveSegments).toBe(reserveSegments);
});
