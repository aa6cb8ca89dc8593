/** The keys of a node over its admin service, and the accounts that its status shows. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { isClustorError } from '../../src/base/errors.ts';
import { nodeId } from '../../src/base/ids.ts';
import { nodeEntropy } from '../../src/platform/node-entropy.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import { AdminWorld, partition } from './admin-fixture.ts';

let world: AdminWorld;

beforeAll(async () => {
  world = await AdminWorld.create();
});

afterAll(async () => {
  await world.close();
});

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await condition());) {
    if (Date.now() > deadline) throw new Error(`in vain waited until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('the keys of a node', () => {
  test('are rotated by an operator while it serves, and old segments follow', async () => {
    const reused: string[] = [];
    const encryption = new SimEncryption((message) => reused.push(message));
    const running = await world.start({ encryption: encryption.of(nodeId(1), nodeEntropy) });
    const material = await world.materialOf('operator');
    const client = await world.client(running.address, { expected: 1, material });
    await until('it leads', async () => (await client.listPartitions())[0]?.role === 'leader');
    await running.node.partition(partition).append(new Uint8Array(5000));

    const before = await client.getKeys();
    expect(before).toMatchObject({ rotateAfterMs: 7 * 24 * 60 * 60 * 1000, rotationFailure: '' });
    expect(before.nextRotationInMs).toBeGreaterThan(before.rotateAfterMs);
    expect(before).toMatchObject({
      isEncrypted: true,
      provider: 'the simulated KEK of node 1',
      epochs: [{ epoch: 1, state: 'active', kekId: 'kek-1' }],
      plainSegments: 0,
    });
    const after = await client.rotateKeys();
    expect(after.epochs.map((row) => row.state)).toEqual(['decryptOnly', 'active']);
    await running.node.partition(partition).append(new Uint8Array(5000));
    await until('nothing needs the old keys', async () => {
      const { epochs } = await client.getKeys();
      return epochs[0]?.state === 'destroyed';
    });

    const { journal } = await client.getStatus();
    expect(journal.nonceBlocksSpent).toBeGreaterThan(0);
    expect(journal.nonceBlocksReserved).toBeGreaterThan(journal.nonceBlocksSpent);
    expect(reused).toEqual([]);
  });

  test('are none where it is not encrypted', async () => {
    const running = await world.start();
    const material = await world.materialOf('operator');
    const client = await world.client(running.address, { expected: 1, material });

    expect(await client.getKeys()).toMatchObject({ isEncrypted: false, epochs: [] });
    const refused = await client.rotateKeys().catch((error: unknown) => error);
    expect(isClustorError(refused, 'CLUSTOR_NOT_ENCRYPTED')).toBe(true);
  });
});
