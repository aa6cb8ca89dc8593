/** A part of the crash matrix; `npm run crash-matrix` runs all of it. */
import { expect, test } from 'vitest';
import { runCrashMatrix } from '../../sim/crash-matrix/matrix.ts';
import { survivingSets } from '../../sim/crash-matrix/states.ts';
import { createPrng } from '../../src/base/prng.ts';

test.each([false, true])(
  'every state that a crash leaves is recovered, encrypted: %s',
  async (isEncrypted) => {
    const results = await runCrashMatrix({ isEncrypted, subsetPartsMax: 3, stride: 23 });

    expect(results.flatMap(({ findings }) => findings)).toEqual([]);
    for (const { chapter, states } of results) expect(states, chapter).toBeGreaterThan(0);
  },
  120_000,
);

test('few unsynced parts give every subset, many a choice with each alone and each missing', () => {
  const sizes = (parts: number): number[] =>
    survivingSets(parts, 4, createPrng(1)).map((set) => set.size);

  expect(new Set(survivingSets(4, 4, createPrng(1)).map((set) => [...set].join())).size).toBe(16);
  expect(sizes(12)).toEqual(expect.arrayContaining([0, 1, 11, 12]));
});
