/** The table of specification §5.3, and what a quarantine needs to end (§5.6). */
import { describe, expect, test } from 'vitest';

import { logIndex } from '../../src/base/ids.ts';
import {
  judgeDamage,
  judgeReplica,
  needsOperator,
  repairDelayMs,
  type ScrubFacts,
} from '../../src/policy/scrub.ts';

describe('damage', () => {
  test.each([
    { what: 'behind coverage', isCovered: false, isTagRight: false, reads: 1, verdict: 'torn' },
    { what: 'behind it, a frame', isCovered: false, isTagRight: true, reads: 3, verdict: 'torn' },
    { what: 'a wrong tag', isCovered: true, isTagRight: false, reads: 1, verdict: 'integrityLoss' },
    { what: 'a wrong frame', isCovered: true, isTagRight: true, reads: 1, verdict: 'tryAgain' },
    { what: 'the second time', isCovered: true, isTagRight: true, reads: 2, verdict: 'tryAgain' },
    { what: 'the third', isCovered: true, isTagRight: true, reads: 3, verdict: 'integrityLoss' },
  ])('$what: $verdict', ({ verdict, ...damage }) => {
    expect(judgeDamage(damage)).toBe(verdict);
  });
});

describe('a replica', () => {
  const whole: ScrubFacts = {
    recordedDoubt: undefined,
    ledgerFault: undefined,
    hasHardState: true,
    isLogOfNewerTerm: false,
    hasConfiguration: true,
    isQuarantined: false,
    missing: [],
  };
  const missing = [{ firstIndex: logIndex(3), lastIndex: logIndex(4) }];

  test('of which everything is there is healthy', () => {
    expect(judgeReplica(whole)).toEqual({ kind: 'healthy' });
  });

  test('that lacks covered entries is in quarantine, and stays there until that was ended', () => {
    expect(judgeReplica({ ...whole, missing })).toEqual({ kind: 'quarantine' });
    expect(judgeReplica({ ...whole, isQuarantined: true })).toEqual({ kind: 'quarantine' });
  });

  test.each([
    { recordedDoubt: 'an old one' },
    { ledgerFault: 'a flush is gone' },
    { hasHardState: false },
    { isLogOfNewerTerm: true },
    { hasConfiguration: false },
  ])('that may have forgotten its word is in doubt, whatever else is wrong: %o', (lost) => {
    expect(judgeReplica({ ...whole, missing, isQuarantined: true, ...lost }).kind).toBe('doubt');
  });
});

describe('the end of a quarantine', () => {
  const hourMs = 3_600_000;
  const nowMs = 100 * hourMs;

  test('needs an operator from the third within a day on', () => {
    expect(needsOperator([nowMs], nowMs)).toBe(false);
    expect(needsOperator([nowMs - hourMs, nowMs], nowMs)).toBe(false);
    expect(needsOperator([nowMs - 23 * hourMs, nowMs - hourMs, nowMs], nowMs)).toBe(true);
    expect(needsOperator([nowMs - 25 * hourMs, nowMs - hourMs, nowMs], nowMs)).toBe(false);
  });

  test('is asked for again after ever longer waits, of a minute at most', () => {
    expect([0, 1, 2, 5, 6, 400].map(repairDelayMs)).toEqual([
      1000, 2000, 4000, 32_000, 60_000, 60_000,
    ]);
  });
});
