/** What is told of a device's latency over windows. */
import { expect, test } from 'vitest';

import { LatencyWindows } from '../../src/policy/latency-windows.ts';

const minuteMs = 60_000;

test('percentiles are never too low and at most 9 % too high, the maximum is exact', () => {
  const windows = new LatencyWindows();
  const all = Array.from({ length: 10_000 }, (_, at) => 0.05 * 1.0011 ** at);
  for (const ms of all) windows.add(ms, 1_000);

  const [shortest] = windows.summary(1_000);

  for (const [told, exact] of [
    [shortest?.p50Ms, all[4_999]],
    [shortest?.p99Ms, all[9_899]],
  ]) {
    expect(told).toBeGreaterThanOrEqual(exact!);
    expect(told).toBeLessThan(exact! * 1.0906);
  }
  expect(shortest).toMatchObject({ windowMs: 10_000, chains: 10_000, maxMs: all.at(-1) });
});

test('each window forgets what is older than itself, ten seconds later at most', () => {
  const windows = new LatencyWindows();
  windows.add(7, 5_000);
  const chainsAt = (nowMs: number): number[] => windows.summary(nowMs).map(({ chains }) => chains);

  expect(chainsAt(15_000)).toEqual([1, 1, 1]);
  expect(chainsAt(25_000)).toEqual([0, 1, 1]);
  expect(chainsAt(minuteMs + 5_000)).toEqual([0, 1, 1]);
  expect(chainsAt(minuteMs + 15_000)).toEqual([0, 0, 1]);
  expect(chainsAt(10 * minuteMs + 5_000)).toEqual([0, 0, 1]);
  expect(chainsAt(10 * minuteMs + 15_000)).toEqual([0, 0, 0]);
});

test('old counts are not told again when their place is used anew', () => {
  const windows = new LatencyWindows();
  windows.add(500, 0);
  windows.add(1, 610_000);

  expect(windows.summary(610_000)[2]).toMatchObject({ chains: 1, maxMs: 1 });
});

test('a clock that goes back leaves windows without what seems to come', () => {
  const windows = new LatencyWindows();
  windows.add(500, 100_000);
  windows.add(1, 20_000);

  expect(windows.summary(20_000).map(({ maxMs }) => maxMs)).toEqual([1, 1, 1]);
});

test('nothing at all, nothing measurable and ten minutes are told as they are', () => {
  const windows = new LatencyWindows();
  expect(windows.summary(0)[0]).toEqual({
    windowMs: 10_000,
    chains: 0,
    p50Ms: 0,
    p99Ms: 0,
    maxMs: 0,
  });

  windows.add(0, 0);
  expect(windows.summary(0)[0]).toMatchObject({ p50Ms: 0, p99Ms: 0, maxMs: 0 });

  windows.add(600_000, 0);
  windows.add(600_000, 0);
  expect(windows.summary(0)[0]).toMatchObject({ p50Ms: 600_000, p99Ms: 600_000 });
});
