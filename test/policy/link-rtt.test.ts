/** When a way is long (specification ELE-7). */
import { expect, test } from 'vitest';

import { freshLinkRtt, isHighRtt, noteRoundTrip } from '../../src/policy/link-rtt.ts';

const thresholdMs = 150;

/** Whether the way is long after each of the round trips. */
function verdicts(samplesMs: readonly number[]): readonly boolean[] {
  const rtt = freshLinkRtt();
  return samplesMs.map((sampleMs) => {
    noteRoundTrip(rtt, sampleMs, thresholdMs);
    return isHighRtt(rtt);
  });
}

const many = (count: number, ms: number): number[] => Array.from({ length: count }, () => ms);

test('a way that is long from the start is believed after three confirmations', () => {
  const seen = verdicts(many(20, 400));

  // The average passes 150 with the fourth sample.
  expect(seen.indexOf(true)).toBe(5);
  expect(seen.at(-1)).toBe(true);
});

test('a round trip of the threshold is not long, however often it is seen', () => {
  expect(verdicts(many(200, thresholdMs))).not.toContain(true);
});

test('one late answer decides nothing, however late', () => {
  expect(verdicts([...many(20, 2), 60_000, ...many(20, 2)])).not.toContain(true);
});

test('a way that became short again is so as soon as the average says so', () => {
  const seen = verdicts([...many(20, 400), ...many(20, 1)]);

  expect(seen[19]).toBe(true);
  expect(seen.lastIndexOf(true)).toBeLessThan(28);
});
