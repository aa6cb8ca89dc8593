/** When keys are changed by themselves (specification §8.2), whatever the wall clock does. */
import { describe, expect, test } from 'vitest';

import { nodeId } from '../../src/base/ids.ts';
import {
  keysDueMsMin,
  msUntilKeysDue,
  rotateKeysAfterMsDefault as week,
  type KeyAge,
} from '../../src/policy/key-rotation.ts';

const day = week / 7;
const createdMs = 1_700_000_000_000;

function untilDue(age: Partial<KeyAge> & { readonly ageMs: number }, node = 1): number {
  const { ageMs, ...rest } = age;
  return msUntilKeysDue(
    {
      wallMs: createdMs + ageMs,
      createdMs,
      knownMs: 0,
      sinceChangeMs: Number.POSITIVE_INFINITY,
      ...rest,
    },
    { nodeId: nodeId(node), rotateAfterMs: week },
  );
}

describe('keys', () => {
  test('are due a week after they were made, and a day later at most', () => {
    for (let node = 1; node <= 50; node++) {
      expect(untilDue({ ageMs: week - 1 }, node)).toBeGreaterThan(0);
      expect(untilDue({ ageMs: week + day }, node)).toBe(0);
    }
  });

  test('of neighbours are due hours apart', () => {
    const due = [1, 2, 3, 4, 5].map((node) => untilDue({ ageMs: 0 }, node));

    for (const [at, one] of due.entries())
      for (const other of due.slice(at + 1))
        expect(Math.abs(one - other)).toBeGreaterThan(2 * 60 * 60 * 1000);
  });

  test('are due when this process has known them for a week, though the wall clock stands', () => {
    expect(untilDue({ ageMs: 0, knownMs: week + day })).toBe(0);
    expect(untilDue({ ageMs: -0.5 * day, knownMs: week + day })).toBe(0);
  });

  test('that were made in the future are due at once, unless by a little', () => {
    expect(untilDue({ ageMs: -day - 1 })).toBe(0);
    expect(untilDue({ ageMs: -day })).toBeGreaterThan(week);
  });

  test('are due at most once in a seventh of the period, however the wall clock jumps', () => {
    expect(untilDue({ ageMs: 100 * week, sinceChangeMs: 0 })).toBe(day);
    expect(untilDue({ ageMs: -100 * week, sinceChangeMs: day - 5 })).toBe(5);
  });
});

test('keys are due for ten minutes to an hour before they are changed', () => {
  for (let node = 1; node <= 50; node++) {
    expect(keysDueMsMin(nodeId(node))).toBeGreaterThanOrEqual(10 * 60_000);
    expect(keysDueMsMin(nodeId(node))).toBeLessThanOrEqual(60 * 60_000);
  }
});
