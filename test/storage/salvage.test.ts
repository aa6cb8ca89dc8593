/** Segments that go while a partition is in quarantine: its raw blocks are saved first (specification DUR-5, §5.1). */
import { afterEach, describe, expect, test, vi } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex, partitionId } from '../../src/base/ids.ts';
import {
  blockBytes,
  blockOffset,
  claimedBlocks,
  segmentFileName,
} from '../../src/codec/segment-format.ts';
import { sealedBlocksMax } from '../../src/storage/segment-writer.ts';
import type { SimDisk } from '../../src/testing/sim-disk.ts';
import { SimFileSystem } from '../../src/testing/sim-file-system.ts';
import {
  appended,
  committed,
  compact,
  type EventList,
  logOf,
  modelOf,
  momentsOf,
  opened,
  openedOn,
  readFrom,
  restarted,
  segmentsOf,
  statesOf,
} from './compaction-world.ts';
import { listSalvage, type SavedStretch } from '../../src/storage/salvage-listing.ts';
import { diskError } from '../../src/testing/sim-disk.ts';
import { spoil } from './spoiled-disk.ts';
import type { StoreWorld } from './store-world.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

function folderOf(world: StoreWorld, at: number): string {
  return `/data/partitions/${modelOf(world, at).id}/salvage`;
}

/** Content of a file as a process would find it after a power failure. */
function syncedOf(disk: SimDisk, path: string): Uint8Array {
  const file = present(disk.find(path), path);
  return file.read(0, file.sizeBytes, 'synced').slice();
}

/** What was saved, by the names of the files. */
function savedOf(
  world: StoreWorld,
  at: number,
  disk = world.disk,
): ReadonlyMap<string, Uint8Array> {
  const folder = folderOf(world, at);
  return new Map(disk.list(folder).map((name) => [name, syncedOf(disk, `${folder}/${name}`)]));
}

/** Blocks of a segment that were written so far. */
function blocksOf(content: Uint8Array): number {
  let count = 0;
  const isWritten = (block: number): boolean =>
    content.subarray(blockOffset(block), blockOffset(block + 1)).some((byte) => byte !== 0);
  while (isWritten(count)) count++;
  return count;
}

interface Damaged {
  readonly world: StoreWorld;
  readonly told: EventList;
  readonly first: number;
  /** The damaged segment, bad as it is. */
  readonly raw: Uint8Array;
  /** Blocks of the entry of the second partition. */
  readonly blocks: { readonly from: number; readonly to: number };
}

/**
 * The first segment has entries of the first partition, one of the second over several blocks, and again some of the
 * first; a block in the middle of the large one is rotten, and the process that has just begun knows that.
 */
async function damaged({ isEncrypted = false, around = 100 } = {}): Promise<Damaged> {
  const { world, told } = await opened({ partitions: 3, isEncrypted });
  const first = present(world.store, 'open').statistics().segmentSeq;
  const path = `/data/wal/${segmentFileName(first)}`;
  for (let flush = 0; flush < 3; flush++) {
    appended(world, 0, 10, around);
    await committed(world);
  }
  const from = blocksOf(syncedOf(world.disk, path));
  appended(world, 1, 1, 200_000);
  await committed(world);
  const to = blocksOf(syncedOf(world.disk, path)) - 1;
  expect(to - from).toBeGreaterThanOrEqual(2);
  for (let flush = 0; flush < 3; flush++) {
    appended(world, 0, 10, around);
    await committed(world);
  }
  await world.run(500);
  world.crash('powerLoss');
  world.disk.flipBit(path, blockOffset(from + 1) + 100, 1);
  const raw = syncedOf(world.disk, path);
  await world.open();
  for (const [at, model] of world.partitions.entries())
    logOf(world, at).commitIndex = logIndex(model.commitIndex);
  expect(logOf(world, 1).quarantine?.isActive).toBe(true);
  return { world, told, first, raw, blocks: { from, to } };
}

/** Where units begin. */
function unitsOf(content: Uint8Array): readonly number[] {
  const starts: number[] = [];
  for (
    let block = 0;
    block < blocksOf(content);
    block += claimedBlocks(content, blockOffset(block))
  )
    starts.push(block);
  return starts;
}

