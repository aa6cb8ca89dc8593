/** Quarantines in which the log goes on: `ApplyFault`, `Administrative` (specification §5.6, §6). */
import { describe, expect, test } from 'vitest';

import type { NodeId } from '../../src/base/ids.ts';
import type { ApplyContext, ApplyOutcome, EntryBatch } from '../../src/ports/state-machine.ts';
import { RegisterMachine } from '../../src/testing/sim-machine.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

/** Machines that are fatal on an entry whose bytes contain `poison`, until they are mended. */
class Poisoned {
  isMended = false;
  asked = 0;

  readonly create = (): RegisterMachine => {
    const isPoison = (text: string): boolean => {
      if (!text.includes('poison')) return false;
      this.asked++;
      return !this.isMended;
    };
    return new (class extends RegisterMachine {
      override apply(batch: EntryBatch, context: ApplyContext): ApplyOutcome {
        for (let at = 0; at < batch.length; at++)
          if (isPoison(new TextDecoder().decode(batch.payload(at))))
            return { kind: 'fatal', appliedCount: 0, message: 'this entry is poison' };
        return super.apply(batch, context);
      }
    })();
  };
}

async function poisoned(seed: number): Promise<{ cluster: ScenarioCluster; machines: Poisoned }> {
  const machines = new Poisoned();
  const cluster = await ScenarioCluster.start(seed, 3, { createStateMachine: machines.create });
  const leader = await cluster.untilLeader();
  await cluster.settle(cluster.write(leader, 'key', 'before'));
  void cluster.ending(cluster.write(leader, 'key', 'poison'));
  await cluster.until('every machine failed three times', () =>
    cluster.nodeIds.every((id) => reasonsOf(cluster, id).includes('ApplyFault')),
  );
  return { cluster, machines };
}

function reasonsOf(cluster: ScenarioCluster, id: NodeId): readonly string[] {
  return cluster.quarantines(id).map(({ reason }) => reason);
}

async function restartAll(cluster: ScenarioCluster): Promise<void> {
  for (const id of cluster.nodeIds) cluster.crash(id);
  for (const id of cluster.nodeIds) cluster.start(id);
  await cluster.until('everybody is up', () => cluster.areAllUp());
}

/** Records are durable. */
const recordedMs = 200;

describe('regression 58: a partition whose machines fail on one entry', () => {
  test('is in ApplyFault quarantine, over restarts, and no machine is asked again', async () => {
    const { cluster, machines } = await poisoned(581);
    await cluster.advance(recordedMs);
    const { asked } = machines;

    await restartAll(cluster);
    const leader = await cluster.untilLeader();
    await cluster.advance(10_000);

    expect(machines.asked).toBe(asked);
    for (const id of cluster.nodeIds) {
      expect(cluster.quarantines(id)).toMatchObject([
        { reason: 'ApplyFault', awaitsOperator: true, detail: expect.stringContaining('poison') },
      ]);
      expect(cluster.why(id, 'quarantined')).toBe('ApplyFault');
    }
    expect(await cluster.ending(cluster.read(leader, 'key'))).toMatchObject({
      error: { code: 'CLUSTOR_APPLY_FAULT', outcome: 'surelyNot' },
    });
    const { state } = cluster.replica(leader);
    expect(state.commitIndex, 'its log goes on').toBe(state.log.lastIndex);
  });

  test('goes on where it stopped when the machine is mended and an operator says so, each entry once', async () => {
    const { cluster, machines } = await poisoned(582);
    machines.isMended = true;

    for (const id of cluster.nodeIds)
      await cluster.settle(cluster.partition(id).clearQuarantine('OPS-58'));
    const leader = await cluster.untilLeader();
    await cluster.settle(cluster.write(leader, 'key', 'after'));
    await cluster.advance(1_000);
    await restartAll(cluster);
    await cluster.untilLeader();
    await cluster.advance(1_000);

    for (const id of cluster.nodeIds) {
      expect(cluster.quarantines(id)).toEqual([]);
      expect(cluster.value(id, 'key')).toBe('after');
      expect(cluster.eventsOf(id, 'quarantineCleared')[0]?.event.fields).toMatchObject({
        reason: 'ApplyFault',
        ticket: 'OPS-58',
      });
    }
  });

  test('is in quarantine again when the machine was not mended', async () => {
    const { cluster, machines } = await poisoned(583);
    const { asked } = machines;
    const [id] = cluster.nodeIds as [NodeId];

    await cluster.settle(cluster.partition(id).clearQuarantine('OPS-58'));
    await cluster.until('it failed anew', () => reasonsOf(cluster, id).includes('ApplyFault'));

    expect(machines.asked - asked).toBe(3);
  });

  test('a machine that threw is not asked again by the same process', async () => {
    const cluster = await ScenarioCluster.start(584);
    const leader = await cluster.untilLeader();
    await cluster.ending(cluster.poison(leader));
    await cluster.advance(recordedMs);

    const refused = await cluster.ending(cluster.partition(leader).clearQuarantine('OPS-58'));
    expect(refused).toMatchObject({ error: { code: 'CLUSTOR_QUARANTINED' } });
    cluster.crash(leader);
    cluster.start(leader);
    await cluster.until('it is up', () => cluster.areAllUp());
    expect(cluster.quarantines(leader)).toMatchObject([{ awaitsOperator: true }]);
    await cluster.settle(cluster.partition(leader).clearQuarantine('OPS-58'));
    await cluster.until('it threw anew', () => reasonsOf(cluster, leader).length > 0);
  });
});

