import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import type { ChaosCluster } from '../../sim/chaos-cluster.ts';
import { bothWays, type Direction } from '../../sim/chaos-links.ts';
import { askReplica } from '../../sim/chaos-workload.ts';
import type { ConnectedClient } from '../../src/client/index.ts';
import { clientOf, scratchCluster } from './support/scratch-cluster.ts';
import { eventually } from './support/up-process.ts';

const product = fileURLToPath(new URL('../../sim/chaos-product.ts', import.meta.url));

async function write(cluster: ChaosCluster, client: ConnectedClient, id: string): Promise<void> {
  const entry = Buffer.from(JSON.stringify([id, 'write', 'key', id]));
  await client.append(cluster.partitionId, entry, { deadlineMs: 10_000 });
}

async function readAt(cluster: ChaosCluster, node: number, deadlineMs: number): Promise<unknown> {
  const answer = askReplica(cluster.productAddress(node) ?? '', ['read', 'key'], deadlineMs);
  return answer.catch(() => 'refused');
}

const cuts: readonly {
  readonly name: string;
  readonly isReset: boolean;
  readonly directions: (leader: number, others: readonly number[]) => readonly Direction[];
}[] = [
  {
    name: 'is silently cut off from all others',
    isReset: false,
    directions: (leader, others) => others.flatMap((other) => bothWays(leader, other)),
  },
  {
    name: 'is cut off from all others with resets',
    isReset: true,
    directions: (leader, others) => others.flatMap((other) => bothWays(leader, other)),
  },
  {
    name: 'is heard by the others and hears nobody',
    isReset: false,
    directions: (leader, others) => others.map((other) => ({ from: other, to: leader })),
  },
  {
    name: 'hears the others and is heard by nobody',
    isReset: false,
    directions: (leader, others) => others.map((other) => ({ from: leader, to: other })),
  },
];

test.each(cuts)(
  'when the leader $name, another leads, and it serves no stale read',
  async ({ isReset, directions }) => {
    const cluster = await scratchCluster({ nodeCount: 3, product, isLinked: true });
    await cluster.startAll();
    const client = await clientOf(cluster);
    await write(cluster, client, 'old');
    const former = await cluster.leader(client);
    const others = cluster.nodeIds.filter((node) => node !== former);
    for (const node of cluster.nodeIds) expect(await readAt(cluster, node, 5000)).toBe('old');

    const cut = directions(former, others);
    cluster.links?.cut(cut, isReset);
    await eventually('another leads', async () => (await cluster.leader(client)) !== former);
    await write(cluster, client, 'new');

    expect(await readAt(cluster, former, 1500)).not.toBe('old');
    for (const node of others) expect(await readAt(cluster, node, 5000)).toBe('new');
    cluster.links?.heal(cut);
    await eventually(
      'it has caught up',
      async () => (await readAt(cluster, former, 5000)) === 'new',
    );
  },
);
