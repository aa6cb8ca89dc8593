import { describe, expect, test } from 'vitest';

import { InvariantError } from '../../src/base/assert.ts';
import {
  createPrng,
  forkPrng,
  nextBelow,
  nextBetween,
  nextFloat,
  nextUint32,
  pick,
  shuffle,
} from '../../src/base/prng.ts';

describe('seeded chance', () => {
  test('is the same for the same seed on every machine', () => {
    const state = createPrng(42);
    expect(Array.from({ length: 4 }, () => nextUint32(state))).toEqual([
      1849552023, 4223452576, 118919111, 3893884377,
    ]);
    expect(nextUint32(createPrng(2 ** 40))).not.toBe(nextUint32(createPrng(0)));
  });

  test('fills its range evenly', () => {
    const state = createPrng(7);
    const counts = new Map<number, number>();
    for (let draw = 0; draw < 7000; draw++) {
      const value = nextBelow(state, 7);
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    expect([...counts.keys()].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(Math.min(...counts.values())).toBeGreaterThan(850);
    expect(Math.max(...counts.values())).toBeLessThan(1150);
    for (let draw = 0; draw < 1000; draw++) {
      expect(nextFloat(state)).toBeLessThan(1);
      expect([3, 4, 5]).toContain(nextBetween(state, 3, 5));
    }
  });

  test('forks into streams that differ by label and never touch each other', () => {
    const streams = ['disk', 'network'].map((label) => forkPrng(createPrng(1), label));
    expect(nextUint32(streams[0]!)).not.toBe(nextUint32(streams[1]!));
    expect(forkPrng(createPrng(1), 'disk')).toEqual(forkPrng(createPrng(1), 'disk'));
  });

  test('picks and shuffles without losing anything', () => {
    const state = createPrng(3);
    const items = [1, 2, 3, 4, 5];
    expect(shuffle(state, [...items]).toSorted((a, b) => a - b)).toEqual(items);
    expect(items).toContain(pick(state, items));
    expect(() => pick(state, [])).toThrow(InvariantError);
    expect(() => nextBetween(state, 2, 1)).toThrow(InvariantError);
  });
});
