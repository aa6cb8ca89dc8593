import { expect, test } from 'vitest';

import { logIndex, term } from '../../src/base/ids.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';
import {
  appendTerms,
  emptyLogTerms,
  firstIndexOfRun,
  lastIndexNotAfterTerm,
  lastTerm,
  termAt,
  truncateTerms,
  type LogTerms,
} from '../../src/raft/log-terms.ts';

/** Everything that can be asked of a log, answered from one term per entry. */
function expectSame(log: LogTerms, base: number, terms: readonly number[]): void {
  expect(log.lastIndex).toBe(base + terms.length);
  expect(lastTerm(log)).toBe(terms.at(-1) ?? log.baseTerm);
  expect(termAt(log, logIndex(base))).toBe(log.baseTerm);
  expect(termAt(log, logIndex(log.lastIndex + 1))).toBeUndefined();
  if (base > 0) expect(termAt(log, logIndex(base - 1))).toBeUndefined();
  for (const [at, value] of terms.entries()) {
    expect(termAt(log, logIndex(base + 1 + at))).toBe(value);
    expect(firstIndexOfRun(log, logIndex(base + 1 + at))).toBe(base + 1 + terms.indexOf(value));
  }
  for (let asked = 0; asked <= lastTerm(log) + 1; asked++) {
    expect(lastIndexNotAfterTerm(log, term(asked))).toBe(
      base + terms.filter((value) => value <= asked).length,
    );
  }
}

test('runs of terms answer like a list of terms, for random appends and truncations', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = createPrng(seed);
    const base = nextBelow(prng, 2) * 5;
    const log = emptyLogTerms(logIndex(base), term(base === 0 ? 0 : 1));
    const terms: number[] = [];
    for (let round = 0; round < 30; round++) {
      if (terms.length > 0 && nextBelow(prng, 3) === 0) {
        terms.length = nextBelow(prng, terms.length);
        truncateTerms(log, logIndex(base + terms.length + 1));
      } else {
        const next = Math.max(1, lastTerm(log)) + nextBelow(prng, 3);
        const count = 1 + nextBelow(prng, 4);
        for (let entry = 0; entry < count; entry++) terms.push(next);
        appendTerms(log, logIndex(base + terms.length), term(next));
      }
      expectSame(log, base, terms);
    }
  }
});

test('what would break a log is a bug of the caller', () => {
  const log = emptyLogTerms(logIndex(2), term(3));
  appendTerms(log, logIndex(4), term(4));
  expect(() => appendTerms(log, logIndex(4), term(4))).toThrow(/makes the log longer/);
  expect(() => appendTerms(log, logIndex(5), term(3))).toThrow(/never fall/);
  expect(() => truncateTerms(log, logIndex(2))).toThrow(/nothing at or below the base/);
  expect(() => truncateTerms(log, logIndex(5))).toThrow(/at least one entry/);
  expect(() => firstIndexOfRun(log, logIndex(2))).toThrow(/an index of the log/);
});
