/**
 * Logs that begin behind snapshots, on real disks: two nodes go on without a third one until they no longer have what it lacks, it
 * comes back and gets a snapshot; after kill -9 of all, what was acknowledged is proven and there again.
 */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { ChaosOperator } from '../../sim/chaos-operator.ts';
import { commandPath, repositoryDirectory, type ChaosCluster } from '../../sim/chaos-cluster.ts';
import type { ConnectedClient } from '../../src/client/index.ts';
import { contentOf, redisAt } from './support/redis-client.ts';
import { clientOf, scratchCluster } from './support/scratch-cluster.ts';
import { eventually, scratchDirectory, UpProcess, type UpNode } from './support/up-process.ts';

const product = join(repositoryDirectory, 'dist', 'examples', 'kv', 'product.js');
const segmentBytes = 8 * 1024 * 1024;
const valueBytes = 64 * 1024;
/** Behind ten seconds of silence a leader keeps nothing for a node that is down. */
const compactedMsMax = 40_000;

interface Listed {
  readonly nodes: readonly {
    readonly nodeId: number;
    readonly error?: { readonly code: string };
    readonly partitions: readonly {
      readonly baseIndex: number;
      readonly snapshots?: {
        readonly snapshots: readonly { readonly index: number }[];
        readonly isMissing: boolean;
      };
    }[];
  }[];
}

interface ProvenLine {
  readonly index: number;
  readonly verdict: { readonly kind: string; readonly inSnapshots?: number };
  readonly directories: readonly { readonly kind: string; readonly snapshot?: object }[];
}

function clustor(
  ...words: readonly string[]
): Promise<{ readonly code: number; readonly lines: readonly object[] }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [commandPath, ...words, '--json'],
      { maxBuffer: 2 ** 28 },
      (_, stdout, stderr) => {
        const lines = `${stdout}${stderr}`.split('\n').filter((line) => line.startsWith('{'));
        resolve({
          code: child.exitCode ?? -1,
          lines: lines.map((line) => JSON.parse(line) as object),
        });
      },
    );
  });
}

