import { describe, expect, test } from 'vitest';

import { defaultNodeLimits } from '../../src/runtime/limits.ts';
import type { AppendOptions } from '../../src/runtime/partition.ts';
import { encodeCommand } from '../../src/testing/sim-machine.ts';
import { ScenarioCluster } from '../scenarios/scenario-cluster.ts';

describe('a callback of appendWith that throws', () => {
  const command = encodeCommand({ op: 'write', key: 'key', value: 'value' });

  /** Appends through the leader with a callback that throws; returns how often it was called. */
  function appendAndThrow(
    cluster: ScenarioCluster,
    bytes: Uint8Array,
    options: AppendOptions = {},
  ): () => number {
    let calls = 0;
    const leader = cluster.leader() ?? cluster.nodeIds[0]!;
    cluster.partition(leader).appendWith(bytes, options, () => {
      calls++;
      throw new Error('a mistake of the product');
    });
    return () => calls;
  }

  test('leaves its replica applying, and is told to the observer', async () => {
    const cluster = await ScenarioCluster.start(771);
    const leader = await cluster.untilLeader();

    const calls = appendAndThrow(cluster, command);
    await cluster.until('the callback was called', () => calls() > 0);
    await cluster.settle(cluster.write(leader, 'key', 'next'));

    expect(calls()).toBe(1);
    expect(cluster.quarantines(leader)).toEqual([]);
    expect(cluster.value(leader, 'key')).toBe('next');
    expect(cluster.eventsOf(leader, 'callbackFailed').map(({ event }) => event.fields)).toEqual([
      { message: 'a mistake of the product' },
    ]);
  });

  test('disturbs neither who appends something too large nor who aborts', async () => {
    const cluster = await ScenarioCluster.start(773);
    const leader = await cluster.untilLeader();
    const controller = new AbortController();

    const tooLarge = appendAndThrow(cluster, new Uint8Array(defaultNodeLimits.entryBytesMax + 1));
    const aborted = appendAndThrow(cluster, command, { signal: controller.signal });
    controller.abort();

    expect([tooLarge(), aborted()]).toEqual([1, 1]);
    expect(cluster.eventsOf(leader, 'callbackFailed')).toHaveLength(2);
  });
});
