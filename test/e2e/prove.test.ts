/** `clustor prove`, `wal verify`, `wal dump` and `ledger show` on what kill -9 under load leaves behind. */
import { execFile } from 'node:child_process';
import { openSync, readSync, closeSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { ChaosOperator } from '../../sim/chaos-operator.ts';
import { commandPath, type ChaosCluster } from '../../sim/chaos-cluster.ts';
import type { ConnectedClient } from '../../src/client/index.ts';
import { blockOffset, segmentFileName } from '../../src/codec/segment-format.ts';
import { clientOf, scratchCluster } from './support/scratch-cluster.ts';

const lanes = 32;

interface Held {
  readonly directory: string;
  readonly kind: 'held' | 'notHeld';
  readonly segmentSeq: number;
  readonly block: number;
  readonly hasLeaf?: boolean;
}

interface ProvenLine {
  readonly index: number;
  readonly verdict: { readonly kind: string; readonly reason?: string; readonly term?: number };
  readonly directories: readonly Held[];
}

interface Ended {
  readonly code: number;
  readonly lines: readonly object[];
}

/** The option that names a node's key file. */
function keyOf(directory: string): readonly [string, string] {
  return ['--kek-file', join(directory, '..', 'kek.json')];
}

function clustor(...words: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [commandPath, ...words, '--json'],
      { maxBuffer: 2 ** 28 },
      (_, stdout, stderr) => {
        const lines = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
        resolve({
          code: child.exitCode ?? -1,
          lines: lines.map((line) => JSON.parse(line) as object),
        });
      },
    );
  });
}

/** Appends in lanes until the cluster dies; the receipts are what was acknowledged. */
async function load(
  cluster: ChaosCluster,
  client: ConnectedClient,
  acknowledged: Map<number, { readonly term: number; readonly text: string }>,
): Promise<void> {
  const lane = async (number: number): Promise<void> => {
    for (let count = 0; ; count++) {
      const text = `entry ${count} of lane ${number}`;
      const options = { deadlineMs: 3000 };
      const receipt = await client.append(cluster.partitionId, Buffer.from(text), options);
      acknowledged.set(receipt.index, { term: receipt.term, text });
    }
  };
  await Promise.allSettled(Array.from({ length: lanes }, (_, number) => lane(number)));
}

function flipByte(path: string, position: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, position);
  byte[0] = (byte[0] ?? 0) ^ 0xff;
  writeSync(file, byte, 0, 1, position);
  closeSync(file);
}

test('after kill -9 under load every acknowledged entry is proven, and one whose quorum was damaged is not', async () => {
  const cluster = await scratchCluster({ nodeCount: 3 });
  await cluster.startAll();
  const client = await clientOf(cluster);
  const acknowledged = new Map<number, { readonly term: number; readonly text: string }>();
  const loading = load(cluster, client, acknowledged);
  await new Promise((wake) => setTimeout(wake, 2000));
  const [one = ''] = cluster.nodeIds.map((node) => join(cluster.nodeFolder(node), 'data'));
  const underLoad = await clustor('ledger', 'show', one, ...keyOf(one));
  const provenUnderLoad = await clustor('prove', one, ...keyOf(one), '--index', '2');
  const earlier = join(cluster.directory, 'earlier.txt');
  const early = [...acknowledged.keys()].slice(0, 100);
  writeFileSync(earlier, early.join('\n'));
  const operator = await ChaosOperator.create(cluster);
  const byNodes = await operator.run(['prove', '--indexes-from', earlier]);
  await Promise.all(cluster.nodeIds.map((node) => cluster.kill(node)));
  await loading;
  const directories = cluster.nodeIds.map((node) => join(cluster.nodeFolder(node), 'data'));
  const keys = ['--kek-files', directories.map((directory) => keyOf(directory)[1]).join(',')];
  expect(acknowledged.size).toBeGreaterThan(lanes);

  // A living node's directory is read as it is, and says so.
  expect(underLoad.code).toBe(0);
  expect(underLoad.lines[0]).toHaveProperty('usedByPid');
  const [entry] = provenUnderLoad.lines as ProvenLine[];
  expect(entry?.directories).toMatchObject([
    { kind: 'held', segmentMac: 'open', usedByPid: expect.any(Number) as number },
  ]);

  // Nodes that run prove by themselves what they acknowledged before.
  expect(early.length).toBeGreaterThan(0);
  expect(byNodes.answer).toMatchObject({
    asked: early.length,
    proven: early.length,
    directories: [1, 2, 3].map((nodeId) => ({ nodeId, readByNode: nodeId })),
  });
  expect(byNodes.exitCode).toBe(0);

  const file = join(cluster.directory, 'acknowledged.txt');
  writeFileSync(file, [...acknowledged.keys()].join('\n'));
  const all = await clustor('prove', ...directories, ...keys, '--indexes-from', file);
  expect(all.lines.at(-1)).toMatchObject({
    asked: acknowledged.size,
    proven: acknowledged.size,
    directories: directories.map((directory) => ({ directory })),
  });
  expect(all.code).toBe(0);
  const proven = all.lines.slice(0, -1) as ProvenLine[];
  expect(
    proven.filter(({ index, verdict }) => verdict.term !== acknowledged.get(index)?.term),
  ).toEqual([]);

  const dump = await clustor('wal', 'dump', one, '--from', '1', ...keyOf(one));
  const payloads = new Map(
    (dump.lines as { readonly index: number; readonly payload: string }[]).map((entry) => [
      entry.index,
      Buffer.from(entry.payload, 'base64').toString(),
    ]),
  );
  const held = proven.filter(({ directories: [first] }) => first?.kind === 'held');
  expect(held.length).toBeGreaterThan(0);
  expect(held.every(({ directories: [first] }) => first?.hasLeaf === true)).toBe(true);
  for (const { index } of held) expect(payloads.get(index)).toBe(acknowledged.get(index)?.text);
  for (const directory of directories)
    expect((await clustor('wal', 'verify', directory, ...keyOf(directory))).code).toBe(0);

  const victim = proven.find(({ directories: rows }) => rows.every(({ kind }) => kind === 'held'));
  const index = victim?.index ?? 0;
  expect(index).toBeGreaterThan(0);
  for (const { directory, segmentSeq, block } of victim?.directories.slice(0, 2) ?? [])
    flipByte(join(directory, 'wal', segmentFileName(segmentSeq)), blockOffset(block) + 100);
  const damaged = await clustor('prove', ...directories, ...keys, '--index', String(index));
  expect(damaged.code).toBe(1);
  expect(damaged.lines[0]).toMatchObject({
    index,
    verdict: {
      kind: 'notProvable',
      reason: '1 of 3 voters of the configuration at index 0 prove it, a quorum is 2',
    },
  });
  expect((await clustor('wal', 'verify', one, ...keyOf(one))).code).toBe(1);

  const never = await clustor('prove', ...directories, ...keys, '--index', '99999999');
  expect(never.code).toBe(1);
  const nothing = await clustor('prove', cluster.directory, '--index', '1');
  expect(nothing.lines[0]).toMatchObject({ error: { code: 'CLUSTOR_NOT_INITIALIZED' } });
});
