/** Accidents of upgrades that other systems had: nodes of several versions side by side, and files that another version wrote. */
import { describe, expect, test } from 'vitest';

import { nodeId, type NodeId } from '../../src/base/ids.ts';
import { frameLeaf, frameLeafHash } from '../../src/codec/entry-frame.ts';
import type { LeafStatus } from '../../src/runtime/leaf-gate.ts';
import type { SimVersion } from '../../src/testing/sim-versions.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

const three: readonly (readonly [NodeId, SimVersion])[] = [
  [nodeId(1), 'older'],
  [nodeId(2), 'own'],
  [nodeId(3), 'newer'],
];

async function restart(scenario: ScenarioCluster, id: NodeId, version: SimVersion): Promise<void> {
  scenario.crash(id, 'processKill');
  scenario.versions.set(id, version);
  scenario.start(id);
  await scenario.until('it is up', () => scenario.areAllUp());
}

/** Writes through whoever leads, and waits until every node of `ids` has it. */
async function writeEverywhere(
  scenario: ScenarioCluster,
  value: string,
  ids = scenario.nodeIds,
): Promise<void> {
  const leader = await scenario.untilLeader(ids);
  await scenario.settle(scenario.write(leader, 'key', value));
  await scenario.until('all have it', () => ids.every((id) => scenario.value(id, 'key') === value));
}

describe('regression 49: a cluster in the middle of an upgrade goes on', () => {
  test('whichever version leads, and back again', async () => {
    const scenario = await ScenarioCluster.start(1, 3, { versions: three });
    for (const [next, version] of three) {
      const leader = await scenario.untilLeader();
      await scenario.advance(1_000);
      if (leader !== next)
        await scenario.settle(
          scenario.partition(leader).transferLeadership(next, { deadlineMs: 5_000 }),
        );
      await scenario.until('it leads', () => scenario.leader() === next);
      await writeEverywhere(scenario, `written while ${version} leads`);
    }

    const reading = await scenario.connect();
    expect(await scenario.settle(reading.read('key'))).toBe('written while newer leads');
  });

  test('entries that one version framed are read by each other one after a restart', async () => {
    const scenario = await ScenarioCluster.start(2, 3, { versions: three });
    await writeEverywhere(scenario, 'first');
    for (const version of ['newer', 'older', 'own'] as const) {
      for (const id of scenario.nodeIds) await restart(scenario, id, version);
      await writeEverywhere(scenario, `all are ${version}`);
    }

    for (const id of scenario.nodeIds) {
      expect(scenario.replica(id).state.inDoubt).toBe(false);
      expect(scenario.eventsOf(id, 'quarantined')).toEqual([]);
    }
  });

  test.each(['own', 'older'] as const)(
    'a node of a version that %s does not understand is refused, takes nobody with it, and catches up once it is back',
    async (others) => {
      const versions = three.map(([id]): [NodeId, SimVersion] => [id, others]);
      const scenario = await ScenarioCluster.start(3, 3, { versions });
      const [strange, ...rest] = scenario.nodeIds as [NodeId, NodeId, NodeId];
      await writeEverywhere(scenario, 'before');

      await restart(scenario, strange, 'next');
      await scenario.advance(3_000);
      await writeEverywhere(scenario, 'without it', rest);
      const leader = await scenario.untilLeader(rest);
      const { term } = scenario.replica(leader).state;
      await scenario.advance(3_000);
      await writeEverywhere(scenario, 'still without it', rest);

      expect(scenario.value(strange, 'key')).not.toBe('still without it');
      expect(scenario.replica(leader).state.term, 'it disturbs nobody').toBe(term);
      const reasons = scenario
        .eventsOf(strange, 'linkDown')
        .map(({ event }) => event.fields['detail']);
      expect(reasons.join(' ')).toContain('the wire catalogs do not fit');
      await restart(scenario, strange, 'own');
      await writeEverywhere(scenario, 'with it again');
    },
  );
});

describe('leaves by BLAKE3 (ENT-5)', () => {
  const versionsOf = (...names: SimVersion[]): [NodeId, SimVersion][] =>
    names.map((name, at) => [nodeId(at + 1), name]);

  /** Has a node lead; the leaves of the entries that it framed last, and what it says of them. */
  async function ledBy(
    scenario: ScenarioCluster,
    next: NodeId,
    value: string,
  ): Promise<{ readonly hash: string | undefined; readonly status: LeafStatus }> {
    const leader = await scenario.untilLeader();
    await scenario.advance(1_000);
    const options = { deadlineMs: 5_000 };
    if (leader !== next)
      await scenario.settle(scenario.partition(leader).transferLeadership(next, options));
    await scenario.until('it leads', () => scenario.leader() === next);
    await writeEverywhere(scenario, value);
    const replica = scenario.replica(next);
    const { lastIndex } = replica.state.log;
    const [frame] = replica.tail.slice(lastIndex, lastIndex) ?? [];
    if (frame === undefined) throw new Error('the newest entry is no longer in memory');
    const hash = frameLeaf(frame, 0) === undefined ? undefined : frameLeafHash(frame, 0);
    return { hash, status: scenario.partition(next).status().leaves };
  }

  test('are not written while a member does not know them, and are once all do', async () => {
    const scenario = await ScenarioCluster.start(11, 3, {
      versions: versionsOf('newer', 'own', 'older'),
    });
    const [first, , old] = scenario.nodeIds as [NodeId, NodeId, NodeId];

    expect(await ledBy(scenario, first, 'one does not know')).toEqual({
      hash: 'sha256',
      status: { wanted: 'blake3', used: 'sha256', failedClause: 'MemberUnaware', nodeId: old },
    });

    await restart(scenario, old, 'own');
    await scenario.advance(3_000);
    expect(await ledBy(scenario, first, 'all know')).toEqual({
      hash: 'blake3',
      status: { wanted: 'blake3', used: 'blake3', failedClause: 'None', nodeId: undefined },
    });

    await restart(scenario, old, 'older');
    await scenario.advance(3_000);
    expect((await ledBy(scenario, first, 'one went back')).hash).toBe('sha256');
  });

  test('are not written while a member has never been heard, and stay while one is away', async () => {
    const scenario = await ScenarioCluster.start(12, 3, {
      versions: versionsOf('newer', 'newer', 'newer'),
    });
    const [first, second, third] = scenario.nodeIds as [NodeId, NodeId, NodeId];
    expect((await ledBy(scenario, first, 'all are here')).hash).toBe('blake3');

    scenario.crash(third, 'processKill');
    await scenario.advance(3_000);
    const rest = [first, second];
    await writeEverywhere(scenario, 'one is away', rest);
    const leader = await scenario.untilLeader(rest);
    expect(scenario.partition(leader).status().leaves.used).toBe('blake3');

    scenario.crash(first, 'processKill');
    scenario.crash(second, 'processKill');
    scenario.start(first);
    scenario.start(second);
    const next = await scenario.untilLeader(rest);
    await writeEverywhere(scenario, 'these two have not heard it in this life', rest);
    expect(scenario.partition(next).status().leaves).toEqual({
      wanted: 'blake3',
      used: 'sha256',
      failedClause: 'MemberUnaware',
      nodeId: third,
    });
  });
});
