/** Observers of a running cluster: their stream is capped, nobody waits for them, and there are two at most (specification §3.0). */
import { expect, test } from 'vitest';

import { isClustorError } from '../../src/base/errors.ts';
import { nodeId, type NodeId } from '../../src/base/ids.ts';
import type { MembershipOutcome } from '../../src/runtime/membership-desk.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

/** 200,000 bytes a second. */
const observerBytesPerTick = 2_000;
const entryBytes = 10_000;

function addObserver(
  scenario: ScenarioCluster,
  leader: NodeId,
  number: number,
): Promise<MembershipOutcome> {
  const { host, port } = scenario.world.address(nodeId(number));
  const member = {
    nodeId: nodeId(number),
    addresses: [`${host}:${port}`],
    role: 'observer' as const,
  };
  return scenario.partition(leader).addMember(member);
}

test('an observer catches up at its rate and no faster, from disk and from memory, while writes go on', async () => {
  const scenario = await ScenarioCluster.start(4, 3, {
    spares: 1,
    raft: { observerBytesPerTick },
  });
  const leader = await scenario.untilLeader();
  const load = async (entries: number): Promise<void> => {
    for (let at = 0; at < entries; at++)
      await scenario.settle(scenario.write(leader, 'key', `${at}`.padEnd(entryBytes, '.')));
  };
  await load(600);
  // They are read from disk from now on, and are larger than an estimate has them.
  const { tail, apply } = scenario.replica(leader);
  tail.rest(apply.appliedIndex);
  await scenario.settle(addObserver(scenario, leader, 4));
  const observer = scenario.replica(nodeId(4));
  const startedMs = scenario.world.nowMs;
  const startedAt = observer.state.durableIndex;

  const took: number[] = [];
  for (let at = 0; at < 40; at++) {
    const beforeMs = scenario.world.nowMs;
    await load(1);
    took.push(scenario.world.nowMs - beforeMs);
    await scenario.advance(50);
  }

  const seconds = (scenario.world.nowMs - startedMs) / 1_000;
  const received = (observer.state.durableIndex - startedAt) * entryBytes;
  const rate = observerBytesPerTick * 100;
  // Its share, what had gathered before, and one batch from disk that overdraws.
  expect(received).toBeLessThanOrEqual(rate * (seconds + 0.1) + 1.1 * 1024 * 1024);
  expect(observer.state.durableIndex).toBeLessThan(300);
  expect(Math.max(...took), 'no write waits for it').toBeLessThan(100);
  const { lastIndex } = scenario.replica(leader).state.log;
  await scenario.until('it has everything', () => observer.state.durableIndex >= lastIndex, 60_000);
  expect(scenario.leaderChanges).toBe(1);
});

test('a partition has two observers at most', async () => {
  const scenario = await ScenarioCluster.start(5, 3, { spares: 3 });
  const leader = await scenario.untilLeader();
  await scenario.settle(addObserver(scenario, leader, 4));
  await scenario.settle(addObserver(scenario, leader, 5));

  const third = await scenario.ending(addObserver(scenario, leader, 6));

  const error: unknown = third.kind === 'rejected' ? third.error : undefined;
  expect(isClustorError(error) && error.code).toBe('CLUSTOR_TOO_MANY_OBSERVERS');
  expect(scenario.partition(leader).status().members).toHaveLength(5);
});

test('a dead observer changes nothing for the others', async () => {
  const scenario = await ScenarioCluster.start(6, 3, { spares: 1 });
  const leader = await scenario.untilLeader();
  await scenario.settle(addObserver(scenario, leader, 4));
  scenario.crash(nodeId(4));

  await scenario.settle(scenario.write(leader, 'key', 'value'));
  await scenario.advance(10_000);

  expect(scenario.replica(leader).isHibernating).toBe(true);
  expect(await scenario.settle(scenario.read(scenario.others(leader)[0]!, 'key'))).toBe('value');
  expect(scenario.leaderChanges).toBe(1);
});
