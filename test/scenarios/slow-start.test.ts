/** Nodes that need long to read their disks when they start. */
import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

// Thousands of partitions that all campaigned at the first tick behind a slow recovery never came to rest.
test.each([1, 2, 3])(
  'the time of a recovery is nobody’s silence: who comes back late hears its leader first (seed %i)',
  async (seed) => {
    const scenario = await ScenarioCluster.start(seed);
    const leader = await scenario.untilLeader();
    for (let at = 0; at < 20; at++)
      await scenario.settle(scenario.write(leader, `k${at}`, 'value'));
    const late = present(scenario.others(leader)[0], 'a follower');
    scenario.crash(late);
    scenario.world.disk(late).latencyFactor = 200;
    const begunMs = scenario.world.nowMs;

    scenario.start(late);
    await scenario.until('it is up', () => scenario.areAllUp(), 60_000);
    const recoveryMs = scenario.world.nowMs - begunMs;
    scenario.world.disk(late).latencyFactor = 1;
    const rolesBefore = scenario.eventsOf(late, 'roleChanged').length;
    await scenario.advance(2_000);

    expect(recoveryMs).toBeGreaterThan(600);
    const roles = scenario.eventsOf(late, 'roleChanged').slice(rolesBefore);
    expect(roles.map(({ event }) => event.fields['role'])).not.toContain('preCandidate');
  },
);
