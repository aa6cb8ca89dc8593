/** Links whose other end says nothing any more, in a simulated cluster of the product. */
import { expect, test } from 'vitest';

import { clusterId, nodeId, partitionId } from '../../src/base/ids.ts';
import { SimCluster, type TimelineEvent } from '../../src/testing/sim-cluster.ts';
import { SimWorld } from '../../src/testing/sim-world.ts';
import { drainMicrotasks } from './sim-rounds.ts';

const cluster = clusterId('018c0d6c-9c11-7e9d-8000-86f5bb8c0001');
const nodeIds = [nodeId(1), nodeId(2), nodeId(3)];
const storage = {
  segmentBytes: 8 * 1024 * 1024,
  ledgerBytes: 256 * 1024,
  logBytesMax: 64 * 1024 * 1024,
};

async function startCluster(): Promise<{
  readonly world: SimWorld;
  readonly simulated: SimCluster;
  readonly advance: (ms: number) => Promise<unknown>;
  readonly seen: (kind: string, node: number) => number;
}> {
  const world = new SimWorld({ seed: 6, clusterId: cluster, nodeIds });
  const events: TimelineEvent[] = [];
  const simulated = new SimCluster({
    world,
    clusterId: cluster,
    partitionIds: [partitionId('018c0d6c-9c11-7e9d-8000-000000000001')],
    storage,
    raft: {},
    onEvent: (event) => {
      events.push(event);
    },
  });
  const advance = (ms: number): Promise<unknown> =>
    world.run({
      untilMs: world.nowMs + ms,
      drainMicrotasks,
      afterEvent: (owner) => {
        simulated.check(owner?.number);
      },
    });
  const initialized = simulated.initialize();
  await advance(5_000);
  await initialized;
  for (const id of nodeIds) simulated.start(id);
  await advance(5_000);
  const seen = (kind: string, node: number): number =>
    events.filter((entry) => entry.nodeId === node && entry.event.kind === kind).length;
  return { world, simulated, advance, seen };
}

test('a link without an answer is given up after some seconds, and comes back', async () => {
  const { world, advance, seen } = await startCluster();
  const up = seen('linkUp', 1);
  // The machine is there and takes what it is sent; the process stands still.
  world.pause(nodeId(2), 8_000);
  await advance(3_000);
  expect(seen('linkSilent', 1)).toBe(0);

  await advance(3_000);
  expect(seen('linkSilent', 1)).toBe(1);

  await advance(12_000);
  expect(seen('linkUp', 1)).toBeGreaterThan(up);
  expect(seen('linkSilent', 1)).toBe(1);
});

test('a node that slept for long itself gives up no link', async () => {
  const { world, advance, seen } = await startCluster();
  world.pause(nodeId(1), 30_000);
  await advance(40_000);

  expect(seen('linkSilent', 1)).toBe(0);
});

test('quiet links stay up', async () => {
  const { advance, seen } = await startCluster();
  await advance(60_000);

  for (const id of nodeIds) expect(seen('linkDown', id)).toBe(0);
});

test('a link whose other end vanishes before it has answered the handshake comes back (seed 1884)', async () => {
  const { world, simulated, advance, seen } = await startCluster();
  const [watching, vanishing] = [nodeId(1), nodeId(2)];
  for (let offsetMs = 0; offsetMs <= 2_500; offsetMs += 25) {
    const crash = (kind: 'processKill' | 'powerLoss'): void => {
      world.crash(vanishing, kind);
      simulated.crashed(vanishing);
    };
    crash('processKill');
    world.network.link(vanishing, watching).latencyFactor = 100;
    simulated.start(vanishing);
    await advance(offsetMs);
    world.network.cut(vanishing, watching);
    crash('powerLoss');
    await advance(1_000);
    world.network.heal();
    simulated.start(vanishing);
    const up = seen('linkUp', 1);
    await advance(10_000);

    expect(seen('linkUp', 1), `power lost ${offsetMs} ms after a start`).toBeGreaterThan(up);
  }
});
