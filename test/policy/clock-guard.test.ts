/** Which clocks are trusted (specification §2.3). */
import { describe, expect, test } from 'vitest';

import {
  judgeClock,
  samplesToAlarm,
  samplesToClear,
  trustedClock,
  type ClockGuard,
} from '../../src/policy/clock-guard.ts';

const boundMs = 10;

/** Samples of a second each, in which the wall clock went so many milliseconds too far. */
function after(differences: readonly number[], guard: ClockGuard = trustedClock): ClockGuard {
  return differences.reduce(
    (now, difference) =>
      judgeClock(now, { monotonicMs: 1_000.25, wallMs: 1_000 + difference }, boundMs),
    guard,
  );
}

const alarmed = after([60_000, 60_000]);

describe('an alarm is raised', () => {
  test.each([
    { differences: [60_000], isAlarmed: false, why: 'a lone difference is a clock that was set' },
    { differences: [60_000, 60_000], isAlarmed: true, why: 'two in a row are a clock runs wrong' },
    { differences: [60_000, -60_000], isAlarmed: true, why: 'in whichever direction' },
    { differences: [60_000, 0, 60_000], isAlarmed: false, why: 'with a good one between' },
    { differences: [boundMs, -boundMs, boundMs], isAlarmed: false, why: 'within the bound' },
    { differences: [boundMs + 2, boundMs + 2], isAlarmed: true, why: 'just out of bound' },
  ])('by $differences: $isAlarmed ($why)', ({ differences, isAlarmed }) => {
    expect(after(differences).isAlarmed).toBe(isAlarmed);
  });

  test(`by ${samplesToAlarm} samples`, () => {
    expect(samplesToAlarm).toBe(2);
  });
});

describe('an alarm is cleared', () => {
  test('by five good samples in a row, not by four', () => {
    expect(samplesToClear).toBe(5);
    expect(after([0, 0, 0, 0], alarmed).isAlarmed).toBe(true);
    expect(after([0, 0, 0, 0, 0], alarmed).isAlarmed).toBe(false);
  });

  test('not by good ones with a bad one among them', () => {
    expect(after([0, 0, 0, 0, 99, 0, 0, 0, 0], alarmed).isAlarmed).toBe(true);
  });

  test('and must then be raised anew by two', () => {
    const cleared = after([0, 0, 0, 0, 0], alarmed);

    expect(after([99], cleared).isAlarmed).toBe(false);
    expect(after([99, 99], cleared).isAlarmed).toBe(true);
  });
});
