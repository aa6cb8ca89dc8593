import { expect, test } from 'vitest';
import type { NodeId } from '../../src/base/ids.ts';
import { ScenarioCluster } from './scenario-cluster.ts';

test('proto', { timeout: 100_000 }, async () => {
  const t0 = performance.now();
  const lap = (what: string) => console.log(what, (performance.now() - t0).toFixed(0), cluster?.world.nowMs);
  let cluster: ScenarioCluster | undefined;
  cluster = await ScenarioCluster.start(1);
  lap('start');
  const leader = await cluster.untilLeader();
  const [away, third] = cluster.others(leader) as [NodeId, NodeId];
  await cluster.settle(cluster.write(leader, 'a', '1'));
  for (let round = 0; round < 3; round++) {
    cluster.crash(away);
    for (let i = 0; i < 5; i++) await cluster.settle(cluster.write(leader, `k${i}`, `${round}`));
    lap('written');
    await cluster.advance(10_500);
    lap('waited');
    for (const id of [leader, third]) await cluster.settle(cluster.partition(id).takeSnapshot());
    await cluster.advance(1100);
    lap('taken');
    console.log([leader, third].map((id) => cluster!.replica(id).state.log.baseIndex), cluster.leader() === leader);
    const disk = cluster.world.disk(away);
    const before = { op: disk.operationCount, ch: disk.chainCount, eff: disk.effectCount };
    cluster.start(away);
    await cluster.until('up', () => cluster!.areAllUp());
    console.log('recovered', disk.operationCount - before.op, disk.chainCount - before.ch, disk.effectCount - before.eff);
    await cluster.until('installed', () => cluster!.eventsOf(away, 'snapshotInstalled').length > round);
    console.log('installed', disk.operationCount - before.op, disk.chainCount - before.ch, disk.effectCount - before.eff);
    await cluster.advance(1000);
    console.log('installed+', disk.operationCount - before.op, disk.chainCount - before.ch, disk.effectCount - before.eff);
    lap('installed');
    console.log(cluster.nodeIds.map((id) => [cluster!.digest(id), cluster!.replica(id).state.log.baseIndex]));
  }
  console.log(cluster.events.filter((e) => /snap|seg/.test(e.event.kind)).map((e) => [e.atMs, e.nodeId, e.event.kind]));
  expect(1).toBe(1);
});
