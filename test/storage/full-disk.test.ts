/** A disk without room, at each place that writes (regression 44): refused or waited for, never the end of the node. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { isClustorError } from '../../src/base/errors.ts';
import { incarnation, partitionId, replicaId, term, logIndex } from '../../src/base/ids.ts';
import { clientLogBytesMax } from '../../src/storage/log-admission.ts';
import { logStoreLimits } from '../../src/storage/log-store-limits.ts';
import type { LogStore } from '../../src/storage/log-store.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

const mib = 1024 * 1024;
const limits = { segmentBytes: 8 * mib, logBytesMax: 256 * mib, ledgerBytes: 256 * 1024 };

interface Opened {
  readonly world: StoreWorld;
  readonly model: PartitionModel;
}

/** A store with one partition in term 1, whose reserve lies ready. */
async function openStore(seed = 1): Promise<Opened> {
  const world = new StoreWorld({ seed, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  const model = present(world.partitions[0], 'one partition');
  world.vote(model);
  world.store?.flush();
  await world.run(1_000);
  expect(storeOf(world).diskStatus()).toMatchObject({ pressure: 'none', reserveSegments: 2 });
  return { world, model };
}

function storeOf(world: StoreWorld): LogStore {
  return present(world.store, 'the store is open');
}

async function write({ world, model }: Opened, mebibytes: number): Promise<void> {
  for (let at = 0; at < mebibytes * 2; at++) {
    world.append(model, 4, 250 * 1024);
    storeOf(world).flush();
    await world.run(20);
  }
}

function isRefused(world: StoreWorld, model: PartitionModel): boolean {
  return present(storeOf(world).partition(model.id), 'its log').refusal(100) !== undefined;
}

describe('where the disk has no room for a further segment', () => {
  test('clients are refused, what was taken in uses the reserve, and room brings writes back', async () => {
    const opened = await openStore();
    const { world, model } = opened;
    world.disk.isFull = true;
    await write(opened, 12);
    await world.run(3_000);

    expect(world.failures).toBe(0);
    expect(model.durableIndex).toBe(model.entries.length);
    expect(storeOf(world).diskStatus()).toMatchObject({ pressure: 'hard' });
    expect(storeOf(world).diskStatus().reserveSegments).toBeLessThan(2);
    expect(isRefused(world, model)).toBe(true);

    world.disk.isFull = false;
    await world.run(5_000);

    expect(isRefused(world, model)).toBe(false);
    expect(storeOf(world).diskStatus()).toMatchObject({ pressure: 'none', reserveSegments: 2 });
    await write(opened, 2);
    expect(model.durableIndex).toBe(model.entries.length);
  });

  test('what outruns the reserve waits, votes do not, and all of it is durable once there is room', async () => {
    const opened = await openStore();
    const { world, model } = opened;
    world.disk.isFull = true;
    await write(opened, 40);
    const durable = model.durableIndex;
    expect(durable).toBeLessThan(model.entries.length);

    world.vote(model);
    storeOf(world).flush();
    await world.run(100);
    expect(model.durableHardState).toBe(2);
    expect(world.failures).toBe(0);

    world.disk.isFull = false;
    await world.run(10_000);
    expect(model.durableIndex).toBe(model.entries.length);
  });

  test("a leader's entries are not taken any more, those of the system are", async () => {
    const opened = await openStore();
    const { world, model } = opened;
    world.disk.isFull = true;
    await write(opened, 40);
    const log = present(storeOf(world).partition(model.id), 'its log');

    expect(log.takes(new Uint8Array(100_000))).toBe(false);
    world.disk.isFull = false;
    await world.run(10_000);
    expect(log.takes(new Uint8Array(100_000))).toBe(true);
  });
});

describe('where writes into files of our own find no room (copy on write)', () => {
  test.each([0, 1, 2, 3, 4])('a chain goes on from its failed step, seed %i', async (at) => {
    const opened = await openStore();
    const { world, model } = opened;
    if (at > 0) await write(opened, at);
    world.disk.isFullForOverwrites = true;
    world.append(model, 5, 3000);
    storeOf(world).flush();
    await world.run(3_500);

    expect(world.failures).toBe(0);
    expect(model.durableIndex).toBeLessThan(model.entries.length);
    expect(isRefused(world, model)).toBe(true);

    world.disk.isFullForOverwrites = false;
    await world.run(5_000);
    expect(model.durableIndex).toBe(model.entries.length);
    expect(isRefused(world, model)).toBe(false);
    world.crash('powerLoss');
    await world.open();
    await world.verify();
  });

  test('a sync that finds no room is a failed sync: never repeated (KER-10)', async () => {
    const { world, model } = await openStore();
    world.disk.failNext('sync', 'ENOSPC');
    world.append(model, 1, 100);
    storeOf(world).flush();
    await world.run(5_000);

    expect(world.failures).toBe(1);
    expect(model.durableIndex).toBe(0);
  });

  test('a store that waits for room closes at once', async () => {
    const { world, model } = await openStore();
    world.disk.isFullForOverwrites = true;
    world.append(model, 1, 100);
    storeOf(world).flush();
    await world.run(100);

    await world.settle(storeOf(world).close());

    expect(world.failures).toBe(0);
  });
});

test('a ledger rotates on a full disk, into the file of the generation before', async () => {
  const { world, model } = await openStore();
  world.disk.isFull = true;
  const before = storeOf(world).statistics().ledgerGeneration;
  for (let at = 0; at < 200; at++) {
    world.vote(model);
    storeOf(world).flush();
    await world.run(5);
  }

  expect(storeOf(world).statistics().ledgerGeneration).toBeGreaterThan(before + 2);
  expect(model.durableHardState).toBe(model.hardState);
  expect(world.failures).toBe(0);
});

describe('the bound of a partition (regression 69)', () => {
  test('counts what small entries take of the journal, not only their frames, also after a restart', async () => {
    const { world, model } = await openStore(69);
    for (let writes = 0; writes < 100; writes++) {
      world.append(model, 1, 10);
      storeOf(world).flush();
      await world.run(20);
    }
    const charged = (): number => present(storeOf(world).partition(model.id), 'its log').frameBytes;
    const least = 100 * 4096;
    expect(charged()).toBeGreaterThanOrEqual(least);
    expect(charged()).toBeLessThanOrEqual(storeOf(world).statistics().journalBytes);

    // Twice: the first start reads the segment that was in use frame by frame, the second one by its index.
    for (let restarts = 0; restarts < 2; restarts++) {
      await world.settle(storeOf(world).close());
      await world.open();
    }
    expect(charged()).toBeGreaterThanOrEqual(least * 0.9);
  });

  test('is half of the bound of the node, and never above what the node takes of clients', () => {
    expect(logStoreLimits(limits).partitionLogBytesMax).toBe(128 * mib);
    const most = clientLogBytesMax(limits);
    expect(logStoreLimits({ ...limits, partitionLogBytesMax: most })).toBeDefined();
    expect(() => logStoreLimits({ ...limits, partitionLogBytesMax: most + 1 })).toThrow(
      'partitionLogBytesMax must be at most',
    );
  });
});

test('a further replica is refused before anything of it is written', async () => {
  const { world } = await openStore();
  world.disk.isFull = true;
  await world.run(10);
  storeOf(world).diskStatus();
  await world.run(2_000);
  const id = partitionId('018c0d6c-9c11-7e9d-8000-000000000077');
  const configuration = { term: term(0), index: logIndex(0), members: [], outgoingMembers: [] };

  const refused = await world
    .settle(
      storeOf(world).createReplica({
        partitionId: id,
        replicaId: replicaId(1),
        incarnation: incarnation(id),
        configuration,
      }),
    )
    .catch((error: unknown) => error);

  expect(isClustorError(refused, 'CLUSTOR_DISK_HARD')).toBe(true);
  expect(storeOf(world).partition(id)).toBeUndefined();
  expect(world.failures).toBe(0);
});

describe('a start on a full disk', () => {
  test.each(['powerLoss', 'processKill'] as const)(
    'after a %s takes a segment of the reserve and the old ledger, three times over',
    async (kind) => {
      const opened = await openStore();
      const { world } = opened;
      await write(opened, 3);
      world.disk.isFull = true;

      for (let start = 0; start < 2; start++) {
        world.crash(kind);
        await world.open();
        await world.verify();
        await world.run(3_000);
        expect(isRefused(world, opened.model)).toBe(true);
      }
      world.disk.isFull = false;
      await world.run(5_000);

      expect(storeOf(world).diskStatus()).toMatchObject({ pressure: 'none', reserveSegments: 2 });
    },
  );

  test('that has no reserve left is refused with what is missing', async () => {
    const { world } = await openStore();
    world.crash('processKill');
    for (const path of world.disk.paths()) if (path.includes('reserve-')) world.disk.unlink(path);
    world.disk.isFull = true;

    const refused = await world.open().catch((error: unknown) => error);

    expect(isClustorError(refused, 'CLUSTOR_DISK_HARD')).toBe(true);
    world.disk.isFull = false;
    await world.open();
    await world.verify();
  });
});

describe('a file that is left under the name of the spare', () => {
  const ledger = '/data/wal/durability.log';
  const spare = '/data/wal/durability.log.spare';

  test('is not written to when it is the ledger itself, as a crash between link and rename leaves it', async () => {
    const { world } = await openStore();
    world.crash('processKill');
    const inUse = present(world.disk.find(ledger), 'the ledger');
    world.disk.unlink(spare);
    world.disk.link(spare, inUse);

    await world.open();

    expect(world.disk.find(ledger)).not.toBe(inUse);
    await world.verify();
  });

  test('is used when it holds an older generation', async () => {
    const { world } = await openStore();
    world.crash('processKill');
    const older = present(world.disk.find(spare), 'the spare');

    await world.open();

    expect(world.disk.find(ledger)).toBe(older);
    await world.verify();
  });
});
