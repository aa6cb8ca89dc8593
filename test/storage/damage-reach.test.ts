/** How far damage of one block reaches: no further than the entries in its unit (SCR-2, regression 65). */
import { afterEach, describe, expect, test, vi } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import { segmentIndexFileName } from '../../src/codec/idx-format.ts';
import { blockOffset, segmentFileName } from '../../src/codec/segment-format.ts';
import { entriesOf, frames } from './model-frames.ts';
import { spoil } from './spoiled-disk.ts';
import { StoreWorld } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};

afterEach(() => {
  vi.restoreAllMocks();
});

async function opened(partitions: number, isEncrypted = false): Promise<StoreWorld> {
  const world = new StoreWorld({ seed: 3, partitions, limits, isEncrypted });
  world.rotateAfterMs = 'never';
  await world.open();
  await world.createReplicas();
  for (const model of world.partitions) world.vote(model);
  await flushed(world);
  return world;
}

async function flushed(world: StoreWorld): Promise<void> {
  world.store?.flush();
  await world.run(100);
}

function storeOf(world: StoreWorld): NonNullable<StoreWorld['store']> {
  return present(world.store, 'the store is open');
}

function logOf(world: StoreWorld, at: number) {
  const { id } = present(world.partitions[at], 'a partition');
  return present(storeOf(world).partition(id), 'its log');
}

/** The indexes of what a read gives, or why it gives nothing. */
async function read(world: StoreWorld, at: number, from: number, to: number) {
  const reading = logOf(world, at).read(logIndex(from), logIndex(to), 1 << 20);
  return world.settle(reading).then(
    (batch) => entriesOf(present(batch, 'entries').bytes).map(({ index }) => index),
    (error: unknown) => String(error),
  );
}

function entry(index: number, term = 1) {
  return { index, term, payload: `${index}`.padEnd(6000, '.') };
}

function entries(first: number, last: number, term = 1) {
  return Array.from({ length: last - first + 1 }, (_, at) => entry(first + at, term));
}

describe('a rotten block', () => {
  test('of another partition, between two entries of one flush, costs that partition only', async () => {
    const world = await opened(2);
    const [own, other] = [logOf(world, 0), logOf(world, 1)];
    own.append(frames(own.partitionId, [{ index: 1, term: 1, payload: 'first' }]), 1);
    const large = { index: 1, term: 1, payload: 'x'.repeat(60_000) };
    other.append(frames(other.partitionId, [large]), 2);
    own.append(frames(own.partitionId, [{ index: 2, term: 1, payload: 'second' }]), 3);
    await flushed(world);
    const { segmentSeq } = storeOf(world).statistics();
    world.crash('powerLoss');
    // Blocks 4 to 7 are sealed together and hold nothing but the middle of the large entry.
    world.disk.flipBit(`/data/wal/${segmentFileName(segmentSeq)}`, blockOffset(5) + 100, 1);

    await world.open();

    const { recovered } = storeOf(world);
    expect(recovered.map(({ quarantine }) => quarantine !== undefined)).toEqual([false, true]);
    expect(await read(world, 0, 2, 2)).toEqual([2]);
    expect(world.lost).toEqual([]);
  });

  test('costs no entries behind it, before and after it was repaired', async () => {
    const world = await opened(1);
    const log = logOf(world, 0);
    log.append(frames(log.partitionId, entries(1, 12)), 1);
    await flushed(world);
    const { segmentSeq } = storeOf(world).statistics();
    world.disk.flipBit(`/data/wal/${segmentFileName(segmentSeq)}`, blockOffset(5) + 100, 1);
    await world.settle(storeOf(world).scrub.start());
    await world.run(60 * 60_000);
    const [hole] = world.lost.splice(0);
    const { firstIndex, lastIndex } = present(hole, 'the scrub found it');
    expect([firstIndex, lastIndex]).toEqual([3, 6]);

    expect(await read(world, 0, 7, 12)).toEqual([7, 8, 9, 10, 11, 12]);
    expect(await read(world, 0, 1, 2)).toEqual([1, 2]);
    expect(world.lost).toEqual([]);
    // The read that meets the hole names just that.
    expect(await read(world, 0, 2, 8)).toContain('block 4');
    expect(world.lost.splice(0)).toMatchObject([{ firstIndex: 3, lastIndex: 6 }]);

    let isRepaired = false;
    log.repair(frames(log.partitionId, entries(3, 6)), () => {
      isRepaired = true;
    });
    await flushed(world);
    expect(isRepaired).toBe(true);
    for (let from = 1; from <= 12; from++) expect(await read(world, 0, from, from)).toEqual([from]);
    expect(world.lost).toEqual([]);
  });

  test('costs no entries that replaced those behind it in another segment', async () => {
    const world = await opened(1);
    const before = logOf(world, 0);
    before.append(frames(before.partitionId, entries(1, 10)), 1);
    await flushed(world);
    const { segmentSeq } = storeOf(world).statistics();
    world.crash('powerLoss');
    await world.open();
    const log = logOf(world, 0);
    for (const model of world.partitions) world.vote(model);
    log.truncateFrom(logIndex(6));
    log.append(frames(log.partitionId, entries(6, 10, 2)), 2);
    await flushed(world);
    world.disk.flipBit(`/data/wal/${segmentFileName(segmentSeq)}`, blockOffset(5) + 100, 1);

    for (const from of [3, 4]) expect(await read(world, 0, from, 10)).toContain('block 4');

    expect(Math.max(...world.lost.map((range) => range.lastIndex))).toBeLessThan(6);
    expect(await read(world, 0, 6, 10)).toEqual([6, 7, 8, 9, 10]);
  });
});