/** What is saved of the damaged segment: from the unit of the last good frame in front of the damage to that of the next one behind it. */
function expectedOf({ first, raw, blocks }: Damaged): ReadonlyMap<string, Uint8Array> {
  const starts = unitsOf(raw);
  const from = present(starts[starts.indexOf(blocks.from) - 1], 'the unit in front');
  const end = present(starts[starts.indexOf(blocks.to + 1) + 1], 'behind the next unit');
  const name = `${segmentFileName(first).slice(0, -4)}-block-${String(from).padStart(10, '0')}.salvage`;
  const content = [raw.subarray(0, blockBytes), raw.subarray(blockOffset(from), blockOffset(end))];
  return new Map([[name, new Uint8Array(Buffer.concat(content))]]);
}

const lifted = { sinceMs: 1, begunMs: [1], isActive: false, ranges: [] };

describe('while a partition is in quarantine, a segment that nobody reads', () => {
  test.each([
    [false, 100],
    [true, 100],
    [true, 1200],
  ])(
    'goes behind its salvage (encrypted: %s, entries of up to %i bytes around)',
    async (isEncrypted, around) => {
      const all = await damaged({ isEncrypted, around });
      const { world, told, first } = all;
      const inFront =
        unitsOf(all.raw)
          .filter((start) => start < all.blocks.from)
          .at(-1) ?? 0;
      if (around > 1000) expect(all.blocks.from - inFront).toBeGreaterThan(1);

      compact(world, 0, 60);
      await world.run(1_000);

      expect(segmentsOf(world)).not.toContain(first);
      expect(savedOf(world, 1)).toEqual(expectedOf(all));
      expect(savedOf(world, 0)).toEqual(new Map());
      expect(told.of('segmentSalvaged')).toMatchObject([
        {
          fields: {
            partitionId: modelOf(world, 1).id,
            segmentSeq: first,
            folder: folderOf(world, 1),
          },
        },
      ]);
      expect(told.of('segmentsNotRetired')).toEqual([]);
    },
  );

  test.each([false, true])('is read back from its salvage (encrypted: %s)', async (isEncrypted) => {
    const all = await damaged({ isEncrypted });
    const { world, first, blocks } = all;
    compact(world, 0, 60);
    await world.run(1_000);

    const shown: number[] = [];
    const list = (at: number): Promise<readonly SavedStretch[] | undefined> =>
      world.settle(
        listSalvage(world.place(), {
          partitionId: modelOf(world, at).id,
          onEntry: ({ index }) => shown.push(index),
        }),
      );

    expect(await list(1)).toEqual([
      {
        segmentSeq: first,
        firstBlock: blocks.from - 1,
        lastBlock: blocks.to + 1,
        damagedBlocks: sealedBlocksMax,
        fault: undefined,
        entries: [],
        lacked: [],
      },
    ]);
    expect(await list(0)).toEqual([]);
    expect(shown).toEqual([]);
    await expect(
      world.settle(
        listSalvage(world.place(), {
          partitionId: partitionId('018c0d6c-9c11-7e9d-8000-00000000dead'),
        }),
      ),
    ).rejects.toThrow(/hosts no replica/);
    const [name] = world.disk.list(folderOf(world, 1));
    world.disk.flipBit(`${folderOf(world, 1)}/${name}`, 20, 1);
    expect(await list(1)).toMatchObject([{ fault: 'the header is damaged', entries: [] }]);
  });

  test('goes without one where all of it can be read and none of it is lacked', async () => {
    const { world, told, first } = await damaged();
    appended(world, 0, 10);
    await committed(world);
    await restarted(world);
    const second = first + 1;
    expect(segmentsOf(world)).toContain(second);

    compact(world, 0, 70);
    await world.run(1_000);

    expect(segmentsOf(world)).not.toContain(second);
    expect(told.of('segmentSalvaged').map(({ fields }) => fields?.['segmentSeq'])).toEqual([first]);
  });

  test('gives up whole entries that its log says it cannot read, and only those', async () => {
    const { world } = await opened({ partitions: 2 });
    const first = present(world.store, 'open').statistics().segmentSeq;
    const path = `/data/wal/${segmentFileName(first)}`;
    appended(world, 0, 10);
    await committed(world);
    const from = blocksOf(syncedOf(world.disk, path));
    appended(world, 1, 1);
    await committed(world);
    appended(world, 0, 40, 4000);
    await committed(world);
    await restarted(world);
    const log = logOf(world, 1);
    // As if the disk had refused the entry when the process began: it lacks it, and a later read finds it whole.
    log.persistQuarantine(
      { ...lifted, isActive: true, ranges: [{ firstIndex: logIndex(1), lastIndex: logIndex(1) }] },
      () => undefined,
    );
    log.index.dropThrough(logIndex(1));

    compact(world, 0, 50);
    await world.run(1_000);

    expect(segmentsOf(world)).not.toContain(first);
    const [content] = savedOf(world, 1).values();
    expect(content).toHaveLength(2 * blockBytes);
    expect([...savedOf(world, 1).keys()][0]).toContain(`-block-${String(from).padStart(10, '0')}.`);
    await world.run(1_000);
    const only = [{ firstIndex: 1, lastIndex: 1 }];
    expect(
      await world.settle(listSalvage(world.place(), { partitionId: modelOf(world, 1).id })),
    ).toMatchObject([
      { segmentSeq: first, firstBlock: from, lastBlock: from, damagedBlocks: 0, entries: only },
    ]);
  });

  test('is read back over the ends of files', async () => {
    const { world } = await opened({ partitions: 1, isEncrypted: true });
    const first = present(world.store, 'open').statistics().segmentSeq;
    appended(world, 0, 8, 30_000);
    await committed(world);
    const raw = syncedOf(world.disk, `/data/wal/${segmentFileName(first)}`);
    const last = blocksOf(raw);
    const { fileSystem } = world.place();
    await world.settle(fileSystem.makeDirectory(folderOf(world, 0)));
    // A block to a file: no entry of some size is whole in one.
    for (let block = sealedBlocksMax; block < last; block++) {
      const name = `${segmentFileName(first).slice(0, -4)}-block-${String(block).padStart(10, '0')}.salvage`;
      const content = [
        raw.subarray(0, blockBytes),
        raw.subarray(blockOffset(block), blockOffset(block + 1)),
      ];
      const bytes = new Uint8Array(Buffer.concat(content));
      await world.settle(fileSystem.replaceFile(`${folderOf(world, 0)}/${name}`, bytes));
    }

    const shown: { readonly index: number; readonly isLarge: boolean }[] = [];
    const [stretch, ...others] =
      (await world.settle(
        listSalvage(world.place(), {
          partitionId: modelOf(world, 0).id,
          onEntry: ({ index, payload }) =>
            shown.push({ index, isLarge: payload.length > blockBytes }),
        }),
      )) ?? [];

    expect(others).toEqual([]);
    expect(stretch).toMatchObject({
      firstBlock: sealedBlocksMax,
      lastBlock: last - 1,
      damagedBlocks: 0,
    });
    // What begins in the first unit, which is not there, cannot be shown.
    expect(shown.at(-1)).toEqual({ index: 8, isLarge: true });
    expect(shown.length).toBeLessThan(8);
    expect(stretch?.entries.at(-1)?.lastIndex).toBe(8);
  });

  test('stays where its salvage cannot be written, and goes once it can', async () => {
    const { world, told, first } = await damaged();
    const { replaceFile } = SimFileSystem.prototype;
    const spy = vi.spyOn(SimFileSystem.prototype, 'replaceFile').mockImplementation(function (
      this: SimFileSystem,
      path,
      bytes,
    ) {
      if (path.includes('/salvage/')) return Promise.reject(diskError('ENOSPC', path));
      return replaceFile.call(this, path, bytes);
    });

    compact(world, 0, 59);
    compact(world, 0, 60);
    await world.run(1_000);

    expect(segmentsOf(world)).toContain(first);
    expect(told.of('segmentsNotRetired')).not.toEqual([]);

    spy.mockRestore();
    appended(world, 0, 1);
    await committed(world);
    await world.run(60_000);
    compact(world, 0, 61);
    await world.run(1_000);

    expect(segmentsOf(world)).not.toContain(first);
  });

  test('stays where a block of it cannot be read, or its header is bad: what is saved must be worth it', async () => {
    for (const isHeaderBad of [false, true]) {
      const { world, told, first, blocks } = await damaged();
      const path = `/data/wal/${segmentFileName(first)}`;
      if (isHeaderBad) world.disk.flipBit(path, 50, 1);
      else spoil(world, path, blockOffset(blocks.from + 1));

      compact(world, 0, 60);
      await world.run(1_000);

      expect(segmentsOf(world)).toContain(first);
      expect(savedOf(world, 1)).toEqual(new Map());
      expect(told.of('segmentsNotRetired')).toHaveLength(1);
      vi.restoreAllMocks();
    }
  });

  test('keeps none of the others, and nobody waits for it', async () => {
    const { world, first } = await damaged();
    world.disk.flipBit(`/data/wal/${segmentFileName(first)}`, 50, 1);
    for (let segment = 0; segment < 5; segment++) {
      appended(world, 0, 10);
      await committed(world);
      await restarted(world);
    }

    compact(world, 0, 70);
    await world.run(1_000);

    expect(segmentsOf(world)).toContain(first);
    expect(segmentsOf(world)).not.toContain(first + 1);
    expect(segmentsOf(world)).toContain(first + 2);
    await readFrom(world, 0, 71);
  });

  test('is there or saved, wherever the power goes out', async () => {
    const all = await damaged();
    const { world, first } = all;
    const path = `/data/wal/${segmentFileName(first)}`;

    compact(world, 0, 60);
    const moments = await momentsOf(world, 1_000);

    let gone = 0;
    for (const disk of moments.flatMap((moment) => statesOf(world, moment))) {
      if (disk.find(path) !== undefined) continue;
      gone++;
      expect(savedOf(world, 1, disk)).toEqual(expectedOf(all));
    }
    expect(gone).toBeGreaterThan(0);
    const last = await openedOn(world, present(moments.at(-1), 'a moment'));
    expect(logOf(last, 1).quarantine?.isActive).toBe(true);
    await readFrom(last, 0, 61);
  });
});

