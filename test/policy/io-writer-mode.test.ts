/** When chains are written in a lesser mode, and when the better one is tried again (specification §5.1). */
import { beforeEach, describe, expect, test } from 'vitest';

import {
  freshIoWriter,
  ioWriterAlarm,
  ioWriterChanged,
  ioWriterRefused,
  isDegraded,
  noteChain,
  wantedIoWriterMode,
  type IoWriterState,
} from '../../src/policy/io-writer-mode.ts';

const options = { latencyMsMax: 100, nowMs: 1_000 };
const slowMs = 101;
const healthyMs = 10;
/** Neither slow nor healthy. */
const middlingMs = 90;

let nowMs = options.nowMs;
let writer: IoWriterState;

beforeEach(() => {
  nowMs = options.nowMs;
  writer = freshIoWriter('Direct', undefined, options);
});

/** Chains that took so long, one after the other, so far apart; the mode that is wanted behind the last. */
function chains(count: number, tookMs: number, apartMs = 250): string | undefined {
  for (let at = 0; at < count; at++) {
    nowMs += apartMs;
    noteChain(writer, tookMs, nowMs);
  }
  return wantedIoWriterMode(writer, nowMs)?.mode;
}

/** Chains of a second's pace for so long; after how many milliseconds a mode was wanted. */
function untilWanted(tookMs: number, forMs: number): number | undefined {
  const beganMs = nowMs;
  while (nowMs - beganMs < forMs)
    if (chains(1, tookMs, 1_000) !== undefined) return nowMs - beganMs;
  return undefined;
}

function change(mode: 'Direct' | 'Pooled' | 'Blocking', cause: IoWriterState['cause']): void {
  ioWriterChanged(writer, { mode, cause }, nowMs);
}

describe('from Direct to Pooled', () => {
  test('behind three slow samples in a row that span half a second', () => {
    expect(chains(2, slowMs)).toBeUndefined();
    expect(chains(1, slowMs)).toBe('Pooled');
    expect(wantedIoWriterMode(writer, nowMs)).toMatchObject({ cause: 'SlowDisk' });
  });

  test('not where a quick one is in between', () => {
    chains(2, slowMs);
    chains(1, middlingMs);
    expect(chains(2, slowMs)).toBeUndefined();
  });

  test('samples are the slowest chain of 200 ms, however many end', () => {
    chains(3, slowMs, 20);
    expect(chains(100, healthyMs, 1)).toBeUndefined();
    expect(writer.device.recentMs).toEqual([]);

    chains(1, healthyMs, 60);
    expect(writer.device.recentMs).toEqual([slowMs]);
  });

  test('one stall of any length is a hiccup', () => {
    nowMs += 600_000;
    noteChain(writer, 600_000, nowMs);

    expect(chains(100, healthyMs)).toBeUndefined();
  });

  test('where the file system refuses direct writes it is for good', () => {
    change('Pooled', 'DirectRefused');

    expect(isDegraded(writer)).toBe(false);
    expect(ioWriterAlarm(writer, nowMs + 1e9)).toBe('None');
    expect(untilWanted(healthyMs, 200_000)).toBeUndefined();
  });

  test('a mode that was asked for is kept', () => {
    writer = freshIoWriter('Pooled', undefined, options);
    expect(chains(100, slowMs)).toBeUndefined();
    expect(untilWanted(healthyMs, 200_000)).toBeUndefined();

    writer = freshIoWriter('Blocking', undefined, options);
    expect(chains(100, slowMs)).toBeUndefined();
    expect(untilWanted(healthyMs, 200_000)).toBeUndefined();
  });

  test('a slow disk never leads to Blocking', () => {
    change('Pooled', 'SlowDisk');

    expect(chains(1_000, slowMs)).toBeUndefined();
  });
});

