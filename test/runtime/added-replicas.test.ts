/** Nodes that are given a replica while they run, and another life of it later. */
import { expect, test } from 'vitest';

import { nodeId, type NodeId } from '../../src/base/ids.ts';
import type { MemberToAdd, VoterChange } from '../../src/runtime/membership-desk.ts';
import type { Partition } from '../../src/runtime/partition.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

const spare = nodeId(4);
const removal: VoterChange = {
  promote: [],
  remove: [spare],
  domains: new Map(),
  policy: 'strict',
  overrideRef: '',
};

/** A cluster whose spare node is a learner. */
async function withLearner(
  seed: number,
): Promise<{ scenario: ScenarioCluster; leader: NodeId; desk: Partition; learner: MemberToAdd }> {
  const scenario = await ScenarioCluster.start(seed, 3, { spares: 1 });
  const leader = await scenario.untilLeader();
  const { host, port } = scenario.world.address(spare);
  const learner = { nodeId: spare, addresses: [`${host}:${port}`], role: 'learner' as const };
  const desk = scenario.partition(leader);
  await scenario.settle(desk.addMember(learner));
  return { scenario, leader, desk, learner };
}

test('a node sleeps again when a later life has taken the place of its replica', async () => {
  const { scenario, leader, desk, learner } = await withLearner(7);
  await scenario.until('it sleeps', () => scenario.isNodeAsleep(spare), 20_000);
  const earlier = scenario.replica(spare);

  await scenario.settle(desk.changeVoters(removal));
  await scenario.advance(9_000);
  await scenario.settle(desk.addMember(learner));
  expect(scenario.replica(spare)).not.toBe(earlier);

  const areBothAsleep = (): boolean => [leader, spare].every((id) => scenario.isNodeAsleep(id));
  await scenario.until('both nodes sleep', areBothAsleep, 20_000);
});

test.each([4_950, 4_970, 4_990])(
  'a node is added while links to former members are closed, %i ms behind its removal',
  async (waitMs) => {
    const { scenario, desk, learner } = await withLearner(7);
    await scenario.advance(10_000);
    await scenario.settle(desk.changeVoters(removal));
    await scenario.advance(waitMs);

    const { members } = await scenario.settle(desk.addMember(learner));

    expect(members.map(({ nodeId: id }) => id)).toContain(spare);
  },
);
