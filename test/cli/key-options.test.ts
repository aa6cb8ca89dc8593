/** The field `encryption` of a node's configuration. */
import { expect, test } from 'vitest';

import { keyProviderOf, rotateAfterMsOf, type KeyConfig } from '../../src/cli/key-options.ts';

const dayMs = 24 * 60 * 60 * 1000;

test.each([
  { days: undefined, schedule: {} },
  { days: 30, schedule: { rotateAfterMs: 30 * dayMs } },
  { days: 'never', schedule: { rotateAfterMs: 'never' } },
] as const)('rotateAfterDays $days is a schedule', ({ days, schedule }) => {
  expect(rotateAfterMsOf(days === undefined ? undefined : { rotateAfterDays: days })).toEqual(
    schedule,
  );
});

test.each([0, 0.5, 3_651, '7', null])('rotateAfterDays %j is refused', (days) => {
  const config = { rotateAfterDays: days } as unknown as KeyConfig;

  expect(() => rotateAfterMsOf(config)).toThrow('rotateAfterDays');
});

test('a schedule alone names no place of the KEK, and one place goes with it', async () => {
  const provider = (encryption: KeyConfig) =>
    keyProviderOf({}, { encryption, path: '/nowhere/node.json' });

  expect(await provider({ rotateAfterDays: 30 })).toBeUndefined();
  await expect(provider({})).rejects.toMatchObject({ code: 'CLUSTOR_INVALID_ARGUMENT' });
  await expect(
    provider({ rotateAfterDays: 30, kekFile: 'a', kekEnvironment: 'B' }),
  ).rejects.toMatchObject({ code: 'CLUSTOR_INVALID_ARGUMENT' });
});
