/** Accidents with the state of machines and how far they are; none of them may happen here. */
import { describe, expect, test } from 'vitest';

import type { NodeId } from '../../src/base/ids.ts';
import type { ApplyOutcome, StateMachine } from '../../src/ports/state-machine.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

/** Keeps the indexes of everything that was ever applied to it. */
class IndexesMachine implements StateMachine {
  readonly applied: number[] = [];

  apply(batch: Parameters<StateMachine['apply']>[0]): ApplyOutcome {
    const results: Uint8Array[] = [];
    for (let position = 0; position < batch.length; position++) {
      this.applied.push(Number(batch.index(position)));
      results.push(new Uint8Array(0));
    }
    return { kind: 'ack', results };
  }

  query(): Uint8Array {
    return new Uint8Array(0);
  }

  // No snapshot is taken here: the interface wants the methods.
  async *snapshot(): AsyncIterable<Uint8Array> {}

  restore(): Promise<void> {
    return Promise.resolve();
  }
}

describe('regression 34: how far a machine is goes with its state, and is never beyond what is durable', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('power lost amid writes, seed %i', async (seed) => {
    const machines = new Map<NodeId, IndexesMachine>();
    const cluster = await ScenarioCluster.start(seed, 3, {
      createStateMachine: ({ host }) => {
        const machine = new IndexesMachine();
        machines.set(host.nodeId, machine);
        return machine;
      },
    });
    const acknowledged: number[] = [];
    for (let round = 0; round < 6; round++) {
      const leader = await cluster.untilLeader();
      for (let at = 0; at < 5; at++)
        cluster.write(leader, `k${at}`, `${round}`).then(
          ({ index }) => acknowledged.push(Number(index)),
          () => undefined,
        );
      await cluster.advance(1 + ((seed * 7 + round * 3) % 10) / 4);
      const victim = cluster.nodeIds[(seed + round) % 3] ?? leader;
      const { appliedIndex } = cluster.replica(victim).apply;
      cluster.crash(victim);
      cluster.isolate(victim);
      cluster.start(victim);
      await cluster.until('it has recovered', () => cluster.areAllUp());

      const { state } = cluster.replica(victim);
      expect(state.log.lastIndex).toBeGreaterThanOrEqual(appliedIndex);

      for (const other of cluster.others(victim)) {
        cluster.link(victim, other, true);
        cluster.link(other, victim, true);
      }
      // Who asked a node that went down is never told.
      await cluster.advance(1_500);
    }
    expect(acknowledged.length).toBeGreaterThan(3);
    const last = Math.max(...acknowledged);
    await cluster.until('everybody has applied everything', () =>
      cluster.nodeIds.every((id) => cluster.replica(id).apply.appliedIndex >= last),
    );

    for (const machine of machines.values()) {
      expect(machine.applied).toEqual([...new Set(machine.applied)].sort((a, b) => a - b));
      expect(machine.applied).toEqual(expect.arrayContaining(acknowledged));
    }
    const [first, ...others] = [...machines.values()].map(({ applied }) =>
      applied.filter((index) => index <= last),
    );
    for (const other of others) expect(other).toEqual(first);
  });
});
