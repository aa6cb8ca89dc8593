/** A new life of a replica in the place of one that nobody counts any more, with the power going out at any moment (specification §1). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { incarnation, logIndex, nodeId, replicaId, term } from '../../src/base/ids.ts';
import type { RecoveredPartition } from '../../src/storage/log-store-types.ts';
import { StoreWorld, type PartitionModel } from './store-world.ts';

const newLife = incarnation('018f0000-0000-7000-8000-0000000000ff');

async function openStore(): Promise<{ world: StoreWorld; model: PartitionModel }> {
  const limits = {
    segmentBytes: 8 * 1024 * 1024,
    logBytesMax: 256 * 1024 * 1024,
    ledgerBytes: 256 * 1024,
  };
  const world = new StoreWorld({ seed: 1, partitions: 1, limits });
  await world.open();
  await world.createReplicas();
  const model = present(world.partitions[0], 'one partition');
  world.vote(model);
  world.append(model, 5, 100);
  world.store?.flush();
  await world.run(100);
  expect(model.durableIndex).toBe(5);
  return { world, model };
}

function replace(world: StoreWorld, model: PartitionModel): Promise<RecoveredPartition> {
  const member = {
    replicaId: replicaId(1),
    nodeId: nodeId(1),
    incarnation: newLife,
    role: 'learner' as const,
    addresses: [],
  };
  const replica = {
    partitionId: model.id,
    replicaId: replicaId(1),
    incarnation: newLife,
    configuration: {
      term: term(0),
      index: logIndex(0),
      members: [member],
      outgoingMembers: [],
    },
  };
  return present(world.store, 'an open store').replaceReplica(replica, () => undefined);
}

async function reopened(world: StoreWorld): Promise<RecoveredPartition> {
  await world.open();
  return present(world.store?.recovered[0], 'one partition was found');
}

describe('a replica that is replaced', () => {
  test('begins with an empty log and the old term, also behind a restart', async () => {
    const { world, model } = await openStore();

    const created = await world.settle(replace(world, model));
    world.crash('powerLoss');
    const found = await reopened(world);

    for (const life of [created, found])
      expect(life).toMatchObject({
        incarnation: newLife,
        lastIndex: 0,
        recordedCommitIndex: 0,
        hardState: { term: model.durableHardState },
        doubt: undefined,
      });
  });

  test('is either the old life, whole or in doubt, or the new one, whenever the power goes out', async () => {
    const outcomes = new Set<string>();
    for (let step = 0; step < 160; step++) {
      const afterMs = step < 80 ? step / 400 : (step - 80) / 4;
      const { world, model } = await openStore();
      void replace(world, model).catch(() => undefined);
      // Whatever else a store does flushes what it finds.
      world.store?.flush();
      if (step > 0) await world.run(afterMs);
      world.crash('powerLoss');

      const found = await reopened(world);

      if (found.incarnation === newLife) {
        expect(found).toMatchObject({ lastIndex: 0, doubt: undefined });
        outcomes.add('new');
      } else if (found.doubt === undefined) {
        expect(found.lastIndex).toBe(5);
        outcomes.add('old');
      } else {
        expect(found.doubt).toMatch(/replaced by incarnation/);
        // The old life's own configurations went with its entries; without any a node cannot start.
        expect(found.configurations.at(-1)?.members[0]?.incarnation).toBe(newLife);
        outcomes.add('doubt');
      }
    }
    expect([...outcomes].sort()).toEqual(['doubt', 'new', 'old']);
  });
});
