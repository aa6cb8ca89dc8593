import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { ChaosOperator } from '../../sim/chaos-operator.ts';
import type { ChaosCluster } from '../../sim/chaos-cluster.ts';
import { askReplica } from '../../sim/chaos-workload.ts';
import { blockBytes } from '../../src/codec/segment-format.ts';
import { clientOf, scratchCluster } from './support/scratch-cluster.ts';
import { eventually } from './support/up-process.ts';

const chaosProduct = fileURLToPath(new URL('../../sim/chaos-product.ts', import.meta.url));
const entries = 60;
/** A request that was lost while a node came up is made again behind up to 16 s. */
const patienceMs = 60_000;

/** What a write stores: long enough that the entries fill several blocks, however many of them one flush holds. */
function valueOf(id: string): string {
  return `${id} `.padEnd(1024, '.');
}

/** Bytes up to the last one that was written. */
function usedBytes(bytes: Uint8Array): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}

/** Waits until a node has applied the entries: only then are they in its journal. */
async function hasAll(cluster: ChaosCluster, node: number): Promise<void> {
  const last = `${entries - 1}`;
  const address = cluster.productAddress(node) ?? '';
  expect(await askReplica(address, ['read', `key-${last}`], 20_000)).toBe(valueOf(last));
}

/** Segments of a stopped node, by name, with their bytes. */
function segmentsOf(folder: string): readonly { readonly path: string; readonly bytes: Buffer }[] {
  const wal = join(folder, 'data', 'wal');
  return readdirSync(wal)
    .filter((file) => /^segment-\d+\.log$/.test(file))
    .toSorted()
    .map((file) => ({ path: join(wal, file), bytes: readFileSync(join(wal, file)) }));
}

/** Writes over the middle of what a stopped node has in its fullest segment. */
function damage(folder: string): void {
  const segments = segmentsOf(folder).toSorted(
    (left, right) => usedBytes(right.bytes) - usedBytes(left.bytes),
  );
  const { path, bytes } = present(segments[0], 'a journal has a segment');
  const blocks = Math.floor(usedBytes(bytes) / blockBytes);
  for (const block of [blocks >> 2, blocks >> 1])
    bytes.fill(0xff, block * blockBytes + 20, block * blockBytes + 40);
  writeFileSync(path, bytes);
}

/** Flips one bit in the middle of what a stopped node wrote last: in the newest segment with a few blocks. */
function flipBit(folder: string): void {
  const { path, bytes } = present(
    segmentsOf(folder).findLast(({ bytes: own }) => usedBytes(own) > 8 * blockBytes),
    'a segment has blocks',
  );
  const block = Math.floor(usedBytes(bytes) / blockBytes) >> 1;
  const at = block * blockBytes + 30;
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  writeFileSync(path, bytes);
}

test('a node whose journal was overwritten in the middle is repaired from its peers and votes again', async () => {
  const cluster = await scratchCluster({ nodeCount: 3, product: chaosProduct });
  await cluster.startAll();
  const client = await clientOf(cluster);
  const operator = await ChaosOperator.create(cluster);
  const write = (id: string): Promise<unknown> =>
    client.append(
      cluster.partitionId,
      Buffer.from(JSON.stringify([id, 'write', `key-${id}`, valueOf(id)])),
      { deadlineMs: 20_000 },
    );
  for (let at = 0; at < entries; at++) await write(`${at}`);
  const leader = await cluster.leader(client);
  const [damaged = 0, other = 0] = [1, 2, 3].filter((node) => node !== leader);
  await hasAll(cluster, damaged);
  await cluster.kill(damaged);
  damage(cluster.nodeFolder(damaged));

  await cluster.start(damaged).ready;

  const bootRecord = join(
    cluster.nodeFolder(damaged),
    'data',
    'partitions',
    cluster.partitionId,
    'boot_record.json',
  );
  await eventually('the boot record says what was found', () => {
    const record = JSON.parse(readFileSync(bootRecord, 'utf8')) as {
      readonly quarantine?: { readonly reason: string };
    };
    return record.quarantine?.reason === 'Integrity';
  });
  const isOver = async (): Promise<boolean> => {
    const { answer } = await operator.run(['why', 'quarantined', '--node', `${damaged}`]);
    return answer['clause'] === 'None';
  };
  await eventually('the quarantine ends', isOver, patienceMs);
  // Two of three are needed to go on: it must vote and acknowledge.
  await cluster.kill(leader);
  await write('after');
  for (const node of [damaged, other]) {
    const address = cluster.productAddress(node) ?? '';
    for (let at = 0; at < entries; at++)
      expect(await askReplica(address, ['read', `key-${at}`], 10_000)).toBe(valueOf(`${at}`));
    expect(await askReplica(address, ['read', 'key-after'], 10_000)).toBe(valueOf('after'));
  }
});

