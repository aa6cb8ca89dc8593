import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { nodeClock } from '../../src/platform/node-clock.ts';

/** The longest delay that the host keeps. */
const longestMs = 2 ** 31 - 1;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test.each([0, 1, longestMs, longestMs + 1, 3 * longestMs])(
  'a timer of %d ms fires then, once',
  (delayMs) => {
    const fired: number[] = [];
    const fromMs = Date.now();

    nodeClock.setTimer(delayMs, () => fired.push(Date.now() - fromMs));
    vi.advanceTimersByTime(4 * longestMs);

    expect(fired).toEqual([delayMs]);
  },
);

test.each([0, 1, 2])('a long timer can be cancelled after %d pieces', (pieces) => {
  const callback = vi.fn();

  const cancel = nodeClock.setTimer(3 * longestMs, callback);
  vi.advanceTimersByTime(pieces * longestMs);
  cancel();
  vi.advanceTimersByTime(4 * longestMs);

  expect(callback).not.toHaveBeenCalled();
  expect(vi.getTimerCount()).toBe(0);
});

test('a timer without an end never fires, and can be cancelled', () => {
  const callback = vi.fn();

  const cancel = nodeClock.setTimer(Number.POSITIVE_INFINITY, callback);
  vi.advanceTimersByTime(4 * longestMs);
  cancel();

  expect(callback).not.toHaveBeenCalled();
  expect(vi.getTimerCount()).toBe(0);
});
