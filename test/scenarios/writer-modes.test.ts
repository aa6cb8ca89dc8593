/** How clusters live with nodes whose writer changes its mode: slow disks, stalls, lost threads (specification §5.1, §5.2). */
import { describe, expect, test } from 'vitest';
import type { NodeId } from '../../src/base/ids.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

/** Modes that a node went over to, each with its cause. */
function changesOf(scenario: ScenarioCluster, id: NodeId): readonly string[] {
  return scenario
    .eventsOf(id, 'ioWriterModeChanged')
    .map(({ event }) => `${String(event.fields['to'])} ${String(event.fields['cause'])}`);
}

function modeOf(scenario: ScenarioCluster, id: NodeId): string {
  return scenario.replica(id).log.ackFields().ioWriterMode;
}

/** A cluster with its leader and a follower, every node of which has written something. */
async function begin(seed: number): Promise<{
  scenario: ScenarioCluster;
  leader: NodeId;
  follower: NodeId;
}> {
  const scenario = await ScenarioCluster.start(seed);
  const leader = await scenario.untilLeader();
  await scenario.settle(scenario.write(leader, 'key', 'before'));
  return { scenario, leader, follower: scenario.others(leader)[0]! };
}

describe('a follower whose disk is slow', () => {
  test.each([1, 2])(
    'writes through the page cache, stays a voter, and goes back to direct writes, seed %i',
    async (seed) => {
      const { scenario, leader, follower } = await begin(seed);
      scenario.slowDown(follower);
      await scenario.load(leader, 9_000, 200);
      expect(changesOf(scenario, follower)).toEqual(['Pooled SlowDisk']);
      expect(scenario.eventsOf(follower, 'ioWriterStillDegraded')).toHaveLength(1);

      scenario.world.disk(follower).latencyFactor = 1;
      await scenario.load(leader, 90_000, 500);

      expect(changesOf(scenario, follower)).toEqual(['Pooled SlowDisk', 'Direct Configured']);
      expect(modeOf(scenario, follower)).toBe('Direct');
      expect(scenario.leaderChanges).toBe(1);
      expect(scenario.replica(leader).state.leader?.progress).toHaveLength(2);
      expect(changesOf(scenario, leader)).toEqual([]);
    },
  );

  test('that stalls once keeps its mode; one that stalls again and again does not', async () => {
    const { scenario, leader, follower } = await begin(3);
    const disk = scenario.world.disk(follower);
    const stallOnce = async (): Promise<void> => {
      disk.stall();
      await scenario.settle(scenario.write(leader, 'key', 'value'));
      await scenario.advance(800);
      disk.resume();
      await scenario.advance(5);
    };
    await stallOnce();
    await scenario.load(leader, 5_000, 200);
    expect(changesOf(scenario, follower)).toEqual([]);

    for (let stall = 0; stall < 4; stall++) await stallOnce();

    await scenario.load(leader, 1_000, 200);
    expect(changesOf(scenario, follower)).toEqual(['Pooled SlowDisk']);
    expect(scenario.leaderChanges).toBe(1);
  });
});

describe('a power loss of all nodes around a change of the mode', () => {
  test.each(Array.from({ length: 8 }, (_, at) => at + 1))('seed %i', async (seed) => {
    const { scenario, leader, follower } = await begin(10 + seed);
    for (const id of [leader, follower]) scenario.slowDown(id);
    await scenario.until(
      'the mode changes',
      () => {
        void scenario.write(leader, 'key', 'load').catch(() => undefined);
        return changesOf(scenario, follower).length > 0;
      },
      20_000,
    );
    await scenario.advance(seed * 40);
    for (const id of scenario.nodeIds) {
      scenario.crash(id);
      scenario.world.disk(id).heal();
    }
    for (const id of scenario.nodeIds) scenario.start(id);
    await scenario.until('all are up', () => scenario.areAllUp());

    const next = await scenario.untilLeader();
    await scenario.settle(scenario.write(next, 'key', 'after'));

    expect(scenario.nodeIds.map((id) => modeOf(scenario, id))).toEqual([
      'Direct',
      'Direct',
      'Direct',
    ]);
  });
});

describe('a voter that syncs on its loop', () => {
  test('brings its partition back to Strict until it has a thread again, and stays a voter', async () => {
    const { scenario, leader, follower } = await begin(4);
    const durability = () => scenario.partition(leader).durability();
    await scenario.settle(scenario.partition(leader).setDurability('GroupFsync'));

    scenario.world.disk(follower).hasNoThread = true;
    await scenario.load(leader, 2_000, 100);
    expect(modeOf(scenario, follower)).toBe('Blocking');
    expect(durability()).toMatchObject({ mode: 'Strict', wantedMode: 'GroupFsync' });
    await scenario.load(leader, 100_000, 500);
    expect(durability()).toMatchObject({
      mode: 'Strict',
      groupFsync: { kind: 'refused', clause: 'BlockingVoter' },
    });

    scenario.world.disk(follower).hasNoThread = false;
    await scenario.load(leader, 130_000, 500);

    expect(changesOf(scenario, follower)).toEqual(['Blocking ThreadLost', 'Direct Configured']);
    expect(durability()).toMatchObject({ mode: 'GroupFsync' });
    expect(scenario.leaderChanges).toBe(1);
    expect(scenario.replica(leader).state.leader?.progress).toHaveLength(2);
  });

  test('is no reason where a quorum of them does', async () => {
    const { scenario, leader } = await begin(5);
    for (const id of scenario.nodeIds) scenario.world.disk(id).hasNoThread = true;
    await scenario.load(leader, 2_000, 100);

    await scenario.settle(scenario.partition(leader).setDurability('GroupFsync'));
    await scenario.load(leader, 2_000, 100);

    expect(scenario.nodeIds.map((id) => modeOf(scenario, id))).toEqual([
      'Blocking',
      'Blocking',
      'Blocking',
    ]);
    expect(scenario.partition(leader).durability()).toMatchObject({ mode: 'GroupFsync' });
  });
});
