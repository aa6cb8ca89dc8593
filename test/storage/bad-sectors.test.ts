/** Sectors that the disk does not give back any more, met by a start, by the scrub and by tools (specification §5.3, §5.4). */
import { afterEach, describe, expect, test, vi } from 'vitest';

import { present } from '../../src/base/assert.ts';
import type { IndexRange } from '../../src/base/index-ranges.ts';
import { readLedgerFileHeader, readLedgerFlush } from '../../src/codec/ledger-format.ts';
import { blockBytes, segmentFileName } from '../../src/codec/segment-format.ts';
import type { FileHandle } from '../../src/ports/file-system.ts';
import { nodeCryptography } from '../../src/security/node-cryptography.ts';
import { verifyDirectory, type DirectoryVerification } from '../../src/storage/verify-directory.ts';
import { diskError } from '../../src/testing/sim-disk.ts';
import { SimFileSystem } from '../../src/testing/sim-file-system.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

const limits = {
  segmentBytes: 8 * 1024 * 1024,
  logBytesMax: 256 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
};
const wal = '/data/wal';
const ledgerPath = `${wal}/durability.log`;
/** Reads of a block that fails once and then twice by itself. */
const readsOfTwoTries = 3;
/** Reads of a block that one check of a segment gives up. */
const readsOfOneCheck = 4;

afterEach(() => {
  vi.restoreAllMocks();
});

interface BadSector {
  readonly path: string;
  readonly positions: readonly number[] | 'all';
  /** Reads that fail before it comes back by itself; for good by default. */
  readonly readsMax?: number;
  readonly systemCode?: string;
}

/** From now on reads of those blocks of the file fail, whatever name it goes by. */
function spoil({ disk }: StoreWorld, sector: BadSector): void {
  const { path, positions, readsMax, systemCode = 'EIO' } = sector;
  const spoiled = present(disk.find(path), path);
  const { open, read } = SimFileSystem.prototype;
  const files = new WeakMap<SimFileSystem, Set<FileHandle>>();
  let readsLeft = readsMax ?? Number.MAX_SAFE_INTEGER;
  vi.spyOn(SimFileSystem.prototype, 'open').mockImplementation(async function (
    this: SimFileSystem,
    name,
    options,
  ) {
    const file = await open.call(this, name, options);
    const known = files.get(this) ?? new Set();
    if (disk.find(name) === spoiled) files.set(this, known.add(file));
    return file;
  });
  vi.spyOn(SimFileSystem.prototype, 'read').mockImplementation(function (
    this: SimFileSystem,
    file,
    from,
    length,
  ) {
    const isHit =
      files.get(this)?.has(file) === true &&
      (positions === 'all' || positions.some((at) => from <= at && at < from + length));
    if (!isHit || readsLeft === 0) return read.call(this, file, from, length);
    readsLeft--;
    return Promise.reject(diskError(systemCode, path));
  });
}

interface Filled {
  readonly world: StoreWorld;
  readonly first: PartitionModel;
  readonly second: PartitionModel;
  /** The segment in use; block 0 begins at 4,096 and holds the first two entries of the first partition. */
  readonly segmentPath: string;
}

/** Two partitions of six entries each; every flush is of two entries of one of them. */
async function filled(isEncrypted = false): Promise<Filled> {
  const world = new StoreWorld({ seed: 5, partitions: 2, limits, isEncrypted });
  await world.open();
  await world.createReplicas();
  for (const model of world.partitions) world.vote(model);
  await flush(world);
  for (let round = 0; round < 3; round++)
    for (const model of world.partitions) {
      world.append(model, 2, 100);
      await flush(world);
    }
  const first = present(world.partitions[0], 'the first');
  const second = present(world.partitions[1], 'the second');
  expect([first.durableIndex, second.durableIndex]).toEqual([6, 6]);
  const { segmentSeq } = storeOf(world).statistics();
  return { world, first, second, segmentPath: `${wal}/${segmentFileName(segmentSeq)}` };
}

