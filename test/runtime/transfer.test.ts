/** Writes that arrive while leadership is handed over (ELE-9). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import type { NodeId } from '../../src/base/ids.ts';
import { activeConfiguration } from '../../src/raft/index.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

/** A cluster whose leader knows its followers' logs, with its leader and the node to hand over to. */
async function cluster(
  seed: number,
): Promise<{ scenario: ScenarioCluster; leader: NodeId; heir: NodeId }> {
  const scenario = await ScenarioCluster.start(seed);
  const leader = await scenario.untilLeader();
  await scenario.settle(scenario.write(leader, 'key', 'before'));
  await scenario.advance(200);
  return { scenario, leader, heir: present(scenario.others(leader)[0], 'another node') };
}

function handOver(scenario: ScenarioCluster, leader: NodeId, heir: NodeId): void {
  const replica = scenario.replica(leader);
  const to = activeConfiguration(replica.state).members.find(({ nodeId }) => nodeId === heir);
  replica.input({
    kind: 'transferLeadership',
    to: present(to, 'the heir is a member'),
    reason: 'a test',
  });
}

describe('a write that arrives during a transfer', () => {
  test('waits, and goes on at the same leader when the heir does not take over', async () => {
    const { scenario, leader, heir } = await cluster(91);
    const { term } = scenario.replica(leader).state;
    scenario.isolate(heir);
    // The heir lacks this entry, so it is not asked to campaign.
    await scenario.settle(scenario.write(leader, 'key', 'between'));

    handOver(scenario, leader, heir);
    const writing = scenario.write(leader, 'key', 'after');
    await scenario.advance(100);
    expect(scenario.value(leader, 'key')).toBe('between');
    await scenario.settle(writing);

    expect(scenario.value(leader, 'key')).toBe('after');
    expect(scenario.leader()).toBe(leader);
    expect(scenario.replica(leader).state.term).toBe(term);
  });

  test('is sent to the heir when it takes over', async () => {
    const { scenario, leader, heir } = await cluster(92);

    handOver(scenario, leader, heir);
    await scenario.settle(scenario.write(leader, 'key', 'after'));

    expect(scenario.leader()).toBe(heir);
    expect(await scenario.settle(scenario.read(heir, 'key'))).toBe('after');
  });
});