describe('a replica in Administrative quarantine', () => {
  test('acknowledges and applies nothing, over a restart; cleared, it has everything', async () => {
    const cluster = await ScenarioCluster.start(591);
    const leader = await cluster.untilLeader();
    const [held, third] = cluster.others(leader) as [NodeId, NodeId];
    await cluster.settle(cluster.write(leader, 'key', 'before'));
    await cluster.advance(500);
    await cluster.settle(cluster.partition(held).setQuarantine('OPS-7', 'the disk is exchanged'));
    cluster.crash(third);

    await cluster.settle(cluster.write(leader, 'key', 'after'));
    cluster.crash(held);
    cluster.start(held);
    await cluster.until('it is back', () => reasonsOf(cluster, held).length > 0);
    await cluster.settle(cluster.write(leader, 'key', 'later'));

    expect(cluster.quarantines(held)).toMatchObject([
      { reason: 'Administrative', ticket: 'OPS-7', detail: 'the disk is exchanged' },
    ]);
    expect(cluster.why(held, 'quarantined')).toBe('Administrative');
    expect(cluster.value(held, 'key')).toBeNull();
    expect(await cluster.ending(cluster.read(held, 'key'))).toMatchObject({
      error: { code: 'CLUSTOR_QUARANTINED', outcome: 'surelyNot' },
    });
    await cluster.settle(cluster.partition(held).clearQuarantine('OPS-8', 'Administrative'));
    expect(await cluster.settle(cluster.read(held, 'key'))).toBe('later');
  });

  test('refuses reads also of what it has applied', async () => {
    const cluster = await ScenarioCluster.start(596);
    const leader = await cluster.untilLeader();
    const [held] = cluster.others(leader) as [NodeId];
    await cluster.settle(cluster.write(leader, 'key', 'value'));
    expect(await cluster.settle(cluster.read(held, 'key'))).toBe('value');

    await cluster.settle(cluster.partition(held).setQuarantine('OPS-7', 'a trial'));

    expect(cluster.value(held, 'key')).toBe('value');
    expect(await cluster.ending(cluster.read(held, 'key'))).toMatchObject({
      kind: 'rejected',
      error: { code: 'CLUSTOR_QUARANTINED', outcome: 'surelyNot' },
    });
  });

  test('hands leadership over, and does not take it while a healthy replica can', async () => {
    const cluster = await ScenarioCluster.start(592);
    const first = await cluster.untilLeader();

    await cluster.settle(cluster.partition(first).setQuarantine('OPS-7', 'a trial'));
    await cluster.until('another one leads', () => cluster.leader() !== first);
    const second = await cluster.untilLeader(cluster.others(first));
    expect(cluster.givenUp(first)).toMatchObject([{ clause: 'Quarantined' }]);
    await cluster.settle(cluster.write(second, 'key', 'value'));
    cluster.crash(second);
    await cluster.advance(50);

    await cluster.untilLeader(cluster.others(first).filter((id) => id !== second));
  });

  test('leads where nobody else can, and serves neither reads nor writes', async () => {
    const cluster = await ScenarioCluster.start(593);
    for (const id of cluster.nodeIds)
      await cluster.settle(cluster.partition(id).setQuarantine('OPS-7', 'a trial'));
    for (const id of cluster.nodeIds) cluster.crash(id);
    for (const id of cluster.nodeIds) cluster.start(id);

    const leader = await cluster.untilLeader();
    await cluster.advance(5_000);

    expect(cluster.leader()).toBe(leader);
    expect(
      await cluster.ending(cluster.write(leader, 'key', 'value', { deadlineMs: 500 })),
    ).toMatchObject({
      kind: 'rejected',
      error: { outcome: 'surelyNot' },
    });
    for (const id of cluster.nodeIds)
      expect(await cluster.ending(cluster.read(id, 'key'))).toMatchObject({
        error: { code: 'CLUSTOR_QUARANTINED' },
      });
  });

  test('fails what waits for applying here, of which an appended entry may be committed', async () => {
    const cluster = await ScenarioCluster.start(594);
    const leader = await cluster.untilLeader();
    for (const id of cluster.others(leader)) cluster.isolate(id);
    const write = cluster.ending(cluster.write(leader, 'key', 'value', { deadlineMs: 400 }));
    await cluster.advance(20);

    await cluster.settle(cluster.partition(leader).setQuarantine('OPS-7', 'a trial'));

    expect(await write).toMatchObject({ kind: 'rejected', error: { outcome: 'unknown' } });
  });

  test('needs a ticket and a reason, and ends only where it is', async () => {
    const cluster = await ScenarioCluster.start(595);
    const [id] = cluster.nodeIds as [NodeId];
    const partition = cluster.partition(id);

    for (const ask of [
      () => partition.setQuarantine('', 'why'),
      () => partition.setQuarantine('OPS-7', ''),
      () => partition.setQuarantine('OPS-7', 'x'.repeat(257)),
      () => partition.clearQuarantine(''),
      () => partition.clearQuarantine('OPS-7', 'Administrative'),
      () => partition.clearQuarantine('OPS-7'),
    ])
      expect(await cluster.ending(ask())).toMatchObject({
        error: { code: 'CLUSTOR_INVALID_ARGUMENT' },
      });
    expect(cluster.quarantines(id)).toEqual([]);
  });
});
