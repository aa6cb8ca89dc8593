/**
 * A node kills itself with SIGKILL after a step of a chain of writes: 1 the journal's bytes are written, 2 they are synced, 3 the
 * ledger's record is written, 4 it is synced. Then it recovers.
 */
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { repositoryDirectory, type ChaosCluster } from '../../sim/chaos-cluster.ts';
import { withOfflineDirectory } from '../../src/cli/offline-directory.ts';
import type { ConnectedClient } from '../../src/client/index.ts';
import { inspectDataDirectory, type Inspection } from '../../src/storage/inspect.ts';
import { contentOf, redisAt } from './support/redis-client.ts';
import { clientOf, scratchCluster } from './support/scratch-cluster.ts';

const product = join(repositoryDirectory, 'dist', 'examples', 'kv', 'product.js');
/** Far behind the chains of start and elections, within reach of the load. */
const chain = 60;
const writesMax = 2000;
/** A request waits for a node that dies, is looked at and starts again, on a machine that has other work. */
const patienceMs = 60_000;

const steps = [
  { step: 1, name: 'the journal is written' },
  { step: 2, name: 'the journal is synced' },
  { step: 3, name: 'the ledger is written' },
  { step: 4, name: 'the ledger is synced' },
];

/** What `clustor wal inspect` makes of a data directory. */
function inspect(folder: string): Promise<Inspection> {
  const options = { kekFile: join(folder, 'kek.json') };
  return withOfflineDirectory(
    { directory: join(folder, 'data'), options, mustBeFree: true },
    ({ fileSystem, directory, encryption }) =>
      inspectDataDirectory(fileSystem, directory, encryption),
  );
}

async function expectSound(cluster: ChaosCluster, node: number): Promise<void> {
  const { ledger, segments } = await inspect(cluster.nodeFolder(node));
  expect(ledger.fault).toBeUndefined();
  expect(segments.filter(({ damagedBlocks }) => damagedBlocks > 0)).toEqual([]);
  expect(ledger.partitions.flatMap(({ doubts }) => doubts)).toEqual([]);
}

async function append(
  cluster: ChaosCluster,
  client: ConnectedClient,
  line: string,
): Promise<string> {
  const { result } = await client.append(cluster.partitionId, Buffer.from(line), {
    deadlineMs: patienceMs,
  });
  return Buffer.from(result ?? []).toString();
}

async function read(cluster: ChaosCluster, client: ConnectedClient, line: string): Promise<string> {
  const { result } = await client.read(cluster.partitionId, Buffer.from(line), {
    deadlineMs: patienceMs,
  });
  return Buffer.from(result).toString();
}

/** The values of the keys `k0`, `k1`, …, in order. */
async function valuesOf(
  cluster: ChaosCluster,
  client: ConnectedClient,
  count: number,
): Promise<readonly string[]> {
  const keys = Array.from({ length: count }, (_, at) => read(cluster, client, `GET k${at}`));
  return Promise.all(keys);
}

function firstValues(count: number): readonly string[] {
  return Array.from({ length: count }, (_, at) => `v${at}`);
}

/** Makes a node the leader, by killing other leaders until it is; or a follower, by killing it while it leads. */
async function giveRole(
  cluster: ChaosCluster,
  client: ConnectedClient,
  wanted: { readonly node: number; readonly role: string; readonly words: readonly string[] },
): Promise<void> {
  const { node, role, words } = wanted;
  for (let attempt = 0; attempt < 10; attempt++) {
    const leader = await cluster.leader(client);
    if ((leader === node) === (role === 'leader')) return;
    await cluster.kill(leader);
    await cluster.leader(client);
    await cluster.start(leader, leader === node ? words : []).ready;
  }
  throw new Error(`node ${node} did not become a ${role}`);
}

test('a single node killed behind any step keeps what it acknowledged', async () => {
  const cluster = await scratchCluster({ nodeCount: 1, product });
  let acknowledged = 0;
  for (const { step, name } of steps) {
    const doomed = cluster.start(1, ['--kill-after', `${chain}:${step}`]);
    await doomed.ready;
    const client = await clientOf(cluster);
    let isDead = false;
    const end = doomed.exited.finally(() => {
      isDead = true;
    });
    const first = acknowledged;
    const writer = (async () => {
      for (let count = first; count < first + writesMax && !isDead; count++) {
        await append(cluster, client, `SET k${count} v${count}`);
        acknowledged = count + 1;
      }
    })();

    expect(await end, name).toEqual({ code: null, signal: 'SIGKILL' });
    await expectSound(cluster, 1);
    expect(acknowledged, name).toBeGreaterThan(first);
    await cluster.start(1).ready;

    // The write under way is tried again under its key until it succeeds.
    await writer;
    expect(await valuesOf(cluster, client, acknowledged), name).toEqual(firstValues(acknowledged));
    await cluster.kill(1);
  }
});

test('a single node killed at its first write of all starts afresh', async () => {
  const cluster = await scratchCluster({ nodeCount: 1, product });
  for (const step of [1, 2, 3, 4]) {
    const end = await cluster.start(1, ['--kill-after', `1:${step}`]).exited;
    expect(end).toEqual({ code: null, signal: 'SIGKILL' });
    await expectSound(cluster, 1);
  }

  await cluster.start(1).ready;
  const client = await clientOf(cluster);
  expect(await append(cluster, client, 'SET k0 v0')).toBe('OK');
  expect(await valuesOf(cluster, client, 1)).toEqual(['v0']);
});

test.each(['leader', 'follower'])(
  'three nodes apply each write once although the %s is killed behind any step',
  async (role) => {
    const cluster = await scratchCluster({ nodeCount: 3, product });
    const victim = 2;
    await cluster.startAll();
    const client = await clientOf(cluster);
    let writes = 0;
    for (const { step, name } of steps) {
      const words = ['--kill-after', `${chain}:${step}`];
      await cluster.kill(victim);
      await cluster.start(victim, words).ready;
      await giveRole(cluster, client, { node: victim, role, words });
      let isDead = false;
      const end = cluster.start(victim).exited.finally(() => {
        isDead = true;
      });

      // After the leader's last step the followers have acknowledged as a rule, and the client has not heard of it.
      for (const first = writes; !isDead && writes < first + writesMax; writes++) {
        expect(await append(cluster, client, `SET k${writes} v${writes}`)).toBe('OK');
        expect(await append(cluster, client, 'INCR sum')).toBe(`${writes + 1}`);
      }
      expect(await end, name).toEqual({ code: null, signal: 'SIGKILL' });
      await expectSound(cluster, victim);
      await cluster.start(victim).ready;

      expect(await read(cluster, client, 'GET sum'), name).toBe(`${writes}`);
      expect(await valuesOf(cluster, client, writes), name).toEqual(firstValues(writes));
      const contents = [];
      for (const node of cluster.nodeIds) {
        const redis = await redisAt(cluster.productAddress(node) ?? '');
        contents.push(await contentOf(redis));
        redis.disconnect();
      }
      expect(new Set(contents.map(({ hash }) => hash)).size, name).toBe(1);
      expect(contents[0]?.count, name).toBe(writes + 1);
    }
  },
);
