/** What a quarantine forbids (specification §5.6). */
import { describe, expect, test } from 'vitest';

import {
  applyFatalWindowMs,
  campaignsLast,
  countFatal,
  forbiddenBy,
} from '../../src/policy/quarantine.ts';

describe('several reasons at once', () => {
  test('forbid what the gravest that forbids it says', () => {
    const both = new Set(['Administrative', 'Integrity'] as const);

    expect(forbiddenBy(both, 'mayRead')).toBe('Integrity');
    expect(forbiddenBy(both, 'mayRepairOthers')).toBeUndefined();
    expect(forbiddenBy(new Set(), 'mayRead')).toBeUndefined();
  });

  test('let others campaign first where one of them does', () => {
    expect(campaignsLast(new Set(['Integrity', 'ApplyFault']))).toBe(true);
    expect(campaignsLast(new Set(['Integrity']))).toBe(false);
  });
});

test('the third fatal outcome within a minute is a fault, older ones are forgotten', () => {
  expect(countFatal([0, 10], 20)).toEqual({ countedMs: [0, 10, 20], isFault: true });
  expect(countFatal([0, 10], applyFatalWindowMs)).toEqual({
    countedMs: [10, applyFatalWindowMs],
    isFault: false,
  });
});
