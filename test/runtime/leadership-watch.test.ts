/** Leaders that give leadership up because of their disks, in a cluster of real nodes (specification ELE-8). */
import { expect, test } from 'vitest';

import { isClustorError } from '../../src/base/errors.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

test('a leader whose sync hangs hands over within two seconds, and says so', async () => {
  const scenario = await ScenarioCluster.start(1);
  const leader = await scenario.untilLeader();
  for (const id of scenario.nodeIds) await scenario.settle(scenario.write(id, 'key', 'before'));
  scenario.world.disk(leader).stall();
  void scenario.ending(scenario.write(leader, 'key', 'value'));

  const hasMoved = (): boolean => {
    const now = scenario.leader();
    return now !== undefined && now !== leader;
  };
  await scenario.until('another node leads', hasMoved, 2_000);

  expect(scenario.givenUp(leader)).toMatchObject([{ clause: 'SlowDevice' }]);
});

test('when every disk hangs nobody hands over', async () => {
  const scenario = await ScenarioCluster.start(2);
  const leader = await scenario.untilLeader();
  for (const id of scenario.nodeIds) scenario.world.disk(id).stall();
  void scenario.ending(scenario.write(leader, 'key', 'value'));

  await scenario.advance(5_000);

  expect(scenario.givenUp(leader)).toEqual([]);
  expect(scenario.leader()).toBe(leader);
});

test('an operator whose leader is new is told how long to wait, and then obeyed', async () => {
  const scenario = await ScenarioCluster.start(3);
  const leader = await scenario.untilLeader();
  const [heir] = scenario.others(leader);

  const early = await scenario.ending(scenario.partition(leader).transferLeadership(heir!));

  expect(early.kind).toBe('rejected');
  const error: unknown = early.kind === 'rejected' ? early.error : undefined;
  expect(isClustorError(error) && error.code).toBe('CLUSTOR_LEADER_TOO_NEW');
  expect(isClustorError(error) && error.retryable).toBe(true);
  const waitMs = Number(isClustorError(error) ? error.details['retryAfterMs'] : 0);
  expect(waitMs).toBeGreaterThan(0);
  expect(waitMs).toBeLessThanOrEqual(750);
  await scenario.advance(waitMs + 10);
  expect(await scenario.settle(scenario.partition(leader).transferLeadership(heir!))).toBe(heir);
  expect(scenario.why(leader, 'notLeader')).toBe('GaveUpLeadership');
});