describe('a bad sector', () => {
  /** Entries of one partition in the first block of a closed segment, of another in the next. */
  async function twoBlocks(): Promise<{ readonly world: StoreWorld; readonly segmentSeq: number }> {
    const world = await opened(2);
    for (const model of world.partitions) {
      world.append(model, 3, 500);
      await flushed(world);
    }
    const { segmentSeq } = storeOf(world).statistics();
    world.crash('powerLoss');
    await world.open();
    await world.run(1000);
    return { world, segmentSeq };
  }

  test.each([false, true])(
    'in the block behind, of another partition, costs that one only; index lost: %s',
    async (isIndexLost) => {
      const { world, segmentSeq } = await twoBlocks();
      const index = `/data/wal/${segmentIndexFileName(segmentSeq)}`;
      if (isIndexLost) world.disk.flipBit(index, 20, 1);
      spoil(world, `/data/wal/${segmentFileName(segmentSeq)}`, blockOffset(1));

      expect(await read(world, 0, 1, 3)).toEqual([1, 2, 3]);
      expect(world.lost).toEqual([]);
    },
  );

  test.each(['rot', 'bad sector'])(
    '(%s) in one old segment keeps no other from being sealed anew',
    async (kind) => {
      const world = await opened(1, true);
      const model = present(world.partitions[0], 'a partition');
      const segments: number[] = [];
      for (let life = 0; life < 3; life++) {
        world.vote(model);
        world.append(model, 5, 3000);
        world.store?.flush();
        await world.run(200);
        segments.push(storeOf(world).statistics().segmentSeq);
        world.crash('powerLoss');
        await world.open();
        await world.run(2000);
      }
      const path = `/data/wal/${segmentFileName(present(segments[0], 'the oldest'))}`;
      if (kind === 'rot') world.disk.flipBit(path, blockOffset(0) + 60, 1);
      else spoil(world, path, blockOffset(0));
      const { keyDesk } = storeOf(world);

      await world.settle(keyDesk.rotate());
      await world.run(60_000);

      expect(keyDesk.status().segmentsToRewrite, 'only the damaged one is left').toBe(1);
    },
  );
});
