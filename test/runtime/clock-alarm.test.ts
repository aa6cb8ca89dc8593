/** A leader whose clocks disagree hands over to one whose clocks do not (RDX-8). */
import { expect, test } from 'vitest';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

test('a leader with a clock alarm hands over while some caught-up peer has none', async () => {
  const cluster = await ScenarioCluster.start(11);
  const leader = await cluster.untilLeader();
  await cluster.settle(cluster.write(leader, 'key', 'before'));
  await cluster.advance(1_500);

  for (let jump = 0; jump < 3; jump++) {
    cluster.world.hardwareClock(leader).jumpWall(60_000);
    await cluster.advance(1_000);
  }
  const next = await cluster.untilLeader(cluster.others(leader));

  expect(next).not.toBe(leader);
  const reasons = cluster.events
    .filter(({ event }) => event.kind === 'leadershipGivenUp')
    .map(({ event }) => event.fields['clause']);
  expect(reasons).toEqual(['ClockAlarm']);
  expect(await cluster.settle(cluster.read(leader, 'key'))).toBe('before');
});
