/** A segment file that is gone costs what stood in it, whatever else a power failure left behind (SCR-3). */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { segmentFileName } from '../../src/codec/segment-format.ts';
import { StoreWorld } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};

test('a start is not refused where a tail behind coverage is to be cut as well', async () => {
  const world = new StoreWorld({ seed: 11, partitions: 2, limits });
  await world.open();
  await world.createReplicas();
  const [first, second] = world.partitions.map((model) => present(model, 'a partition'));
  for (const model of world.partitions) world.vote(model);
  const append = async (model: typeof first): Promise<void> => {
    world.append(present(model, 'a partition'), 3, 100);
    world.store?.flush();
    await world.run(100);
  };
  await append(first);
  const { segmentSeq } = present(world.store, 'the store is open').statistics();
  world.crash('powerLoss');
  await world.open();
  await append(second);
  world.killAt({ kind: 'chain', chain: world.disk.chainCount, step: 2 });
  await append(second);
  world.crash('powerLoss');
  world.disk.unlink(`/data/wal/${segmentFileName(segmentSeq)}`);
  world.disk.syncDirectory('/data/wal');

  await world.open();

  const { recovered } = present(world.store, 'the store is open');
  const [lost, whole] = world.partitions.map(({ id }) =>
    recovered.find(({ partitionId }) => partitionId === id),
  );
  expect(lost?.quarantine).toBeDefined();
  expect(whole?.quarantine).toBeUndefined();
});