async function flush(world: StoreWorld): Promise<void> {
  world.store?.flush();
  await world.run(50);
}

function storeOf(world: StoreWorld): NonNullable<StoreWorld['store']> {
  return present(world.store, 'the store is open');
}

/** Starts again on a disk with that bad sector. */
async function startedWith(world: StoreWorld, sector: BadSector): Promise<void> {
  world.crash('powerLoss');
  spoil(world, sector);
  await world.open();
}

function missingOf(world: StoreWorld, { id }: PartitionModel): readonly IndexRange[] | undefined {
  return storeOf(world).recovered.find(({ partitionId }) => partitionId === id)?.quarantine
    ?.missing;
}

function doubtsOf(world: StoreWorld): (string | undefined)[] {
  return storeOf(world).recovered.map(({ doubt }) => doubt);
}

interface Flushes {
  readonly flushes: readonly { readonly offset: number; readonly blocks: number }[];
  /** File offsets of their first copies. */
  readonly offsets: readonly number[];
  readonly end: number;
}

/** The flushes of the ledger in use. */
function flushesOf(world: StoreWorld): Flushes {
  const file = present(world.disk.find(ledgerPath), 'the ledger');
  const bytes = file.read(0, file.sizeBytes, 'cache');
  const generation = readLedgerFileHeader(bytes, 0)?.generation;
  const flushes: { readonly offset: number; readonly blocks: number }[] = [];
  let end = 2 * blockBytes;
  for (;;) {
    const found = readLedgerFlush(bytes, end, generation);
    if (found === undefined) return { flushes, offsets: flushes.map(({ offset }) => offset), end };
    flushes.push({ offset: end, blocks: found.blocks });
    end += found.blocks * 2 * blockBytes;
  }
}

describe('a start that meets a bad sector in the journal', () => {
  test.each(['EIO', 'ENODATA', 'EILSEQ'])(
    'has exactly its partition in quarantine, of exactly its entries, whatever it is called: %s (SCR-2)',
    async (systemCode) => {
      const { world, first, second, segmentPath } = await filled();

      await startedWith(world, { path: segmentPath, positions: [2 * blockBytes], systemCode });

      expect(missingOf(world, second)).toEqual([{ firstIndex: 1, lastIndex: 2 }]);
      expect(missingOf(world, first)).toBeUndefined();
      expect(storeOf(world).bootReport.damagedBlocks).toBe(1);
      world.crash('processKill');
      await world.open();
      expect(missingOf(world, second)).toEqual([{ firstIndex: 1, lastIndex: 2 }]);
      expect(missingOf(world, first)).toBeUndefined();
    },
  );

  test('lacks everything in the segment when it is its header', async () => {
    const { world, first, second, segmentPath } = await filled();

    await startedWith(world, { path: segmentPath, positions: [0] });

    for (const model of [first, second])
      expect(missingOf(world, model)).toEqual([{ firstIndex: 1, lastIndex: 6 }]);
  });

  test('lacks nothing when it comes back at the third try', async () => {
    const { world, first, second, segmentPath } = await filled();

    await startedWith(world, {
      path: segmentPath,
      positions: [2 * blockBytes],
      readsMax: readsOfTwoTries,
    });

    for (const model of [first, second]) expect(missingOf(world, model)).toBeUndefined();
    await world.verify();
  });

  test('cuts the journal there when it is behind coverage (SCR-1)', async () => {
    const { world, first, second, segmentPath } = await filled();

    await startedWith(world, { path: segmentPath, positions: [7 * blockBytes] });

    for (const model of [first, second]) expect(missingOf(world, model)).toBeUndefined();
    expect(storeOf(world).bootReport.journalEndedAt).toContain('block 6 cannot be read');
    await world.verify();
  });

  test.each([
    { position: 0, isEncrypted: false },
    { position: 0, isEncrypted: true },
    { position: blockBytes, isEncrypted: false },
    { position: blockBytes, isEncrypted: true },
  ])(
    'does not need it in a closed segment that has its index: at $position, encrypted $isEncrypted (SCR-6)',
    async ({ position, isEncrypted }) => {
      const { world, first, second, segmentPath } = await filled(isEncrypted);
      world.crash('powerLoss');
      await world.open();
      await world.run(1000);

      await startedWith(world, { path: segmentPath, positions: [position] });

      for (const model of [first, second]) expect(missingOf(world, model)).toBeUndefined();
    },
  );
});

