/**
 * The key ring, the registry and the boot record on a disk that fails at any step of replacing them (regression 44): nothing
 * is lost, whoever asked is told by a code, and the same works again when the disk does.
 */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { isClustorError } from '../../src/base/errors.ts';
import { incarnation, logIndex, nodeId, partitionId, replicaId, term } from '../../src/base/ids.ts';
import type { DiskFailureKind } from '../../src/testing/sim-disk.ts';
import { StoreWorld } from './store-world.ts';

const mib = 1024 * 1024;
const limits = { segmentBytes: 8 * mib, logBytesMax: 256 * mib, ledgerBytes: 256 * 1024 };
const steps: readonly DiskFailureKind[] = ['write', 'sync', 'rename', 'directorySync'];
const faults = steps.flatMap((step) =>
  ['ENOSPC', 'EIO'].map((systemCode) => ({ step, systemCode })),
);
const second = partitionId('018c0d6c-9c11-7e9d-8000-00000000000b');

async function begin(seed: number): Promise<StoreWorld> {
  const world = new StoreWorld({ seed, partitions: 1, limits, isEncrypted: true });
  await world.open();
  await world.createReplicas();
  world.vote(present(world.partitions[0], 'one partition'));
  await write(world);
  return world;
}

/** Entries are written and durable: the store goes on. */
async function write(world: StoreWorld): Promise<void> {
  const model = present(world.partitions[0], 'one partition');
  world.append(model, 3, 2_000);
  world.store?.flush();
  await world.run(100);
  expect(model.durableIndex).toBe(model.entries.length);
  expect(world.failures).toBe(0);
}

async function refusalOf(asked: Promise<unknown>): Promise<{ code: string; advice: string }> {
  try {
    await asked;
  } catch (error) {
    if (isClustorError(error)) return { code: error.code, advice: error.advice };
    throw error;
  }
  throw new Error('nothing was refused');
}

/** Who is refused for want of room knows it by the code; a disk that fails otherwise is a failure of storage. */
function codeOf(systemCode: string): string {
  return systemCode === 'ENOSPC' ? 'CLUSTOR_DISK_HARD' : 'CLUSTOR_STORAGE_FAILED';
}

async function restart(world: StoreWorld): Promise<void> {
  world.crash('powerLoss');
  await world.open();
  await world.verify();
  await write(world);
}

describe.each(faults)('$systemCode at the $step', ({ step, systemCode }) => {
  test('of the key ring: the old keys seal on, and the next change makes new ones', async () => {
    const world = await begin(1);
    const desk = present(world.store, 'open').keyDesk;
    world.disk.failNextAt('/data/wal/keys.json', step, systemCode);

    const { code, advice } = await refusalOf(world.settle(desk.rotate()));

    expect({ code, hasAdvice: advice !== '' }).toEqual({
      code: codeOf(systemCode),
      hasAdvice: true,
    });
    expect(desk.status().epochs.map(({ state }) => state)).toEqual(['active']);
    await write(world);
    await world.settle(desk.rotate());
    expect(desk.status().epochs).toHaveLength(2);
    await write(world);
    await restart(world);
    expect(world.reusedNonces).toEqual([]);
  });

  test('of the key ring, and then the power fails: what was sealed opens', async () => {
    const world = await begin(2);
    world.disk.failNextAt('/data/wal/keys.json', step, systemCode);
    await refusalOf(world.settle(present(world.store, 'open').keyDesk.rotate()));
    await write(world);

    await restart(world);
    await world.settle(present(world.store, 'open').keyDesk.rotate());

    await restart(world);
    expect(world.reusedNonces).toEqual([]);
  });

  test('of the registry: no replica is there, and the next attempt makes it', async () => {
    const world = await begin(3);
    const create = (): Promise<unknown> => {
      const member = {
        nodeId: nodeId(1),
        replicaId: replicaId(9),
        incarnation: incarnation('0f8b1d2c-1111-4222-8333-00000000000b'),
        role: 'voter' as const,
        addresses: [],
      };
      const configuration = {
        term: term(0),
        index: logIndex(0),
        members: [member],
        outgoingMembers: [],
      };
      const created = present(world.store, 'open').createReplica({
        partitionId: second,
        ...member,
        configuration,
      });
      return world.settle(created);
    };
    world.disk.failNextAt('/data/node.json', step, systemCode);

    const { code, advice } = await refusalOf(create());

    expect({ code, hasAdvice: advice !== '' }).toEqual({
      code: codeOf(systemCode),
      hasAdvice: true,
    });
    expect(world.store?.partition(second)).toBeUndefined();
    await write(world);
    await create();
    expect(world.store?.partition(second)).toBeDefined();
    world.crash('powerLoss');
    await world.open();
    expect(world.store?.recovered.map((row) => row.partitionId)).toContain(second);
    await write(world);
  });

  test('of a boot record: the start goes on, and the next one writes it', async () => {
    const world = await begin(4);
    const path = `/data/partitions/${present(world.partitions[0], 'one partition').id}/boot_record.json`;
    world.crash('powerLoss');
    world.disk.unlink(path);
    world.disk.failNextAt(path, step, systemCode);

    await world.open();
    await world.verify();
    await write(world);
    if (step !== 'directorySync') expect(world.disk.find(path)).toBeUndefined();

    await restart(world);
    await world.run(1_000);
    expect(world.disk.find(path)).toBeDefined();
  });
});