describe('what was saved', () => {
  test('goes when its quarantine is over, in this process or the next', async () => {
    for (const isNext of [false, true]) {
      const { world } = await damaged();
      compact(world, 0, 60);
      await world.run(1_000);
      expect(savedOf(world, 1).size).toBe(1);

      if (isNext) await restarted(world);
      await world.run(1_000);
      expect(savedOf(world, 1).size).toBe(1);
      logOf(world, 1).persistQuarantine(lifted, () => undefined);
      world.store?.flush();
      if (isNext) {
        await world.run(20);
        world.crash('processKill');
        await world.open();
      }
      await world.run(1_000);

      expect(world.disk.list(folderOf(world, 1))).toEqual([]);
      expect(world.disk.list(folderOf(world, 1).replace('/salvage', ''))).not.toContain('salvage');
    }
  });

  test('keeps the keys that open it', async () => {
    const { world } = await damaged({ isEncrypted: true });
    compact(world, 0, 60);
    await world.run(1_000);
    expect(savedOf(world, 1).size).toBe(1);
    const desk = present(world.store, 'open').keyDesk;
    const states = (): readonly string[] => desk.status().epochs.map(({ state }) => state);

    await world.settle(desk.rotate());
    await world.run(60_000, () => desk.status().segmentsToRewrite === 0);
    await world.run(1_000);
    expect(states()).toEqual(['decryptOnly', 'active']);

    logOf(world, 1).persistQuarantine(lifted, () => undefined);
    world.store?.flush();
    await world.run(1_000);
    await world.settle(desk.rotate());
    await world.run(60_000, () => desk.status().segmentsToRewrite === 0);
    await world.run(1_000);
    expect(states()).toEqual(['destroyed', 'destroyed', 'active']);
  });
});
