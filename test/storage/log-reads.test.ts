/** Reading entries that are not as they were written (specification §5.3, SCR-4). */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import type { PartitionLog } from '../../src/storage/partition-log.ts';
import { segmentFileName } from '../../src/codec/segment-format.ts';
import { simTask } from '../../src/testing/sim-scheduler.ts';
import { frames } from './model-frames.ts';
import { StoreWorld } from './store-world.ts';

/** A store whose blocks are right and hold a frame that is not, unless it shall be. */
async function withWrongFrame(wrong: 'payload' | 'length' | 'nothing' = 'payload'): Promise<{
  readonly world: StoreWorld;
  readonly log: PartitionLog;
}> {
  const limits = { segmentBytes: 8 * 1024 * 1024, ledgerBytes: 256 * 1024 };
  const world = new StoreWorld({ seed: 1, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  const { id } = present(world.partitions[0], 'a partition');
  const log = present(world.store?.partition(id), 'a log');
  const batch = frames(id, [{ index: 1, term: 0, payload: 'as it was meant' }]);
  if (wrong === 'payload') batch.bytes[60] = (batch.bytes[60] ?? 0) ^ 1;
  // More than there is.
  if (wrong === 'length') batch.bytes[5] = 1;
  log.append(batch, 1);
  world.store?.flush();
  await world.run(50);
  return { world, log };
}

test('a wrong frame in right blocks is read three times before it counts as damage', async () => {
  const { world, log } = await withWrongFrame();
  const startedMs = world.scheduler.nowMs;

  const read = world.settle(log.read(logIndex(1), logIndex(1), 1));

  await expect(read).rejects.toMatchObject({
    code: 'CLUSTOR_INTEGRITY',
    isTagRight: true,
    range: { firstIndex: 1, lastIndex: 1 },
  });
  // One second, then two.
  expect(world.scheduler.nowMs - startedMs).toBeGreaterThanOrEqual(3_000);
});

test.each(['payload', 'length'] as const)(
  'a start reads it three times as well: a wrong %s',
  async (wrong) => {
    const { world } = await withWrongFrame(wrong);
    world.crash('powerLoss');
    const startedMs = world.scheduler.nowMs;

    await world.open();

    expect(world.scheduler.nowMs - startedMs).toBeGreaterThanOrEqual(3_000);
    expect(world.store?.recovered[0]).toMatchObject({
      quarantine: { missing: [{ firstIndex: 1, lastIndex: 1 }] },
    });
  },
);

test('a frame that is right when a start reads it again is no damage', async () => {
  const [wrong, right] = [await withWrongFrame(), await withWrongFrame('nothing')];
  const path = `/data/wal/${segmentFileName(1)}`;
  for (const { world } of [wrong, right]) world.crash('powerLoss');
  const other = present(right.world.disk.find(path), 'a segment');
  const bytes = other.read(0, other.sizeBytes, 'cache').slice();
  const own = present(wrong.world.disk.find(path), 'a segment');
  const mend = simTask(undefined, 0, () => {
    own.write(0, bytes);
  });
  wrong.world.scheduler.schedule(1_500, mend);

  await wrong.world.open();

  expect(wrong.world.store?.recovered[0]).toMatchObject({ quarantine: undefined, lastIndex: 1 });
});

test('a store that is closed between two of these reads reads no more', async () => {
  const { world, log } = await withWrongFrame();
  const read = log.read(logIndex(1), logIndex(1), 1);
  const ending = expect(read).rejects.toMatchObject({ code: 'CLUSTOR_CLOSED' });
  await world.run(500);

  await world.settle(present(world.store, 'a store').close());

  await ending;
});

// The simulator found it (seed 99): what was repaired went to a segment of which nothing could be read any more.
test('a header that rots under a running store costs it no entry of that segment', async () => {
  const limits = { segmentBytes: 8 * 1024 * 1024, ledgerBytes: 256 * 1024 };
  const world = new StoreWorld({ seed: 2, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  const { id } = present(world.partitions[0], 'a partition');
  const log = present(world.store?.partition(id), 'a log');
  log.append(frames(id, [{ index: 1, term: 0, payload: 'an entry' }]), 1);
  world.store?.flush();
  await world.run(50);
  const { segmentSeq } = present(world.store, 'a store').statistics();

  expect(world.disk.flipBit(`/data/wal/${segmentFileName(segmentSeq)}`, 50, 1)).toBe(true);

  const read = await world.settle(log.read(logIndex(1), logIndex(1), 1));
  expect(read).toMatchObject({ firstIndex: 1, lastIndex: 1 });
  world.crash('powerLoss');
  await world.open();
  expect(world.store?.recovered[0]).toMatchObject({
    doubt: undefined,
    quarantine: { missing: [{ firstIndex: 1, lastIndex: 1 }] },
  });
});
