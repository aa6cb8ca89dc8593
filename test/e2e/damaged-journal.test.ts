import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { ChaosOperator } from '../../sim/chaos-operator.ts';
import { askReplica } from '../../sim/chaos-workload.ts';
import { blockBytes } from '../../src/codec/segment-format.ts';
import { clientOf, scratchCluster } from './support/scratch-cluster.ts';
import { eventually } from './support/up-process.ts';

const chaosProduct = fileURLToPath(new URL('../../sim/chaos-product.ts', import.meta.url));
const entries = 60;

/** Bytes up to the last one that was written. */
function usedBytes(bytes: Uint8Array): number {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return end;
}

/** Writes over the middle of what a stopped node has in its fullest segment. */
function damage(folder: string): void {
  const wal = join(folder, 'data', 'wal');
  const segments = readdirSync(wal)
    .filter((file) => /^segment-\d+\.log$/.test(file))
    .map((file) => ({ path: join(wal, file), bytes: readFileSync(join(wal, file)) }))
    .toSorted((left, right) => usedBytes(right.bytes) - usedBytes(left.bytes));
  const { path, bytes } = present(segments[0], 'a journal has a segment');
  const blocks = Math.floor(usedBytes(bytes) / blockBytes);
  for (const block of [blocks >> 2, blocks >> 1])
    bytes.fill(0xff, block * blockBytes + 20, block * blockBytes + 40);
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
      Buffer.from(JSON.stringify([id, 'write', `key-${id}`, id])),
      { deadlineMs: 20_000 },
    );
  for (let at = 0; at < entries; at++) await write(`${at}`);
  const leader = await cluster.leader(client);
  const [damaged = 0, other = 0] = [1, 2, 3].filter((node) => node !== leader);
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
  await eventually('the quarantine ends', async () => {
    const { answer } = await operator.run(['why', 'quarantined', '--node', `${damaged}`]);
    return answer['clause'] === 'None';
  });
  // Two of three are needed to go on: it must vote and acknowledge.
  await cluster.kill(leader);
  await write('after');
  for (const node of [damaged, other]) {
    const address = cluster.productAddress(node) ?? '';
    for (let at = 0; at < entries; at++)
      expect(await askReplica(address, ['read', `key-${at}`], 10_000)).toBe(`${at}`);
    expect(await askReplica(address, ['read', 'key-after'], 10_000)).toBe('after');
  }
});