describe('a start that meets a bad sector in the ledger', () => {
  test.each([
    ['the first copy of the header', () => [0]],
    ['the second copy of the header', () => [blockBytes]],
    ['the first copy of the first flush', ({ offsets }) => offsets.slice(0, 1)],
    ['the first copy of the newest flush', ({ offsets }) => offsets.slice(-1)],
    ['the second copy of the newest flush', ({ end }) => [end - blockBytes]],
    ['one copy of every flush', ({ offsets }) => offsets],
    ['what comes behind the newest flush', ({ end }) => [end]],
    ['two places that were never used', ({ end }) => [end + 5 * blockBytes, end + 9 * blockBytes]],
  ] satisfies [string, (flushes: Flushes) => readonly number[]][])(
    'loses nothing with %s (LED-5)',
    async (_, placesOf) => {
      const { world, first, second } = await filled();

      await startedWith(world, { path: ledgerPath, positions: placesOf(flushesOf(world)) });

      expect(doubtsOf(world)).toEqual([undefined, undefined]);
      for (const model of [first, second]) expect(missingOf(world, model)).toBeUndefined();
      await world.verify();
    },
  );

  test.each([
    ['both copies of a synced flush', ({ offsets }) => offsets.at(-3) ?? 0, 'is unreadable'],
    ['both copies of the newest flush', ({ offsets }) => offsets.at(-1) ?? 0, 'neither copy'],
  ] satisfies [string, (flushes: Flushes) => number, string][])(
    'doubts every replica with %s (KER-9)',
    async (_, placeOf, reason) => {
      const { world } = await filled();
      const place = placeOf(flushesOf(world));

      await startedWith(world, { path: ledgerPath, positions: [place, place + blockBytes] });

      const doubt = expect.stringContaining(reason) as string;
      expect(doubtsOf(world)).toEqual([doubt, doubt]);
    },
  );

  test('doubts every replica with the middle of both copies of a newest flush of many votes', async () => {
    const world = new StoreWorld({ seed: 6, partitions: 160, limits });
    await world.open();
    await world.createReplicas();
    const { end } = flushesOf(world);
    for (const model of world.partitions) world.vote(model);
    await flush(world);
    const { offset, blocks } = present(flushesOf(world).flushes.at(-1), 'the flush of the votes');
    expect(offset).toBe(end);
    expect(blocks).toBeGreaterThan(1);
    const positions = [offset + blockBytes, offset + (blocks + 1) * blockBytes];

    await startedWith(world, { path: ledgerPath, positions });

    expect(doubtsOf(world)[0]).toContain('neither copy');
  });

  test('doubts nobody when both copies come back at the third try', async () => {
    const { world } = await filled();
    const place = flushesOf(world).offsets.at(-3) ?? 0;

    await startedWith(world, {
      path: ledgerPath,
      positions: [place, place + blockBytes],
      readsMax: readsOfTwoTries,
    });

    expect(doubtsOf(world)).toEqual([undefined, undefined]);
  });

  test('fails, and says nothing of any replica, when nothing of it can be read', async () => {
    const { world } = await filled();

    await expect(startedWith(world, { path: ledgerPath, positions: 'all' })).rejects.toMatchObject({
      code: 'CLUSTOR_STORAGE_FAILED',
    });

    vi.restoreAllMocks();
    world.crash('processKill');
    await world.open();
    expect(doubtsOf(world)).toEqual([undefined, undefined]);
  });
});

