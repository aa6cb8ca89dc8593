/** When a flush is held for more entries, and when not any more (specification §5.2). */
import { beforeEach, describe, expect, test } from 'vitest';
import type { DurabilityMode } from '../../src/base/durability-mode.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { GroupHold } from '../../src/storage/group-hold.ts';
import type { PartitionLog, PendingAppend } from '../../src/storage/partition-log.ts';

let nowMs = 0;
let timers: { readonly atMs: number; readonly run: () => void; isCancelled: boolean }[] = [];
let overruns: unknown[] = [];
let flushes = 0;
let hold: GroupHold;

const clock = {
  monotonicMs: () => nowMs,
  setTimer: (delayMs: number, run: () => void) => {
    const timer = { atMs: nowMs + delayMs, run, isCancelled: false };
    timers.push(timer);
    return () => {
      timer.isCancelled = true;
    };
  },
} as unknown as Clock;

function logIn(durabilityMode: DurabilityMode): PartitionLog {
  return { durabilityMode } as unknown as PartitionLog;
}

function waiting(log: PartitionLog, bytes: number, isFence = false): PendingAppend {
  const batch = { bytes: new Uint8Array(bytes) } as unknown as PendingAppend['batch'];
  return { log, batch, appendSequence: 1, done: undefined, ...(isFence ? { isFence } : {}) };
}

function holds(...appends: readonly PendingAppend[]): boolean {
  return hold.holds(appends, () => {
    flushes++;
  });
}

const group = logIn('GroupFsync');
const strict = logIn('Strict');

beforeEach(() => {
  nowMs = 1_000;
  timers = [];
  overruns = [];
  flushes = 0;
  hold = new GroupHold(clock, (log) => {
    overruns.push(log);
  });
});

describe('a flush', () => {
  test('is held for 5 ms at most, by one timer', () => {
    expect(holds(waiting(group, 100))).toBe(true);
    nowMs += 2;
    expect(holds(waiting(group, 100), waiting(group, 100))).toBe(true);
    expect(timers.map(({ atMs }) => atMs)).toEqual([1_005]);

    nowMs += 3;
    timers[0]?.run();
    expect(flushes).toBe(1);
    expect(holds(waiting(group, 100))).toBe(false);
    expect(overruns).toEqual([]);
  });

  test('is held for 2 ms or 32 KiB while the writer is in a lesser mode', () => {
    hold.isWriterDegraded = true;
    expect(holds(waiting(group, 32 * 1024))).toBe(false);
    expect(holds(waiting(group, 32 * 1024 - 1))).toBe(true);
    expect(timers.map(({ atMs }) => atMs)).toEqual([1_002]);
    nowMs += 2;

    expect(holds(waiting(group, 100))).toBe(false);
    expect(overruns).toEqual([]);
  });

  test('begins its 5 ms anew after it went', () => {
    holds(waiting(group, 100));
    nowMs += 5;
    holds(waiting(group, 100));

    expect(holds(waiting(group, 100))).toBe(true);
  });

  test.each([
    [
      'a partition in Strict mode has something in it',
      () => [waiting(group, 1), waiting(strict, 1)],
    ],
    ['it changes a mode', () => [waiting(group, 1, true)]],
    ['it has 64 KiB', () => [waiting(group, 40_000), waiting(group, 25_536)]],
  ])('is not held when %s', (_why, appends) => {
    expect(holds(...appends())).toBe(false);
    expect(overruns).toEqual([]);
  });

  test('overruns its bounds when more than 4 MiB of one partition wait at once', () => {
    expect(holds(waiting(group, 3 * 1024 * 1024), waiting(group, 2 * 1024 * 1024))).toBe(false);

    expect(overruns).toEqual([group]);
  });

  test('overruns them with more than 64 MiB of all partitions, each of which is told', () => {
    const logs = Array.from({ length: 20 }, () => logIn('GroupFsync'));
    const mib = 1024 * 1024;
    expect(holds(...logs.slice(0, 16).map((log) => waiting(log, 4 * mib)))).toBe(false);
    expect(overruns).toEqual([]);

    expect(holds(...logs.map((log) => waiting(log, 3.5 * mib)))).toBe(false);
    expect(overruns).toEqual(logs);
  });

  test('overruns them as well where a partition in Strict mode has it go at once', () => {
    const large = 5 * 1024 * 1024;
    expect(holds(waiting(strict, large), waiting(group, large))).toBe(false);
    expect(holds(waiting(group, large), waiting(strict, 1))).toBe(false);
    expect(holds(waiting(strict, large))).toBe(false);

    expect(overruns).toEqual([group, group]);
  });

  test('overruns them when its timer came much too late', () => {
    holds(waiting(group, 100));
    nowMs += 21;

    expect(holds(waiting(group, 100))).toBe(false);
    expect(overruns).toEqual([group]);
  });
});
