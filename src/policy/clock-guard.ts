/**
 * Whether a node's clocks can be trusted: the advance of its wall clock, which others keep right, against that of its monotonic
 * clock, by which leases and promises are measured (specification §2.3). A lone difference is a wall clock that was set; one that
 * comes twice in a row is a clock that runs wrong.
 */
import { assert } from '../base/assert.ts';

/** What the guard remembers. */
export interface ClockGuard {
  readonly isAlarmed: boolean;
  /** Samples in a row that speak against the present state. */
  readonly against: number;
}

/** How far both clocks came between two looks at them. */
export interface ClockSample {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** Milliseconds between two samples at least. */
export const clockSampleMs = 1_000;
/** Samples out of bound in a row that raise the alarm. */
export const samplesToAlarm = 2;
/** Samples within bound in a row that clear it. */
export const samplesToClear = 5;

/** A node that has just started. */
export const trustedClock: ClockGuard = { isAlarmed: false, against: 0 };

/** Takes a sample in; `boundMs` is how far the two advances may differ. */
export function judgeClock(guard: ClockGuard, sample: ClockSample, boundMs: number): ClockGuard {
  assert(sample.monotonicMs >= 0, 'a monotonic clock does not go back');
  assert(boundMs >= 0, 'a bound is not negative');
  // Wall clocks count whole milliseconds: an advance may seem one too long or too short.
  const isBad = Math.abs(sample.wallMs - sample.monotonicMs) > boundMs + 1;
  if (isBad === guard.isAlarmed) return { isAlarmed: guard.isAlarmed, against: 0 };
  const against = guard.against + 1;
  const needed = guard.isAlarmed ? samplesToClear : samplesToAlarm;
  return against < needed
    ? { isAlarmed: guard.isAlarmed, against }
    : { isAlarmed: !guard.isAlarmed, against: 0 };
}
