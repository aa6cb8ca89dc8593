import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { runFailover } from '../../sim/chaos-failover.ts';
import { askReplica } from '../../sim/chaos-workload.ts';
import { clientOf, scratchCluster } from './support/scratch-cluster.ts';
import { scratchDirectory } from './support/up-process.ts';

const chaosProduct = fileURLToPath(new URL('../../sim/chaos-product.ts', import.meta.url));

test('kill -9 of the leader under load interrupts writes for a moment and loses nothing', async () => {
  const report = await runFailover({
    directory: scratchDirectory('failover'),
    kills: 3,
    nodeCount: 3,
    workers: 10,
    note: () => undefined,
  });

  expect(report).toMatchObject({ kills: 3, lost: 0, equal: true });
  expect(report.acknowledged).toBeGreaterThan(100);
  expect(report.medianMs).toBeLessThan(700);
  expect(report.worstMs).toBeLessThan(2000);
});

test('a leader that was stopped serves no stale read when it wakes', async () => {
  const cluster = await scratchCluster({ nodeCount: 3, product: chaosProduct });
  await cluster.startAll();
  const client = await clientOf(cluster);
  const write = async (id: string): Promise<void> => {
    const entry = Buffer.from(JSON.stringify([id, 'write', 'key', id]));
    await client.append(cluster.partitionId, entry, { deadlineMs: 10_000 });
  };
  await write('old');
  const former = await cluster.leader(client);
  const address = cluster.productAddress(former) ?? '';
  expect(await askReplica(address, ['read', 'key'], 5000)).toBe('old');

  const stoppedMs = performance.now();
  cluster.pause(former);
  await write('new');
  const leader = await cluster.leader(client);
  // These wait in the sleeper's socket: they are the first that it sees when it wakes.
  const reads = Array.from({ length: 8 }, async () => askReplica(address, ['read', 'key'], 10_000));
  await new Promise((wake) => setTimeout(wake, 2000 - (performance.now() - stoppedMs)));
  cluster.resume(former);

  expect(leader).not.toBe(former);
  const answers = await Promise.allSettled(reads);
  const values = answers.map((answer) =>
    answer.status === 'fulfilled' ? answer.value : 'refused',
  );
  expect(values).not.toContain('old');
  expect(await askReplica(address, ['read', 'key'], 10_000)).toBe('new');
});
