/** Keys that change by themselves, on a simulated disk and clock (specification §8.2). */
import { describe, expect, test } from 'vitest';

import { ClustorError } from '../../src/base/errors.ts';
import { nodeId } from '../../src/base/ids.ts';
import type { KeyStatus } from '../../src/storage/key-desk.ts';
import { SimEntropy } from '../../src/testing/sim-entropy.ts';
import { StoreWorld } from './store-world.ts';

const day = 24 * 60 * 60 * 1000;
const hour = day / 24;

async function begin(seed: number, rotateAfterMs?: number | 'never'): Promise<StoreWorld> {
  const world = new StoreWorld({ seed, partitions: 1, isEncrypted: true });
  world.rotateAfterMs = rotateAfterMs;
  await world.open();
  await world.createReplicas();
  return world;
}

function keysOf(world: StoreWorld): KeyStatus {
  const { store } = world;
  if (store === undefined) throw new Error('the store is open');
  return store.keyDesk.status();
}

function epochOf(world: StoreWorld): number {
  return keysOf(world).epochs.length;
}

describe('the keys of a directory', () => {
  test('are made anew within eight days and an hour, and again, and the old ones are destroyed', async () => {
    const world = await begin(1);

    await world.run(7 * day - hour);
    expect(epochOf(world)).toBe(1);
    expect(keysOf(world)).toMatchObject({ rotateAfterMs: 7 * day, rotationFailure: '' });
    const nextMs = keysOf(world).nextRotationInMs;
    expect(nextMs).toBeGreaterThan(hour);
    await world.run(nextMs + 5 * 60_000);
    expect(epochOf(world)).toBe(2);
    expect(keysOf(world).ageMs).toBeLessThan(hour);
    await world.run(8 * day + hour);

    expect(keysOf(world).epochs.map(({ state }) => state)).toEqual([
      'destroyed',
      'destroyed',
      'active',
    ]);
    expect(world.reusedNonces).toEqual([]);
  });

  test('grow old over restarts', async () => {
    const world = await begin(2);

    for (let restarts = 0; restarts < 8; restarts++) {
      await world.run(day);
      world.crash('powerLoss');
      await world.open();
    }
    await world.run(2 * hour);

    expect(epochOf(world)).toBe(2);
  });

  test('stay where only operators change them', async () => {
    const world = await begin(3, 'never');

    await world.run(30 * day);

    expect(epochOf(world)).toBe(1);
    expect(keysOf(world)).toMatchObject({ rotateAfterMs: 0, nextRotationInMs: 0 });
    expect(keysOf(world).ageMs).toBeGreaterThanOrEqual(30 * day);
  });

  test('stay when the wall clock jumps ahead and comes back within minutes', async () => {
    const world = await begin(4);

    for (let jumps = 0; jumps < 20; jumps++) {
      world.clock.jumpWall(30 * day);
      await world.run(5 * 60_000);
      world.clock.jumpWall(-30 * day);
      await world.run(2 * 60_000);
    }

    expect(epochOf(world)).toBe(1);
  });

  test('change once a day at most when the wall clock jumps for good, again and again', async () => {
    const world = await begin(5);

    for (let hours = 0; hours < 48; hours++) {
      world.clock.jumpWall(10 * day);
      await world.run(hour);
    }

    expect(epochOf(world)).toBeGreaterThan(1);
    expect(epochOf(world)).toBeLessThanOrEqual(4);
  });

  test('change on though the wall clock goes back, or was ahead when they were made', async () => {
    const world = await begin(6);
    world.clock.jumpWall(-365 * day);

    await world.run(2 * hour);
    expect(epochOf(world), 'made again once').toBe(2);
    await world.run(6 * day);
    expect(epochOf(world)).toBe(2);
    await world.run(3 * day);
    expect(epochOf(world)).toBe(3);
  });

  test('change when the key service is back', async () => {
    const world = new StoreWorld({ seed: 7, partitions: 1, isEncrypted: true });
    const entropy = new SimEntropy(world.random);
    const { keyProvider } = world.encryption.of(nodeId(1), entropy);
    let isAway = false;
    world.keyProvider = {
      name: keyProvider.name,
      unwrap: keyProvider.unwrap.bind(keyProvider),
      wrap: (key, context) =>
        isAway
          ? Promise.reject(new ClustorError('CLUSTOR_KEY_PROVIDER_UNAVAILABLE', 'it is away'))
          : keyProvider.wrap(key, context),
    };
    await world.open();
    isAway = true;

    await world.run(9 * day);
    expect(epochOf(world)).toBe(1);
    expect(keysOf(world).rotationFailure).toContain('away');
    isAway = false;
    await world.run(hour);

    expect(epochOf(world)).toBe(2);
    expect(keysOf(world).rotationFailure).toBe('');
  });
});