/** Segments so small that a test fills some, and leaves by BLAKE3. */
function configure(cluster: ChaosCluster): void {
  for (const node of cluster.nodeIds) {
    const path = join(cluster.nodeFolder(node), 'config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as object;
    writeFileSync(
      path,
      JSON.stringify({ ...config, storage: { segmentBytes }, merkleLeaves: 'blake3' }),
    );
  }
}

/** Sets keys `k<from>` to `k<to - 1>`, a few at a time; returns the indexes of the acknowledged entries. */
async function load(
  cluster: ChaosCluster,
  client: ConnectedClient,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<readonly number[]> {
  const indexes: number[] = [];
  let next = from;
  const lane = async (): Promise<void> => {
    while (next < to) {
      const number = next++;
      const line = `SET k${number} ${`v${number}-`.padEnd(valueBytes, '.')}`;
      const options = { deadlineMs: 30_000 };
      const { index } = await client.append(cluster.partitionId, Buffer.from(line), options);
      indexes.push(index);
    }
  };
  await Promise.all(Array.from({ length: 8 }, lane));
  return indexes;
}

function dataOf(cluster: ChaosCluster, node: number): string {
  return join(cluster.nodeFolder(node), 'data');
}

/** Names of a node's segments, the oldest first. */
function segmentsOf(cluster: ChaosCluster, node: number): readonly string[] {
  const names = readdirSync(join(dataOf(cluster, node), 'wal'));
  return names.filter((name) => /^segment-\d+\.log$/.test(name)).toSorted();
}

function logOf(cluster: ChaosCluster, node: number): string {
  return readFileSync(join(cluster.nodeFolder(node), 'node.log'), 'utf8');
}

async function listed(operator: ChaosOperator): Promise<Listed> {
  const { answer } = await operator.must(['snapshot', 'list']);
  return answer as unknown as Listed;
}

/** Where the logs of nodes begin; 0 for a node that does not answer. */
async function basesOf(operator: ChaosOperator, nodes: readonly number[]): Promise<number[]> {
  const rows = (await listed(operator)).nodes;
  return nodes.map(
    (node) => rows.find(({ nodeId }) => nodeId === node)?.partitions[0]?.baseIndex ?? 0,
  );
}

/** Waits until these nodes have all keys, and the same of each. */
async function haveSame(
  cluster: ChaosCluster,
  nodes: readonly number[],
  count: number,
): Promise<void> {
  const contents = async (): Promise<readonly string[]> => {
    const texts: string[] = [];
    for (const node of nodes) {
      const client = await redisAt(cluster.productAddress(node) ?? '');
      texts.push(JSON.stringify(await contentOf(client).catch(() => ({ count: 0, hash: '' }))));
      client.disconnect();
    }
    return texts;
  };
  await eventually(
    `nodes ${nodes.join(', ')} have the same ${count} keys`,
    async () => {
      const texts = await contents();
      return new Set(texts).size === 1 && texts[0]?.includes(`"count":${count},`) === true;
    },
    60_000,
  );
}

test('a node that lacks what nobody keeps gets a snapshot, and all come back from theirs', async () => {
  const cluster = await scratchCluster({ nodeCount: 3, product });
  configure(cluster);
  await cluster.startAll();
  const client = await clientOf(cluster);
  const operator = await ChaosOperator.create(cluster);
  const before = await load(cluster, client, { from: 0, to: 140 });
  await haveSame(cluster, [1, 2, 3], 140);

  // Two go on without the third one.
  const segmentsThen = [1, 2].map((node) => segmentsOf(cluster, node)[0]);
  await cluster.kill(3);
  const between = await load(cluster, client, { from: 140, to: 300 });
  const lastBefore = Math.max(...before);
  for (const node of [1, 2]) {
    const { answer } = await operator.must(['snapshot', 'take', '--node', `${node}`]);
    expect(answer).toMatchObject({ nodeId: node, partitionId: cluster.partitionId });
    const { index, bytes } = answer['snapshot'] as {
      readonly index: number;
      readonly bytes: number;
    };
    expect(index).toBeGreaterThan(lastBefore);
    expect(bytes).toBeGreaterThan(300 * valueBytes);
  }
  expect((await operator.run(['snapshot', 'take', '--node', '3'])).exitCode).toBe(3);
  await eventually(
    'both logs begin behind what the third node has',
    async () => (await basesOf(operator, [1, 2])).every((base) => base > lastBefore),
    compactedMsMax,
  );
  await eventually('the segments of then are given back', () =>
    [1, 2].every((node) => segmentsOf(cluster, node)[0] !== segmentsThen[node - 1]),
  );
  const why = await operator.must(['why', 'snapshotBlocked', '--node', '1']);
  expect(why.answer['clause']).toBe('None');
  expect((await listed(operator)).nodes.map(({ error }) => error === undefined)).toEqual([
    true,
    true,
    false,
  ]);

  // It comes back, and what it lacks comes as a snapshot.
  await cluster.start(3).ready;
  await haveSame(cluster, [1, 2, 3], 300);
  expect(logOf(cluster, 3)).toContain('"kind":"snapshotInstalled"');
  expect((await basesOf(operator, [3]))[0]).toBeGreaterThan(lastBefore);
  const after = await load(cluster, client, { from: 300, to: 310 });
  await haveSame(cluster, [1, 2, 3], 310);

  // Everything dies; what was acknowledged is on a quorum's disks, the old entries within snapshots.
  await Promise.all(cluster.nodeIds.map((node) => cluster.kill(node)));
  const directories = cluster.nodeIds.map((node) => dataOf(cluster, node));
  const keyFiles = cluster.nodeIds.map((node) => join(cluster.nodeFolder(node), 'kek.json'));
  for (const [at, directory] of directories.entries()) {
    const verified = await clustor('wal', 'verify', directory, '--kek-file', keyFiles[at] ?? '');
    expect(verified).toMatchObject({ code: 0, lines: [{ isDamaged: false }] });
  }
  const acknowledged = [...before, ...between, ...after];
  const file = join(cluster.directory, 'acknowledged.txt');
  writeFileSync(file, acknowledged.join('\n'));
  const keys = ['--kek-files', keyFiles.join(',')];
  const proof = await clustor('prove', ...directories, ...keys, '--indexes-from', file);
  expect(proof.lines.at(-1)).toMatchObject({ asked: 310, proven: 310 });
  expect(proof.code).toBe(0);
  const old = (proof.lines as readonly ProvenLine[]).find(({ index }) => index === before[0]);
  expect(old?.verdict).toMatchObject({ kind: 'proven', inSnapshots: 3 });
  expect(old?.directories).toMatchObject(
    directories.map((directory) => ({
      directory,
      kind: 'inSnapshot',
      snapshot: { contentHash: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
    })),
  );

  const newest = String(after.at(-1));
  const range = ['--partition', cluster.partitionId, '--from', newest, '--to', newest];
  const [first = '', firstKey = ''] = [directories[0], keyFiles[0]];
  const dumped = await clustor('wal', 'dump', first, '--kek-file', firstKey, ...range);
  expect(dumped.lines).toMatchObject([{ leafHash: 'blake3', isCovered: true }]);

  await cluster.startAll();
  await haveSame(cluster, [1, 2, 3], 310);
  for (const base of await basesOf(operator, [1, 2, 3])) expect(base).toBeGreaterThan(lastBefore);
  for (const node of cluster.nodeIds) expect(logOf(cluster, node)).not.toContain('snapshotMissing');
  await load(cluster, client, { from: 310, to: 311 });
  await haveSame(cluster, [1, 2, 3], 311);
}, 240_000);

/** What the nodes of a local cluster have, by their products. */
async function contentsOf(nodes: readonly UpNode[]): Promise<readonly string[]> {
  const texts: string[] = [];
  for (const node of nodes) {
    const client = await redisAt(node.product['redis'] ?? '');
    texts.push(JSON.stringify(await contentOf(client)));
    client.disconnect();
  }
  return texts;
}

test('clustor up takes snapshots by itself as its logs grow, and starts from them', async () => {
  const directory = scratchDirectory('snapshots');
  const words = ['--example', 'kv', '--snapshot-log-mib', '1'];
  const up = UpProcess.start(directory, words);
  const nodes = await up.ready();
  const redis = await redisAt(nodes[0]?.product['redis'] ?? '');
  const value = '.'.repeat(32 * 1024);
  for (let at = 0; at < 100; at++) expect(await redis.set(`k${at}`, value)).toBe('OK');

  const list = async (): Promise<Listed> =>
    (await clustor('snapshot', 'list', '--dir', directory)).lines[0] as Listed;
  await eventually(
    'every log begins behind a snapshot',
    async () =>
      (await list()).nodes.every(({ partitions }) => (partitions[0]?.baseIndex ?? 0) > 20),
    30_000,
  );
  const shown = await clustor('status', '--dir', directory);
  expect(shown.code).toBe(0);
  const before = await contentsOf(nodes);
  expect(new Set(before).size).toBe(1);
  expect(await up.stop()).toMatchObject({ code: 0 });
  expect(existsSync(join(directory, 'node-1', 'data', 'partitions'))).toBe(true);

  const again = UpProcess.start(directory, words);
  const started = await again.ready();
  await eventually('every node has what it had', async () => {
    const contents = await contentsOf(started).catch(() => []);
    return contents.length === 3 && contents.every((text) => text === before[0]);
  });
  expect((await list()).nodes.map(({ partitions }) => partitions[0]?.snapshots?.isMissing)).toEqual(
    [false, false, false],
  );
});
