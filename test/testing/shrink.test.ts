/** The search for the fewest faults of a failing run. */
import { expect, test } from 'vitest';

import { fewestFaults } from '../../src/testing/shrink.ts';

interface Search {
  readonly kept: readonly number[];
  readonly runs: number;
}

async function search(
  planned: number,
  fails: (kept: ReadonlySet<number>) => boolean,
): Promise<Search> {
  let runs = 0;
  const kept = await fewestFaults(planned, async (fewer) => {
    runs++;
    return Promise.resolve(fails(new Set(fewer)));
  });
  return { kept, runs };
}

test.each([{ needed: [] }, { needed: [0] }, { needed: [85] }, { needed: [17, 63] }])(
  'keeps $needed of 86, and nothing else',
  async ({ needed }) => {
    const { kept, runs } = await search(86, (faults) => needed.every((at) => faults.has(at)));

    expect(kept).toEqual(needed);
    expect(runs).toBeLessThanOrEqual(60);
  },
);

test('a failure that needs nothing is known after one run', async () => {
  expect(await search(86, () => true)).toEqual({ kept: [], runs: 1 });
});

test('a failure that needs everything keeps everything, after a bounded number of runs', async () => {
  const { kept, runs } = await search(200, (faults) => faults.size === 200);

  expect(kept).toHaveLength(200);
  expect(runs).toBe(60);
});

test('a run that fails for either of two faults keeps one of them', async () => {
  const { kept } = await search(40, (faults) => faults.has(3) || faults.has(30));

  expect([[3], [30]]).toContainEqual(kept);
});

test('a plan without faults is not run again', async () => {
  expect(await search(0, () => true)).toEqual({ kept: [], runs: 0 });
});
