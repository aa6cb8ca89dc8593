/** The index of a closed segment is lost while the node runs, and the segment holds truncated entries beside live ones (SCR-6). */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import { segmentIndexFileName } from '../../src/codec/idx-format.ts';
import { entriesOf, frames } from './model-frames.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};

async function begin(): Promise<{ world: StoreWorld; model: PartitionModel; segmentSeq: number }> {
  const world = new StoreWorld({ seed: 3, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  const model = present(world.partitions[0], 'one');
  world.vote(model);
  world.append(model, 10, 100);
  world.store?.flush();
  await world.run(100);
  // A leader of term 2 has other entries from 8 on.
  world.vote(model);
  const log = present(world.store?.partition(model.id), 'log');
  log.truncateFrom(logIndex(8));
  const entries = [8, 9, 10].map((index) => ({ index, term: 2, payload: `new ${index}` }));
  log.append(frames(model.id, entries), 1000);
  world.store?.flush();
  await world.run(100);
  const { segmentSeq } = present(world.store, 'open').statistics();
  // The segment is closed by a start, which writes its index.
  world.crash('powerLoss');
  await world.open();
  await world.run(1000);
  expect(world.disk.list('/data/wal')).toContain(segmentIndexFileName(segmentSeq));
  return { world, model, segmentSeq };
}

async function readFrom6(world: StoreWorld, model: PartitionModel): Promise<string[]> {
  const log = present(world.store?.partition(model.id), 'log');
  const found: string[] = [];
  while (found.length < 5) {
    const batch = present(
      await world.settle(log.read(logIndex(6 + found.length), logIndex(10), 1 << 20)),
      'batch',
    );
    for (const { index, term } of entriesOf(batch.bytes)) found.push(`${index}@${term}`);
  }
  return found;
}

const right = ['6@1', '7@1', '8@2', '9@2', '10@2'];

test('with its index: what is live is read', async () => {
  const { world, model } = await begin();
  expect(await readFrom6(world, model)).toEqual(right);
});

test('a bit of the index rots: what is live is read all the same (SCR-6)', async () => {
  const { world, model, segmentSeq } = await begin();
  world.disk.flipBit(`/data/wal/${segmentIndexFileName(segmentSeq)}`, 20, 1);
  expect(await readFrom6(world, model)).toEqual(right);
});

test('the index cannot be read once (EIO): what is live is read all the same', async () => {
  const { world, model, segmentSeq } = await begin();
  world.disk.failNextAt(`/data/wal/${segmentIndexFileName(segmentSeq)}`, 'read', 'EIO');
  expect(await readFrom6(world, model)).toEqual(right);
});

test('index lost, and the live entries damaged: that is damage, not the entries that they replaced', async () => {
  const { world, model, segmentSeq } = await begin();
  const path = `/data/wal/${segmentIndexFileName(segmentSeq)}`;
  world.disk.flipBit(path, 20, 1);
  // Block 0 holds 1 to 10 of term 1, block 1 holds 8 to 10 of term 2.
  world.disk.flipBit(path.replace('.idx', '.log'), 8192 + 60, 1);
  const log = present(world.store?.partition(model.id), 'log');
  const batch = await world
    .settle(log.read(logIndex(8), logIndex(10), 1 << 20))
    .catch(() => undefined);
  expect(batch).toBeUndefined();
  expect(world.lost.length).toBeGreaterThan(0);
});

test('a disk that was full when the segment was closed has no index of it: what is live is read', async () => {
  const world = new StoreWorld({ seed: 3, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  const model = present(world.partitions[0], 'one');
  world.vote(model);
  world.append(model, 10, 100);
  world.store?.flush();
  await world.run(100);
  world.vote(model);
  const log = present(world.store?.partition(model.id), 'log');
  log.truncateFrom(logIndex(8));
  const entries = [8, 9, 10].map((index) => ({ index, term: 2, payload: `new ${index}` }));
  log.append(frames(model.id, entries), 1000);
  world.store?.flush();
  await world.run(100);
  let index = 11;
  const fillSegment = async (): Promise<void> => {
    const seq = world.store?.statistics().segmentSeq;
    for (; world.store?.statistics().segmentSeq === seq; index++) {
      log.append(
        frames(model.id, [{ index, term: 2, payload: 'x'.repeat(1_900_000) }]),
        1000 + index,
      );
      world.store?.flush();
      await world.run(100);
    }
  };
  const first = present(world.store, 'open').statistics().segmentSeq;
  // The next segment is ready; then the disk is full while this one is left.
  for (; index < 14; index++) {
    log.append(
      frames(model.id, [{ index, term: 2, payload: 'x'.repeat(1_900_000) }]),
      1000 + index,
    );
    world.store?.flush();
    await world.run(200);
  }
  world.disk.isFull = true;
  await fillSegment();
  await world.run(500);
  world.disk.isFull = false;
  await world.run(5000);
  expect(world.disk.list('/data/wal')).not.toContain(segmentIndexFileName(first));
  // Eight more segments push its rows out of memory.
  for (let count = 0; count < 9; count++) await fillSegment();
  expect(await readFrom6(world, model)).toEqual(right);
});
