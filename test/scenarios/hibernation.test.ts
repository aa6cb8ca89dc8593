/** Partitions that nobody uses: they sleep, and somebody always wakes them. */
import { describe, expect, test } from 'vitest';

import { nodeId, type NodeId } from '../../src/base/ids.ts';
import { defaultRaftSettings, tickMs } from '../../src/raft/index.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

const electionTimeoutMs = defaultRaftSettings.electionTimeoutTicksMax * tickMs;
/** A link asks once a second whether its other end is there, and gives up behind four questions without an answer. */
const silentLinkMsMax = 6_000;

function areAsleep(scenario: ScenarioCluster, ids: readonly NodeId[] = scenario.nodeIds): boolean {
  return ids.every((id) => scenario.replica(id).isHibernating);
}

async function asleep(seed: number): Promise<{ scenario: ScenarioCluster; leader: NodeId }> {
  const scenario = await ScenarioCluster.start(seed);
  const leader = await scenario.untilLeader();
  await scenario.settle(scenario.write(leader, 'key', 'before'));
  await scenario.until('all sleep', () => areAsleep(scenario), 10_000);
  return { scenario, leader };
}

describe('regression 48: a hibernating partition whose leader dies elects within the bound once anyone asks', () => {
  test.each(['powerLoss', 'processKill'] as const)('at once (%s)', async (kind) => {
    const { scenario, leader } = await asleep(48);
    const [asked] = scenario.others(leader);
    scenario.crash(leader, kind);

    const write = scenario.write(asked!, 'key', 'after');
    await scenario.until(
      'another leads',
      () => scenario.leader() !== undefined && scenario.leader() !== leader,
      3 * electionTimeoutMs,
    );
    await scenario.settle(write);

    await scenario.until('it has it too', () => scenario.value(asked!, 'key') === 'after');
  });

  test.each([1, 2, 3])('a leader is elected though nobody asks, seed %i', async (seed) => {
    const { scenario, leader } = await asleep(seed);

    scenario.crash(leader);

    await scenario.until(
      'another leads',
      () => scenario.leader() !== undefined && scenario.leader() !== leader,
      silentLinkMsMax + 3 * electionTimeoutMs,
    );
  });
});

describe('a partition that nobody uses', () => {
  test('sends no heartbeats and holds no elections for an hour', async () => {
    const { scenario, leader } = await asleep(51);
    const { round } = scenario.replica(leader).state.leader!;

    await scenario.advance(3_600_000);

    expect(areAsleep(scenario)).toBe(true);
    expect(scenario.leader()).toBe(leader);
    expect(scenario.leaderChanges).toBe(1);
    expect(scenario.replica(leader).state.leader!.round).toBe(round);
  });

  test.each([0, 1])('serves linearizable reads and writes at a follower (%i)', async (at) => {
    const { scenario, leader } = await asleep(52);
    const follower = scenario.others(leader)[at]!;

    expect(await scenario.settle(scenario.read(follower, 'key'))).toBe('before');
    await scenario.until('all sleep', () => areAsleep(scenario), 10_000);
    await scenario.settle(scenario.write(follower, 'key', 'after'));

    expect(scenario.leader()).toBe(leader);
    expect(await scenario.settle(scenario.read(leader, 'key'))).toBe('after');
  });

  test('stays awake while a voter is down, and sleeps once it is back', async () => {
    const { scenario, leader } = await asleep(53);
    const [lost, kept] = scenario.others(leader);
    scenario.crash(lost!);

    await scenario.advance(silentLinkMsMax + 10_000);
    expect(scenario.replica(leader).isHibernating).toBe(false);
    expect(scenario.replica(kept!).isHibernating).toBe(false);
    scenario.start(lost!);

    await scenario.until('all sleep', () => scenario.areAllUp() && areAsleep(scenario), 30_000);
    expect(scenario.leader()).toBe(leader);
  });

  test('hears of a leader whose node was cut off and leads no more', async () => {
    const { scenario, leader } = await asleep(54);
    scenario.isolate(leader);
    const others = scenario.others(leader);

    const next = await scenario.untilLeader(others);
    await scenario.settle(scenario.write(next, 'key', 'after'));
    for (const other of others) {
      scenario.link(leader, other, true);
      scenario.link(other, leader, true);
    }
    await scenario.until('all sleep', () => areAsleep(scenario), 60_000);

    expect(scenario.leader()).toBe(next);
    expect(scenario.value(leader, 'key')).toBe('after');
  });
});

describe('a partition that sleeps', () => {
  const spare = nodeId(4);

  async function withMember(
    seed: number,
    role: 'learner' | 'observer',
  ): Promise<{ scenario: ScenarioCluster; leader: NodeId }> {
    const scenario = await ScenarioCluster.start(seed, 3, { spares: 1 });
    const leader = await scenario.untilLeader();
    const { host, port } = scenario.world.address(spare);
    const member = { nodeId: spare, addresses: [`${host}:${port}`], role };
    await scenario.settle(scenario.partition(leader).addMember(member));
    await scenario.settle(scenario.write(leader, 'key', 'before'));
    return { scenario, leader };
  }

  test.each(['learner', 'observer'] as const)(
    'is woken by its own %s that has lost its leader',
    async (role) => {
      const { scenario, leader } = await withMember(55, role);
      await scenario.until('all sleep', () => areAsleep(scenario), 10_000);
      // The connection that it dialed broke, and is there again; the leader noticed nothing.
      scenario.replica(spare).input({ kind: 'nodeDown', nodeId: leader, delayTicks: 0 });
      await scenario.advance(10_000);
      expect(areAsleep(scenario, [leader])).toBe(true);

      expect(await scenario.settle(scenario.read(spare, 'key'))).toBe('before');
      await scenario.settle(scenario.write(spare, 'key', 'after'));

      expect(scenario.leaderChanges).toBe(1);
      await scenario.until('all sleep', () => areAsleep(scenario), 10_000);
    },
  );

  test('is woken by an observer that was silent while the others fell asleep', async () => {
    const { scenario, leader } = await withMember(56, 'observer');
    const link = (isWhole: boolean): void => {
      scenario.link(leader, spare, isWhole);
      scenario.link(spare, leader, isWhole);
    };
    link(false);
    await scenario.settle(scenario.write(leader, 'key', 'meanwhile'));
    // Shorter than the silence behind which a connection is given up.
    await scenario.until('the leader sleeps', () => areAsleep(scenario, [leader]), 4_500);
    link(true);
    await scenario.advance(10_000);
    expect(areAsleep(scenario, [leader])).toBe(true);

    expect(await scenario.settle(scenario.read(spare, 'key'))).toBe('meanwhile');
  });
});
