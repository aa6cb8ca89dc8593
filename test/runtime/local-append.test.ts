/** Appends that wait on a node: as many as the limits allow, and each one answered. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import type { NodeId } from '../../src/base/ids.ts';
import { defaultNodeLimits } from '../../src/runtime/limits.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

/** A node that knows of no leader and reaches nobody, and counts how its appends ended. */
async function alone(seed: number): Promise<{
  cluster: ScenarioCluster;
  id: NodeId;
  append: (bytes: number, deadlineMs: number) => void;
  counts: ReadonlyMap<string, number>;
}> {
  const cluster = await ScenarioCluster.start(seed);
  const leader = await cluster.untilLeader();
  const id = present(cluster.others(leader)[0], 'a follower');
  cluster.isolate(id);
  await cluster.advance(2_000);
  const partition = cluster.partition(id);
  const counts = new Map<string, number>();
  return {
    cluster,
    id,
    counts,
    append: (bytes, deadlineMs) => {
      partition.appendWith(new Uint8Array(bytes), { deadlineMs }, (outcome) => {
        const what = 'code' in outcome ? `${outcome.code} ${outcome.outcome}` : 'committed';
        counts.set(what, (counts.get(what) ?? 0) + 1);
      });
    },
  };
}

const { proposalsMax, proposalBytesMax, entryBytesMax } = defaultNodeLimits;
const overloaded = 'CLUSTOR_OVERLOADED surelyNot';
const tooLate = 'CLUSTOR_DEADLINE_EXCEEDED surelyNot';

describe('appends that wait for a leader', () => {
  test('are no more than the limit; what comes beyond is refused at once', async () => {
    const { cluster, id, append, counts } = await alone(751);

    for (let at = 0; at < proposalsMax + 10; at++) append(1, 60_000);

    expect([...counts]).toEqual([[overloaded, 10]]);
    expect(cluster.partition(id).status().localAppendsPending).toBe(proposalsMax);
  });

  test('have no more bytes than the limit, and who gave up holds none', async () => {
    const { cluster, id, append, counts } = await alone(752);
    const fit = proposalBytesMax / entryBytesMax;

    for (let at = 0; at < fit + 10; at++) append(entryBytesMax, 1_000);
    expect([...counts]).toEqual([[overloaded, 10]]);
    await cluster.advance(1_500);
    expect(counts.get(tooLate)).toBe(fit);
    for (let at = 0; at < fit; at++) append(entryBytesMax, 1_000);

    expect(counts.get(overloaded)).toBe(10);
    expect(cluster.partition(id).status().localAppendsPending).toBe(fit);
  });

  test('are all answered when a leader is there again, and leave nothing behind', async () => {
    const { cluster, id, append, counts } = await alone(753);

    for (let at = 0; at < 3_000; at++) append(100, 60_000);
    for (const other of cluster.others(id)) {
      cluster.link(id, other, true);
      cluster.link(other, id, true);
    }
    await cluster.until('all are answered', () => counts.size > 0, 20_000);
    await cluster.advance(2_000);

    const answered = [...counts.values()].reduce((sum, count) => sum + count, 0);
    expect(answered).toBe(3_000);
    expect(cluster.partition(id).status().localAppendsPending).toBe(0);
  });
});

test('an append begun in the callback of one that was too late is answered too', async () => {
  const { cluster, id } = await alone(754);
  const partition = cluster.partition(id);
  const outcomes: unknown[] = [];

  partition.appendWith(new Uint8Array(1), { deadlineMs: 500 }, (first) => {
    outcomes.push(first);
    partition.appendWith(new Uint8Array(1), { deadlineMs: 500 }, (second) => outcomes.push(second));
  });
  await cluster.advance(3_000);

  const late = expect.objectContaining({ code: 'CLUSTOR_DEADLINE_EXCEEDED' }) as unknown;
  expect(outcomes).toEqual([late, late]);
});
