/** When the two clocks of a node are looked at, and who is told. */
import { expect, test } from 'vitest';

import { ClockWatch } from '../../src/runtime/clock-watch.ts';

class TwoClocks {
  monotonic = 5_000;
  wall = 1_760_000_000_000;
  readonly changes: boolean[] = [];
  readonly events: string[] = [];
  readonly watch = new ClockWatch({
    clock: {
      monotonicMs: () => this.monotonic,
      wallMs: () => this.wall,
      setTimer: () => () => undefined,
      endOfTurn: () => undefined,
    },
    observer: { emit: ({ kind }) => this.events.push(kind) },
    boundMs: 10,
    changed: (isRaised) => this.changes.push(isRaised),
  });

  pass(monotonicMs: number, wallMs = monotonicMs): void {
    this.monotonic += monotonicMs;
    this.wall += wallMs;
    this.watch.look();
  }
}

test('a sample is taken once a second, however often it is asked', () => {
  const clocks = new TwoClocks();

  for (let at = 0; at < 19; at++) clocks.pass(100, 200);
  expect(clocks.changes).toEqual([]);
  clocks.pass(100, 200);

  expect(clocks.changes).toEqual([true]);
  expect(clocks.watch.isAlarmed).toBe(true);
});

test('an alarm is told once when it is raised and once when it is cleared', () => {
  const clocks = new TwoClocks();

  for (let at = 0; at < 4; at++) clocks.pass(1_000, 1_500);
  for (let at = 0; at < 9; at++) clocks.pass(1_000);

  expect(clocks.changes).toEqual([true, false]);
  expect(clocks.events).toEqual(['clockAlarm', 'clockAlarmCleared']);
});

test('a pause that both clocks saw is no reason', () => {
  const clocks = new TwoClocks();

  clocks.pass(60_000);
  clocks.pass(60_000);

  expect(clocks.changes).toEqual([]);
});