test('two flipped bits are repaired one after the other, and the third within a day asks for the operator', async () => {
  const cluster = await scratchCluster({ nodeCount: 3, product: chaosProduct });
  await cluster.startAll();
  const client = await clientOf(cluster);
  const operator = await ChaosOperator.create(cluster);
  let written = 0;
  const write = (deadlineMs = 20_000): Promise<unknown> => {
    const id = `${written++}`;
    const payload = Buffer.from(JSON.stringify([id, 'write', `key-${id}`, valueOf(id)]));
    return client.append(cluster.partitionId, payload, { deadlineMs });
  };
  const whyQuarantined = async (node: number): Promise<Readonly<Record<string, unknown>>> =>
    (await operator.must(['why', 'quarantined', '--node', `${node}`])).answer;
  for (let at = 0; at < entries; at++) await write();
  const leader = await cluster.leader(client);
  const damaged = leader === 1 ? 2 : 1;
  await hasAll(cluster, damaged);
  const peers = cluster.nodeIds.filter((node) => node !== damaged);
  /** The damaged node starts when its peers are gone: it has nobody to repair it, and its quarantine can be looked at. */
  const startDamaged = async (): Promise<void> => {
    for (const node of cluster.runningIds) await cluster.kill(node);
    flipBit(cluster.nodeFolder(damaged));
    await cluster.start(damaged).ready;
    const shown = await whyQuarantined(damaged);
    expect(shown).toMatchObject({ clause: 'Integrity' });
    expect(String(shown['explanation'])).toMatch(/entries \d+.* cannot be read/);
    expect(String(shown['advice'])).toContain('it is repaired from the other replicas');
    await cluster.startAll();
  };
  /** With one of its peers gone, two of three are needed: the damaged one must vote and acknowledge. */
  const withoutPeer = async (at: number, look: () => Promise<unknown>): Promise<void> => {
    const peer = peers[at % 2] ?? 0;
    await cluster.kill(peer);
    await look();
    await cluster.start(peer).ready;
  };

  const isOver = async (): Promise<boolean> => (await whyQuarantined(damaged))['clause'] === 'None';

  for (const round of [1, 2]) {
    await startDamaged();
    await eventually(`quarantine ${round} ends by itself`, isOver, patienceMs);
    await withoutPeer(round, async () => {
      for (let at = 0; at < entries; at++) await write();
    });
  }

  await startDamaged();
  const isWaiting = async (): Promise<boolean> =>
    String((await whyQuarantined(damaged))['advice']).includes('clustor quarantine clear');
  await eventually('the third one waits', isWaiting, patienceMs);
  expect(await whyQuarantined(damaged)).toMatchObject({ clause: 'Integrity' });
  await withoutPeer(0, async () => {
    await expect(write(4_000)).rejects.toThrow();
  });
  const clear = ['quarantine', 'clear', '--node', `${damaged}`];
  expect((await operator.run(clear)).exitCode, 'a ticket is asked for').not.toBe(0);
  await operator.must([...clear, '--ticket', 'OPS-17']);
  await eventually('it is over', isOver, patienceMs);
  await withoutPeer(1, () => write());

  const address = cluster.productAddress(damaged) ?? '';
  for (let at = 0; at < 3 * entries; at += 7)
    expect(await askReplica(address, ['read', `key-${at}`], 10_000)).toBe(valueOf(`${at}`));
}, 240_000);