describe('a scrub that meets a bad sector', () => {
  const renewalsOf = (world: StoreWorld): number =>
    storeOf(world).statistics().scrub.ledgerRenewals;

  async function scrubbed(world: StoreWorld, sector: BadSector): Promise<void> {
    spoil(world, sector);
    await world.settle(storeOf(world).scrub.start());
    await world.run(60_000);
  }

  test('in the ledger begins a new generation, while memory still has everything', async () => {
    const { world } = await filled();

    await scrubbed(world, { path: ledgerPath, positions: [2 * blockBytes] });

    expect(renewalsOf(world)).toBe(1);
    expect(world.failures).toBe(0);
  });

  test('in the header of the ledger begins a new generation, and the old file is no spare', async () => {
    const { world } = await filled();

    await scrubbed(world, { path: ledgerPath, positions: [0] });

    expect(renewalsOf(world)).toBe(1);
    expect(world.failures).toBe(0);
  });

  test('in the ledger leaves it when the sector comes back at the third try', async () => {
    const { world } = await filled();

    await scrubbed(world, {
      path: ledgerPath,
      positions: [2 * blockBytes],
      readsMax: readsOfTwoTries,
    });

    expect(renewalsOf(world)).toBe(0);
    expect(storeOf(world).statistics().scrub.passes).toBe(1);
  });

  test('in a covered block tells its partition, so that peers mend it', async () => {
    const { world, second, segmentPath } = await filled();

    await scrubbed(world, { path: segmentPath, positions: [2 * blockBytes] });

    const range = { partitionId: second.id, firstIndex: 1, lastIndex: 2 };
    expect(world.lost).toEqual([range]);
    expect(world.damages).toEqual([
      expect.objectContaining({
        reasons: ['1 blocks are damaged', '1 of them cannot be read'],
        ranges: [range],
      }),
    ]);
  });

  test('in a covered block that comes back at the second check tells nobody', async () => {
    const { world, segmentPath } = await filled();

    await scrubbed(world, {
      path: segmentPath,
      positions: [2 * blockBytes],
      readsMax: readsOfOneCheck,
    });

    expect(world.damages).toEqual([]);
    expect(world.lost).toEqual([]);
  });

  test('in the trailer of a closed segment says so, and nobody lost anything', async () => {
    const { world, segmentPath } = await filled();
    world.crash('powerLoss');
    await world.open();
    await world.run(5_000);
    const trailerOffset = (world.disk.find(segmentPath)?.sizeBytes ?? 0) - blockBytes;

    await scrubbed(world, { path: segmentPath, positions: [trailerOffset] });

    expect(world.damages).toMatchObject([
      { ranges: [], reasons: [expect.stringContaining('trailer')] },
    ]);
    expect(world.lost).toEqual([]);
  });
});

describe('a tool that verifies a directory', () => {
  async function verifiedWith(
    world: StoreWorld,
    sector: BadSector,
  ): Promise<DirectoryVerification> {
    world.crash('powerLoss');
    spoil(world, sector);
    const verified = verifyDirectory(world.place(), nodeCryptography);
    return present(await world.settle(verified), 'the directory was read');
  }

  test('names the block of a bad sector in the journal', async () => {
    const { world, segmentPath } = await filled();

    const found = await verifiedWith(world, { path: segmentPath, positions: [2 * blockBytes] });

    expect(found.isDamaged).toBe(true);
    const where = expect.stringContaining('block 1') as string;
    expect(found.findings).toContainEqual(expect.objectContaining({ where }));
  });

  test.each([0, blockBytes])(
    'takes the other copy of the header of the ledger: not that at %i (LED-5)',
    async (position) => {
      const { world } = await filled();

      const found = await verifiedWith(world, { path: ledgerPath, positions: [position] });

      expect(found.isDamaged).toBe(false);
    },
  );

  test('says that evidence is lost when both copies of that header are', async () => {
    const { world } = await filled();

    const found = await verifiedWith(world, { path: ledgerPath, positions: [0, blockBytes] });

    const what = expect.stringContaining('both copies of the ledger header') as string;
    expect(found.findings).toContainEqual({ severity: 'damage', where: 'ledger', what });
  });
});
