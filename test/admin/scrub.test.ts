/** The background scrub of a node over its admin service. */
import { afterAll, beforeAll, expect, test } from 'vitest';

import { AdminWorld } from './admin-fixture.ts';

let world: AdminWorld;

beforeAll(async () => {
  world = await AdminWorld.create();
});

afterAll(async () => {
  await world.close();
});

test('is started, paused and resumed by an operator, looked at by everybody', async () => {
  const running = await world.start();
  const clientAs = async (role: 'operator' | 'observer'): ReturnType<AdminWorld['client']> =>
    world.client(running.address, { expected: 1, material: await world.materialOf(role) });
  const operator = await clientAs('operator');
  const observer = await clientAs('observer');
  expect(await observer.getScrub()).toMatchObject({
    isPaused: false,
    pausedSinceMs: 0,
    scrub: { passes: 0, damagedSegments: 0, ledgerRenewals: 0, busyMs: 0, passBytesLeft: 0 },
  });

  await expect(observer.startScrub()).rejects.toMatchObject({ code: 'CLUSTOR_PERMISSION_DENIED' });
  expect(await operator.startScrub()).toMatchObject({ isPaused: false });
  const passes = async (): Promise<number | undefined> => (await observer.getScrub()).scrub?.passes;
  await expect.poll(passes, { timeout: 20_000 }).toBe(1);

  await expect(observer.pauseScrub()).rejects.toMatchObject({ code: 'CLUSTOR_PERMISSION_DENIED' });
  const paused = await operator.pauseScrub();
  expect(paused.isPaused).toBe(true);
  expect(Math.abs(paused.pausedSinceMs - Date.now())).toBeLessThan(60_000);
  expect(await operator.pauseScrub(), 'once more is harmless').toEqual({
    ...paused,
    scrub: expect.anything() as unknown,
  });
  expect(running.events.events.filter(({ kind }) => kind === 'scrubPaused')).toHaveLength(1);

  expect(await operator.resumeScrub()).toMatchObject({ isPaused: false, pausedSinceMs: 0 });
  expect(await observer.getScrub()).toMatchObject({ isPaused: false });
});