describe('from Pooled back to Direct', () => {
  beforeEach(() => {
    chains(3, slowMs);
    change('Pooled', 'SlowDisk');
  });

  test('behind a window of 60 s of healthy samples', () => {
    expect(untilWanted(healthyMs, 300_000)).toBe(60_000);
    expect(wantedIoWriterMode(writer, nowMs)).toMatchObject({ mode: 'Direct' });
  });

  test.each([slowMs, middlingMs])('a sample of %d ms begins the window anew', (ms) => {
    untilWanted(healthyMs, 59_000);
    chains(1, ms, 1_000);

    expect(untilWanted(healthyMs, 300_000)).toBe(60_000);
  });

  test('few chains are enough, five of them', () => {
    expect(chains(4, healthyMs, 100_000)).toBeUndefined();
    expect(chains(1, healthyMs, 100_000)).toBe('Direct');
  });

  test('what was slow before says nothing of the mode that came back', () => {
    untilWanted(healthyMs, 300_000);
    change('Direct', 'Configured');

    expect(chains(2, slowMs)).toBeUndefined();
    expect(chains(1, slowMs)).toBe('Pooled');
  });

  test('a mode that did not last is waited for twice as long, up to 15 minutes; one that lasted five minutes is not', () => {
    const waits: (number | undefined)[] = [];
    for (let round = 0; round < 6; round++) {
      waits.push(untilWanted(healthyMs, 2_000_000));
      change('Direct', 'Configured');
      expect(chains(3, slowMs)).toBe('Pooled');
      change('Pooled', 'SlowDisk');
    }
    expect(waits).toEqual([60_000, 120_000, 240_000, 480_000, 900_000, 900_000]);

    untilWanted(healthyMs, 2_000_000);
    change('Direct', 'Configured');
    chains(300, healthyMs, 1_000);
    chains(3, slowMs);
    change('Pooled', 'SlowDisk');
    expect(untilWanted(healthyMs, 2_000_000)).toBe(60_000);
  });

  test('where it cannot be had, a further window is waited', () => {
    untilWanted(healthyMs, 300_000);
    ioWriterRefused(writer, nowMs);

    expect(writer.mode).toBe('Pooled');
    expect(untilWanted(healthyMs, 300_000)).toBe(60_000);
  });
});

test('a Pooled that cannot be had is not asked for again at once', () => {
  chains(3, slowMs);
  ioWriterRefused(writer, nowMs);

  expect(chains(100, slowMs)).toBeUndefined();
  expect(untilWanted(slowMs, 300_000)).toBe(35_000);
});

describe('without a thread', () => {
  test('Blocking is left after the window, whatever the disk does, for what was before', () => {
    change('Blocking', 'ThreadLost');

    expect(isDegraded(writer)).toBe(true);
    expect(untilWanted(middlingMs, 300_000)).toBe(60_000);
    expect(wantedIoWriterMode(writer, nowMs)?.mode).toBe('Direct');
  });

  test('for Pooled where the disk is slow', () => {
    change('Blocking', 'ThreadLost');

    expect(untilWanted(slowMs, 300_000)).toBe(60_000);
    expect(wantedIoWriterMode(writer, nowMs)).toMatchObject({ mode: 'Pooled', cause: 'SlowDisk' });
    change('Pooled', 'SlowDisk');
    expect(untilWanted(healthyMs, 300_000)).toBe(60_000);
    expect(wantedIoWriterMode(writer, nowMs)?.mode).toBe('Direct');
  });

  test('for Pooled where direct writes are refused', () => {
    change('Pooled', 'DirectRefused');
    change('Blocking', 'ThreadLost');

    untilWanted(healthyMs, 300_000);
    expect(wantedIoWriterMode(writer, nowMs)?.mode).toBe('Pooled');
  });

  test('one that could not be started at all is tried again', () => {
    writer = freshIoWriter('Blocking', 'ThreadLost', options);

    expect(untilWanted(healthyMs, 300_000)).toBe(60_000);
  });
});

describe('a clock that jumps', () => {
  test('forward by an hour makes no disk slow, and is a fifth of the window at most', () => {
    nowMs += 3_600_000;
    noteChain(writer, 3_600_000, nowMs);
    expect(wantedIoWriterMode(writer, nowMs)).toBeUndefined();

    chains(3, slowMs);
    change('Pooled', 'SlowDisk');
    nowMs += 3_600_000;
    expect(untilWanted(healthyMs, 300_000)).toBe(49_000);
  });

  test('back by an hour holds nothing up: samples go on, and the window ends', () => {
    change('Pooled', 'SlowDisk');
    untilWanted(healthyMs, 30_000);
    nowMs -= 3_600_000;
    expect(untilWanted(healthyMs, 300_000)).toBeLessThanOrEqual(60_000);

    change('Direct', 'Configured');
    chains(1, slowMs);
    nowMs -= 3_600_000;
    chains(2, slowMs);
    expect(chains(1, slowMs)).toBe('Pooled');
  });

  test('back by an hour bars nothing that was refused before', () => {
    nowMs += 3_600_000;
    ioWriterRefused(writer, nowMs);
    nowMs -= 3_600_000;

    expect(chains(4, slowMs)).toBe('Pooled');
  });
});

test('a lesser mode is an incident after 5 s, and does not pass by itself after 300 s', () => {
  expect(ioWriterAlarm(writer, nowMs)).toBe('None');
  change('Pooled', 'SlowDisk');

  expect(ioWriterAlarm(writer, nowMs + 4_999)).toBe('Degraded');
  expect(ioWriterAlarm(writer, nowMs + 5_000)).toBe('Incident');
  expect(ioWriterAlarm(writer, nowMs + 299_999)).toBe('Incident');
  expect(ioWriterAlarm(writer, nowMs + 300_000)).toBe('GraceOver');
});
