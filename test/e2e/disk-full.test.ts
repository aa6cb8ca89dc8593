/** Nodes on file systems that are really full (regression 44): each on an ext4 of its own on a loop device, else on a small tmpfs. */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { ConnectedClient } from 'clustor/client';
import { afterAll, expect, test } from 'vitest';

import { ChaosCluster } from '../../sim/chaos-cluster.ts';
import { ChaosOperator } from '../../sim/chaos-operator.ts';
import { isClustorError } from '../../src/base/errors.ts';
import { removedDirectory } from './support/up-process.ts';

const mib = 1024 * 1024;
const sizeMib = 96;
const nodes = [1, 2, 3];
const mounted: string[] = [];

const directory = removedDirectory('disk-full', (remove) => {
  afterAll(() => {
    for (const place of mounted) succeeds('umount', ['-l', place]);
    remove();
  });
});

function succeeds(command: string, words: readonly string[]): boolean {
  return spawnSync(command, words, { stdio: 'ignore' }).status === 0;
}

/** Mounts a small file system; tells which kind, or nothing where this host allows none. */
function mountAt(place: string): 'ext4' | 'tmpfs' | undefined {
  mkdirSync(place, { recursive: true });
  const image = `${place}.img`;
  const isLooped =
    succeeds('truncate', ['-s', `${sizeMib}M`, image]) &&
    succeeds('mkfs.ext4', ['-q', '-m', '0', image]) &&
    succeeds('mount', ['-o', 'loop', image, place]);
  const isMounted =
    isLooped || succeeds('mount', ['-t', 'tmpfs', '-o', `size=${sizeMib}m`, 'tmpfs', place]);
  if (!isMounted) return undefined;
  mounted.push(place);
  return isLooped ? 'ext4' : 'tmpfs';
}

/** Fills a file system to its last byte. */
function fill(place: string): void {
  const file = openSync(join(place, 'filler'), 'a');
  try {
    for (const bytes of [mib, 4096, 1]) {
      const chunk = Buffer.alloc(bytes, 7);
      for (let isFull = false; !isFull;) isFull = !writes(file, chunk);
    }
  } finally {
    closeSync(file);
  }
}

function writes(file: number, chunk: Buffer): boolean {
  try {
    return writeSync(file, chunk) === chunk.length;
  } catch {
    return false;
  }
}

const kinds = nodes.map((node) => mountAt(join(directory, `node-${node}`)));
const isPossible = kinds.every((kind) => kind !== undefined);
if (!isPossible)
  console.warn('skipped: no file system can be mounted here (neither loop nor tmpfs)');

async function startCluster(): Promise<ChaosCluster> {
  const cluster = await ChaosCluster.create({ directory, nodeCount: 3, isLinked: false });
  for (const node of nodes) {
    const path = join(cluster.nodeFolder(node), 'config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as object;
    const storage = { segmentBytes: 8 * mib, ledgerBytes: mib, logBytesMax: 64 * mib };
    writeFileSync(path, JSON.stringify({ ...config, development: true, storage }));
  }
  await cluster.startAll();
  return cluster;
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 150; attempt++) {
    if (await holds()) return;
    await delay(200);
  }
  throw new Error(`not within 30 s: ${what}`);
}

/** How an append ends: what was acknowledged, or the code of the refusal. */
async function appended(client: ConnectedClient, cluster: ChaosCluster): Promise<number | string> {
  try {
    const bytes = Buffer.alloc(20_000, 1);
    return (await client.append(cluster.partitionId, bytes, { deadlineMs: 5_000 })).index;
  } catch (error) {
    return isClustorError(error) ? error.code : String(error);
  }
}

async function pressures(operator: ChaosOperator): Promise<readonly string[]> {
  const { answer } = await operator.run(['status']);
  const rows = answer['nodes'] as readonly { status?: { disk: { pressure: string } } }[];
  return rows.map((row) => row.status?.disk.pressure ?? 'down');
}

test.runIf(isPossible)(
  `three nodes on full disks (${kinds[0] ?? 'none'}) live, refuse, restart, and write again when there is room`,
  async () => {
    const cluster = await startCluster();
    const client = await cluster.connect();
    const operator = await ChaosOperator.create(cluster);
    try {
      await cluster.leader(client);
      const pids = async (): Promise<readonly number[]> =>
        Promise.all(nodes.map(async (node) => (await cluster.start(node).ready).pid));
      const before = await pids();
      const acknowledged: number[] = [];
      for (let at = 0; at < 20; at++) acknowledged.push(Number(await appended(client, cluster)));
      // The reserve is made behind the start.
      await until('the reserve lies ready', async () => {
        const { answer } = await operator.run(['status']);
        const rows = answer['nodes'] as readonly {
          status?: { disk: { reserveSegments: number } };
        }[];
        return rows.every((row) => row.status?.disk.reserveSegments === 2);
      });

      for (const node of nodes) fill(cluster.nodeFolder(node));
      await until('writes are refused', async () => {
        const end = await appended(client, cluster);
        if (typeof end === 'number') acknowledged.push(end);
        return end === 'CLUSTOR_DISK_HARD';
      });

      expect(await pids(), 'no process has ended').toEqual(before);
      await until('all nodes know', async () =>
        (await pressures(operator)).every((pressure) => pressure === 'hard'),
      );
      for (const node of nodes) {
        const { answer } = await operator.must(['why', 'diskBlocked', '--node', String(node)]);
        expect(['DiskHard', 'DiskRefused']).toContain(answer['clause']);
      }
      await client.read(cluster.partitionId, new Uint8Array(0));

      const leader = await cluster.leader(client);
      await cluster.kill(leader);
      await cluster.start(leader).ready;
      const next = await cluster.leader(client);
      await operator.must(['transfer-leader', '--to', String(nodes.find((node) => node !== next))]);
      expect(await appended(client, cluster)).toBe('CLUSTOR_DISK_HARD');
      for (const node of nodes) {
        await cluster.kill(node);
        fill(cluster.nodeFolder(node));
      }
      await cluster.startAll();
      await cluster.leader(client);
      expect(await appended(client, cluster)).toBe('CLUSTOR_DISK_HARD');

      for (const node of nodes) rmSync(join(cluster.nodeFolder(node), 'filler'));
      await until(
        'writes are back',
        async () => typeof (await appended(client, cluster)) === 'number',
      );
      const { appliedIndex } = await client.read(cluster.partitionId, new Uint8Array(0));
      expect(appliedIndex).toBeGreaterThan(Math.max(...acknowledged));
      expect(new Set(acknowledged).size, 'each entry has an index of its own').toBe(
        acknowledged.length,
      );
    } finally {
      await client.close();
      await cluster.close();
    }
  },
  240_000,
);
