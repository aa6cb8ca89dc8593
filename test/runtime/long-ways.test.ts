/** A cluster over long ways: voters measure them, say so, and an election still comes to an end (specification ELE-7). */
import { describe, expect, test } from 'vitest';

import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

/** A one-way latency of some 200 ms on every link. */
function lengthenWays(scenario: ScenarioCluster): void {
  const { network } = scenario.world;
  for (const from of scenario.nodeIds) {
    for (const to of scenario.others(from)) {
      const link = network.link(
        scenario.world.machineNumber(from),
        scenario.world.machineNumber(to),
      );
      link.latencyFactor = 130 / link.baseLatencyMs;
    }
  }
}

describe('nodes whose links take long', () => {
  test('learn it from heartbeats and pings, and elect the next leader with wider windows', async () => {
    const scenario = await ScenarioCluster.start(7);
    for (const id of scenario.nodeIds) expect(scenario.replica(id).state.slowNodes).toEqual([]);
    lengthenWays(scenario);
    const isKnownEverywhere = (): boolean =>
      scenario.nodeIds.every((id) => scenario.replica(id).state.slowNodes.length === 2);
    await scenario.until('every node has measured both ways', isKnownEverywhere, 30_000);

    const leader = await scenario.untilLeader();
    const others = scenario.others(leader);
    scenario.crash(leader);
    const next = await scenario.untilLeader(others);
    await scenario.settle(scenario.write(next, 'key', 'value'));

    const { term, wideUntilTerm } = scenario.replica(next).state;
    expect(wideUntilTerm).toBe(term);
  });

  test('forget it when the ways are short again', async () => {
    const scenario = await ScenarioCluster.start(8);
    lengthenWays(scenario);
    const known = (): number =>
      scenario.nodeIds.reduce((sum, id) => sum + scenario.replica(id).state.slowNodes.length, 0);
    await scenario.until('every node has measured both ways', () => known() === 6, 30_000);

    scenario.world.network.heal();

    await scenario.until('the ways are short', () => known() === 0, 30_000);
  });
});
