/** Accidents with damaged data that other systems had; here it is mended from the other replicas, or nobody is told a lie. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { logIndex, type NodeId } from '../../src/base/ids.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

const entries = 12;

/** Three nodes that hold the same entries, in two terms, all applied everywhere. */
async function filled(seed: number): Promise<ScenarioCluster> {
  const cluster = await ScenarioCluster.start(seed);
  const first = await cluster.untilLeader();
  for (let at = 0; at < entries / 2; at++)
    await cluster.settle(cluster.write(first, `k${at}`, `v${at}`));
  cluster.crash(first);
  const second = await cluster.untilLeader(cluster.others(first));
  cluster.start(first);
  for (let at = entries / 2; at < entries; at++)
    await cluster.settle(cluster.write(second, `k${at}`, `v${at}`));
  await allEqual(cluster);
  return cluster;
}

/** Everybody has applied everything, and nobody is in quarantine. */
async function allEqual(cluster: ScenarioCluster): Promise<void> {
  await cluster.until(
    'every node holds every entry',
    () =>
      cluster.areAllUp() &&
      cluster.nodeIds.every(
        (id) =>
          cluster.quarantine(id) === undefined &&
          cluster.value(id, `k${entries - 1}`) === `v${entries - 1}` &&
          cluster.replica(id).state.log.lastIndex ===
            cluster.replica(present(cluster.nodeIds[0], 'a node')).state.log.lastIndex,
      ),
    30_000,
  );
}

function follower(cluster: ScenarioCluster): NodeId {
  const leader = cluster.leader();
  return present(
    cluster.nodeIds.find((id) => id !== leader),
    'a node that does not lead',
  );
}

describe('regression 32: a bit that flipped in the middle of the log is mended from the peers, and nothing is cut', () => {
  test.each([1, 2, 3])('seed %i', async (seed) => {
    const cluster = await filled(seed);
    const damaged = follower(cluster);
    const { lastIndex } = cluster.replica(damaged).state.log;
    cluster.crash(damaged);
    expect(cluster.rot(damaged, 4)).toBeGreaterThan(0);

    cluster.start(damaged);
    await cluster.until('it says so', () => cluster.eventsOf(damaged, 'quarantined').length > 0);
    await allEqual(cluster);

    expect(cluster.eventsOf(damaged, 'quarantineCleared')).toHaveLength(1);
    expect(cluster.replica(damaged).state).toMatchObject({ inDoubt: false });
    expect(cluster.replica(damaged).state.log.lastIndex).toBeGreaterThanOrEqual(lastIndex);
    for (let at = 0; at < entries; at++) expect(cluster.value(damaged, `k${at}`)).toBe(`v${at}`);
    expect(cluster.replica(damaged).log.read(logIndex(1), logIndex(4), 1)).toBeDefined();
  });
});
