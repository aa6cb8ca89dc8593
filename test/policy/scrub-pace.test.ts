/** How much the background scrub reads when (specification §5.4). */
import { describe, expect, test } from 'vitest';

import { createPrng, nextBelow } from '../../src/base/prng.ts';
import {
  restMsAfter,
  scrubCoverageMs,
  scrubIntervalMs,
  unitsOfPass,
  type ScrubUnit,
} from '../../src/policy/scrub-pace.ts';

const mib = 1024 * 1024;

function unit(segmentSeq: number, verifiedMs: number, bytes = 64 * mib): ScrubUnit {
  return { name: `${segmentSeq}`, bytes, verifiedMs };
}

describe('a pass', () => {
  test('reads nothing where there is nothing, and something where there is something', () => {
    expect(unitsOfPass([], 5)).toEqual([]);
    expect(unitsOfPass([unit(1, 0)], 0)).toHaveLength(1);
  });

  test('reads what waits longest first, at least 1 % of the bytes', () => {
    const units = Array.from({ length: 300 }, (_, at) => unit(at + 1, 300 - at));
    const pass = unitsOfPass(units, 300);
    expect(pass[0]?.name).toBe('300');
    expect(pass.length).toBeGreaterThanOrEqual(3);
  });

  test('reads everything that would be too old at the next pass', () => {
    const nowMs = 10 * scrubCoverageMs;
    const late = [1, 2, 3].map((seq) => unit(seq, nowMs - scrubCoverageMs + seq));
    const fresh = [4, 5, 6].map((seq) => unit(seq, nowMs));
    const pass = unitsOfPass([...fresh, ...late], nowMs);
    expect(pass.slice(0, 3).map(({ name }) => name)).toEqual(['1', '2', '3']);
  });

  test('takes a clock that was set back for no age', () => {
    expect(unitsOfPass([unit(1, 1000), unit(2, 5)], 500)[0]?.name).toBe('2');
  });

  test.each(Array.from({ length: 30 }, (_, at) => at + 1))(
    'leaves no byte unread for more than seven days, seed %i',
    (seed) => {
      const random = createPrng(seed);
      const verified = new Map<string, { bytes: number; verifiedMs: number }>();
      let nextSeq = 1;
      const grow = (nowMs: number): void => {
        const bytes = (1 + nextBelow(random, 64)) * mib;
        verified.set(`${nextSeq++}`, { bytes, verifiedMs: nowMs });
      };
      const segments = nextBelow(random, 200);
      for (let count = 0; count < segments; count++) grow(0);
      let mostBytes = 0;
      for (let nowMs = 0; nowMs < 5 * scrubCoverageMs; nowMs += scrubIntervalMs) {
        if (nextBelow(random, 4) === 0) grow(nowMs);
        const units = [...verified].map(([name, row]) => ({ name, ...row }));
        for (const row of units)
          expect(nowMs - row.verifiedMs).toBeLessThanOrEqual(scrubCoverageMs);
        const pass = unitsOfPass(units, nowMs);
        mostBytes = Math.max(
          mostBytes,
          pass.reduce((sum, { bytes }) => sum + bytes, 0),
        );
        for (const { name, bytes } of pass) verified.set(name, { bytes, verifiedMs: nowMs });
      }
      // The load is spread: no pass reads much more than its share of a week's 28.
      const total = [...verified.values()].reduce((sum, { bytes }) => sum + bytes, 0);
      expect(mostBytes).toBeLessThanOrEqual(total / 13 + 64 * mib);
    },
  );
});

test('rests are so long that no more than 0.75 % of time is taken', () => {
  for (const workMs of [0, 0.3, 1, 7, 250]) {
    const restMs = restMsAfter(workMs);
    expect(workMs).toBeLessThanOrEqual(0.0075 * (workMs + restMs) + 1e-9);
  }
  expect(restMsAfter(-5)).toBe(0);
});
