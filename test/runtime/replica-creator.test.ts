/** Wishes for replicas that come late. */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { incarnation, logIndex, nodeId, replicaId, term } from '../../src/base/ids.ts';
import { silentObserver } from '../../src/ports/observer.ts';
import { ReplicaCreator, type WantedReplica } from '../../src/runtime/replica-creator.ts';
import { StoreWorld } from '../storage/store-world.ts';

test('a deposed leader gets no replica made behind the one that a newer leader wanted', async () => {
  const world = new StoreWorld({ seed: 1, partitions: 1 });
  await world.open();
  const { id } = present(world.partitions[0], 'a partition');
  const created: string[] = [];
  const creator = new ReplicaCreator({
    nodeId: nodeId(1),
    observer: silentObserver,
    hosted: new Map(),
    awake: new Set(),
    store: () => present(world.store, 'a store'),
    adopt: (replica) => {
      created.push(replica.incarnation);
      return Promise.resolve();
    },
  });
  const wish = (life: string, ofTerm: number): WantedReplica => ({
    partitionId: id,
    replicaId: replicaId(1),
    incarnation: incarnation(life),
    configuration: { term: term(0), index: logIndex(0), members: [], outgoingMembers: [] },
    asOfIndex: logIndex(1),
    term: term(ofTerm),
  });
  const counted = '018c0d6c-9c11-7e9d-8000-0000000000aa';
  const late = '018c0d6c-9c11-7e9d-8000-0000000000bb';

  await world.settle(creator.create(wish(counted, 3)));
  await expect(world.settle(creator.create(wish(late, 2)))).rejects.toMatchObject({
    code: 'CLUSTOR_LEADERSHIP_LOST',
  });

  expect(created).toEqual([counted]);
});
