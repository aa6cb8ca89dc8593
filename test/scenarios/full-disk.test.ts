/** Disks without room, in running clusters; each place that writes has a test of its own in `test/storage/full-disk.test.ts`. */
import { describe, expect, test } from 'vitest';

import { isClustorError } from '../../src/base/errors.ts';
import type { NodeId } from '../../src/base/ids.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

/** Long enough for a node to notice what its disk says. */
const noticeMs = 2_500;

async function fillDisks(scenario: ScenarioCluster, nodes: readonly NodeId[]): Promise<void> {
  for (const id of nodes) scenario.world.disk(id).isFull = true;
  // Who writes looks; the write itself still fits.
  await scenario.ending(scenario.write(await scenario.untilLeader(), 'last', 'that fits'));
  await scenario.advance(noticeMs);
}

async function isRefused(scenario: ScenarioCluster, at: NodeId): Promise<boolean> {
  const ending = await scenario.ending(scenario.write(at, 'key', 'refused', { deadlineMs: 5_000 }));
  return (
    ending.kind === 'rejected' &&
    isClustorError(ending.error, 'CLUSTOR_DISK_HARD') &&
    ending.error.outcome === 'surelyNot'
  );
}

describe('regression 44: a full disk refuses writes with a reason, and everything else goes on', () => {
  test('everywhere: reads, elections, restarts and the removal of a member; room brings writes back', async () => {
    const scenario = await ScenarioCluster.start(44);
    await scenario.advance(3_000);
    await fillDisks(scenario, scenario.nodeIds);
    const leader = await scenario.untilLeader();

    expect(await isRefused(scenario, leader)).toBe(true);
    expect(scenario.why(leader, 'diskBlocked')).toBe('DiskHard');
    expect(await scenario.settle(scenario.read(leader, 'last'))).toBe('that fits');
    expect(scenario.leaderChanges).toBe(1);

    scenario.crash(leader);
    const next = await scenario.untilLeader(scenario.others(leader));
    scenario.start(leader);
    await scenario.until('it is back', () => scenario.areAllUp(), 30_000);
    await scenario.advance(noticeMs);
    expect(await isRefused(scenario, next)).toBe(true);
    expect(await scenario.settle(scenario.read(leader, 'last'))).toBe('that fits');

    const removed = scenario.others(next)[0] as NodeId;
    await scenario.settle(
      scenario.partition(next).changeVoters({
        promote: [],
        remove: [removed],
        domains: new Map(),
        policy: 'advisory',
        overrideRef: 'TICKET-44',
      }),
    );
    expect(scenario.replica(next).state.configurations.at(-1)?.members).toHaveLength(2);

    for (const id of scenario.nodeIds) scenario.world.disk(id).isFull = false;
    await scenario.advance(3 * noticeMs);
    await scenario.settle(scenario.write(await scenario.untilLeader(), 'key', 'back'));
    expect(scenario.why(next, 'diskBlocked')).toBe('None');
  });

  test('at the leader alone: it refuses, and stays the leader', async () => {
    const scenario = await ScenarioCluster.start(45);
    await scenario.advance(3_000);
    const leader = await scenario.untilLeader();
    await fillDisks(scenario, [leader]);

    expect(await isRefused(scenario, leader)).toBe(true);
    expect(scenario.leaderChanges).toBe(1);
    expect(scenario.why(scenario.others(leader)[0] as NodeId, 'diskBlocked')).toBe('None');
  });

  test('at one follower: the others commit, and it catches up once there is room', async () => {
    const scenario = await ScenarioCluster.start(46);
    await scenario.advance(3_000);
    const leader = await scenario.untilLeader();
    const full = scenario.others(leader)[0] as NodeId;
    await fillDisks(scenario, [full]);
    const large = 'x'.repeat(500_000);
    for (let at = 0; at < 20; at++)
      await scenario.settle(scenario.write(leader, `key ${at}`, large, { deadlineMs: 20_000 }));

    const behind = scenario.replica(full).state.durableIndex;
    expect(behind).toBeLessThan(scenario.replica(leader).state.commitIndex);
    expect(scenario.leaderChanges).toBe(1);
    expect(scenario.areAllUp()).toBe(true);

    scenario.world.disk(full).isFull = false;
    await scenario.until(
      'it has caught up',
      () => scenario.replica(full).state.durableIndex >= scenario.replica(leader).state.commitIndex,
      60_000,
    );
  });

  test('a disk that refuses even to overwrite takes nothing with it', async () => {
    const scenario = await ScenarioCluster.start(47);
    await scenario.advance(3_000);
    const leader = await scenario.untilLeader();
    scenario.world.disk(leader).isFullForOverwrites = true;
    const waiting = scenario.ending(scenario.write(leader, 'key', 'waits', { deadlineMs: 60_000 }));
    await scenario.advance(noticeMs);
    expect(scenario.why(leader, 'diskBlocked')).toBe('DiskRefused');
    expect(scenario.areAllUp()).toBe(true);

    scenario.world.disk(leader).isFullForOverwrites = false;
    await scenario.advance(2 * noticeMs);

    expect((await waiting).kind).toBe('fulfilled');
  });
});
