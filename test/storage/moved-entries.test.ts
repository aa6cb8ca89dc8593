/** A repaired range that is truncated later, or repaired again. */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import type { PartitionLog } from '../../src/storage/partition-log.ts';
import { entriesOf, frames } from './model-frames.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};

async function begin(): Promise<{ world: StoreWorld; model: PartitionModel }> {
  const world = new StoreWorld({ seed: 3, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  const model = present(world.partitions[0], 'one');
  world.vote(model);
  world.append(model, 10, 100);
  world.store?.flush();
  await world.run(100);
  expect(model.durableIndex).toBe(10);
  return { world, model };
}

function logOf(world: StoreWorld, model: PartitionModel): PartitionLog {
  return present(world.store?.partition(model.id), 'log');
}

async function repair(
  world: StoreWorld,
  model: PartitionModel,
  from: number,
  to: number,
): Promise<void> {
  const log = logOf(world, model);
  const batch = present(
    await world.settle(log.read(logIndex(from), logIndex(to), 1 << 20)),
    'batch',
  );
  expect([batch.firstIndex, batch.lastIndex]).toEqual([from, to]);
  let isDone = false;
  log.repair(batch, () => (isDone = true));
  world.store?.flush();
  await world.run(100);
  expect(isDone).toBe(true);
}

/** What Raft does when a new leader has other entries from 8 on. */
async function replaceFrom8(world: StoreWorld, model: PartitionModel): Promise<void> {
  const log = logOf(world, model);
  world.vote(model);
  log.truncateFrom(logIndex(8));
  const entries = [8, 9, 10].map((index) => ({ index, term: 2, payload: `new ${index}` }));
  log.append(frames(model.id, entries), 1000);
  world.store?.flush();
  await world.run(100);
}

async function readAll(world: StoreWorld, model: PartitionModel, from: number): Promise<string[]> {
  const log = logOf(world, model);
  const found: string[] = [];
  while (found.length < 11 - from) {
    const batch = present(
      await world.settle(log.read(logIndex(from + found.length), logIndex(10), 1 << 20)),
      'batch',
    );
    for (const { index, term } of entriesOf(batch.bytes)) found.push(`${index}@${term}`);
  }
  return found;
}

const right = ['6@1', '7@1', '8@2', '9@2', '10@2'];

test('in the segment in use what replaced its tail is read', async () => {
  const { world, model } = await begin();
  await repair(world, model, 6, 10);
  await replaceFrom8(world, model);
  expect(await readAll(world, model, 6)).toEqual(right);
});

test('once its segment is closed what replaced its tail is read', async () => {
  const { world, model } = await begin();
  await repair(world, model, 6, 10);
  await replaceFrom8(world, model);
  // Fill the segment so that the next one is entered.
  const log = logOf(world, model);
  const seq = world.store?.statistics().segmentSeq;
  for (let index = 11; world.store?.statistics().segmentSeq === seq; index++) {
    log.append(frames(model.id, [{ index, term: 2, payload: 'x'.repeat(400_000) }]), 1000 + index);
    world.store?.flush();
    await world.run(100);
  }
  await world.run(500);
  expect(await readAll(world, model, 6)).toEqual(right);
});

test('behind a restart what replaced its tail is read', async () => {
  const { world, model } = await begin();
  await repair(world, model, 6, 10);
  await replaceFrom8(world, model);
  const log = logOf(world, model);
  const seq = world.store?.statistics().segmentSeq;
  for (let index = 11; world.store?.statistics().segmentSeq === seq; index++) {
    log.append(frames(model.id, [{ index, term: 2, payload: 'x'.repeat(400_000) }]), 1000 + index);
    world.store?.flush();
    await world.run(100);
  }
  await world.run(500);
  world.crash('powerLoss');
  await world.open();
  expect(await readAll(world, model, 6)).toEqual(right);
});

test('an entry that was repaired twice in one segment is read where it was written last', async () => {
  const { world, model } = await begin();
  await repair(world, model, 3, 8);
  const { segmentSeq, endOffset } = present(world.store, 'open').statistics();
  const damagedBlock = endOffset - 4096;
  // 5 and 6 are found damaged in their new place as well, and are repaired once more.
  await repair(world, model, 5, 6);
  // The first repair's block is bad from 5 on (its beginning is whole: the frames of 3 and 4).
  const log = logOf(world, model);
  for (let index = 11; world.store?.statistics().segmentSeq === segmentSeq; index++) {
    log.append(frames(model.id, [{ index, term: 1, payload: 'x'.repeat(400_000) }]), 1000 + index);
    world.store?.flush();
    await world.run(100);
  }
  await world.run(500);
  world.disk.flipBit(
    `/data/wal/segment-${segmentSeq.toString().padStart(16, '0')}.log`,
    damagedBlock + 60,
    1,
  );
  const batch = await world
    .settle(log.read(logIndex(5), logIndex(6), 1 << 20))
    .catch(() => undefined);
  expect(world.lost).toEqual([]);
  expect(batch?.firstIndex).toBe(5);
});
