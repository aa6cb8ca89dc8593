/** A partition that cannot be compacted, beside others on the same nodes. */
import { describe, expect, test } from 'vitest';

import { partitionId, type NodeId } from '../../src/base/ids.ts';
import { encodeCommand } from '../../src/testing/sim-machine.ts';
import { ScenarioCluster, type Ending } from './scenario-cluster.ts';

const mib = 1024 * 1024;
const other = partitionId('018c0d6c-9c11-7e9d-8000-000000000002');
const storage = { logBytesMax: 64 * mib };

/** A cluster of two partitions; a replica of the first one applies nothing, so that no snapshot of it could be newer. */
async function begin(seed: number): Promise<ScenarioCluster> {
  const cluster = await ScenarioCluster.start(seed, 3, { storage, further: [other] });
  const leader = await cluster.untilLeader();
  const [stuck] = cluster.others(leader) as [NodeId];
  await cluster.settle(cluster.partition(stuck).setQuarantine('OPS-69', 'a trial'));
  return cluster;
}

function writeOther(cluster: ScenarioCluster, at: NodeId, value: string): Promise<Ending<unknown>> {
  const command = encodeCommand({ op: 'write', key: 'key', value });
  return cluster.ending(cluster.partition(at, other).append(command, { deadlineMs: 5_000 }));
}

/** Writes to the first partition until it is refused; returns the refusal. */
async function fill(cluster: ScenarioCluster, at: NodeId): Promise<unknown> {
  const value = 'x'.repeat(mib / 2);
  for (let writes = 0; writes < 200; writes++) {
    const ending = await cluster.ending(cluster.write(at, 'key', value, { deadlineMs: 20_000 }));
    if (ending.kind === 'rejected') return ending.error;
  }
  return undefined;
}

describe('regression 69: a partition that cannot be compacted reaches its own bound, and no other is refused', () => {
  test('at the leader\u2019s admission, surely not, also after restarts', async () => {
    const cluster = await begin(69);
    const leader = await cluster.untilLeader();

    const refusal = await fill(cluster, leader);

    expect(refusal).toMatchObject({ code: 'CLUSTOR_DISK_HARD', outcome: 'surelyNot' });
    expect(String(refusal)).toContain('partitionLogBytesMax');
    for (const id of cluster.nodeIds) {
      expect(await writeOther(cluster, id, `by ${id}`)).toMatchObject({ kind: 'fulfilled' });
      expect(cluster.why(id, 'diskBlocked'), 'the node itself has room').not.toMatch(
        /Hard|Refused/,
      );
    }
    expect(cluster.why(leader, 'writeBlocked')).toBe('PartitionLogHard');
    for (const id of cluster.nodeIds) cluster.crash(id);
    for (const id of cluster.nodeIds) cluster.start(id);
    const next = await cluster.untilLeader();
    expect(await fill(cluster, next)).toMatchObject({ code: 'CLUSTOR_DISK_HARD' });
    for (const id of cluster.nodeIds)
      expect(await writeOther(cluster, id, `by ${id}`)).toMatchObject({ kind: 'fulfilled' });
    expect(cluster.events.filter(({ event }) => event.fields['pressure'] === 'hard')).toEqual([]);
  });
});
