import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex } from '../../src/base/ids.ts';
import type { Partition } from '../../src/runtime/partition.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

/** A node whose product still holds the partition of a life that was replaced; the node itself is up and healthy. */
async function replaced(seed: number): Promise<{
  cluster: ScenarioCluster;
  old: Partition;
  /** A subscription that was begun before. */
  entries: ReturnType<Partition['subscribe']>;
}> {
  const cluster = await ScenarioCluster.start(seed, 3, { spares: 1 });
  const leader = await cluster.untilLeader();
  const spare = present(cluster.nodeIds.at(-1), 'a spare node');
  const { host, port } = cluster.world.address(spare);
  const partition = cluster.partition(leader);
  const wanted = { nodeId: spare, addresses: [`${host}:${port}`], role: 'learner' as const };
  await cluster.settle(cluster.write(leader, 'key', 'value'));
  await cluster.settle(partition.addMember(wanted));
  await cluster.until('caught up', () => cluster.value(spare, 'key') === 'value');
  const old = cluster.partition(spare);
  const entries = old.subscribe({ from: logIndex(1) });
  await cluster.settle(entries.next());
  const change = {
    promote: [],
    domains: new Map(),
    policy: 'strict' as const,
    overrideRef: '',
    remove: [spare],
  };
  await cluster.settle(partition.changeVoters(change));
  await cluster.settle(partition.addMember(wanted));
  expect(cluster.partition(spare)).not.toBe(old);
  return { cluster, old, entries };
}

describe('a partition whose replica was replaced by another life', () => {
  const closed = {
    kind: 'rejected',
    error: expect.objectContaining({ code: 'CLUSTOR_CLOSED', outcome: 'surelyNot' }) as unknown,
  };

  test('refuses an append at once', async () => {
    const { old } = await replaced(711);
    const outcomes: unknown[] = [];

    old.appendWith(new Uint8Array(1), {}, (outcome) => outcomes.push(outcome));

    expect(outcomes).toEqual([closed.error]);
  });

  test('ends its subscriptions, those of before and those that come later', async () => {
    const { cluster, old, entries } = await replaced(712);
    const late = old.subscribe({ from: logIndex(old.appliedIndex + 1) });

    // Entries of before the end may still be read.
    let next = await cluster.ending(entries.next());
    while (next.kind === 'fulfilled' && next.value.done !== true)
      next = await cluster.ending(entries.next());

    expect(next).toEqual(closed);
    expect(await cluster.ending(late.next())).toEqual(closed);
  });

  test.each<{ what: string; ask: (old: Partition) => Promise<unknown> }>([
    { what: 'a read', ask: (old) => old.read(() => 0) },
    { what: 'a wait for an entry', ask: (old) => old.waitApplied(logIndex(10_000)) },
    {
      what: 'a durability mode',
      ask: (old) => old.setDurability('GroupFsync'),
    },
    { what: 'a quarantine', ask: (old) => old.setQuarantine('OPS-1', 'the disk is exchanged') },
    {
      what: 'the end of a quarantine',
      ask: (old) => old.clearQuarantine('OPS-1', 'Administrative'),
    },
  ])('refuses $what', async ({ ask }) => {
    const { cluster, old } = await replaced(713);

    expect(await cluster.ending(ask(old))).toEqual(closed);
  });
});
