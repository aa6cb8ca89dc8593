/** When a disk is too slow to lead, and when no longer (specification ELE-8). */
import { describe, expect, test } from 'vitest';

import {
  deviceLatencyMs,
  freshDeviceLatency,
  noteDeviceLatency,
  type DeviceLatency,
} from '../../src/policy/device-latency.ts';

const latencyMsMax = 100;

/** Samples so many milliseconds apart. */
function sampled(
  samplesMs: readonly number[],
  apartMs: number,
  device: DeviceLatency = freshDeviceLatency(),
): DeviceLatency {
  samplesMs.forEach((ms, at) => {
    noteDeviceLatency(device, { ms, nowMs: at * apartMs }, latencyMsMax);
  });
  return device;
}

describe('a disk is slow', () => {
  test.each([
    {
      what: 'behind three samples over the bound that span half a second',
      samples: [101, 101, 101],
      apartMs: 250,
      isSlow: true,
    },
    {
      what: 'not behind two, however far apart',
      samples: [500, 500],
      apartMs: 10_000,
      isSlow: false,
    },
    {
      what: 'not behind many in less than half a second',
      samples: Array.from({ length: 50 }, () => 200),
      apartMs: 10,
      isSlow: false,
    },
    {
      what: 'not when one in between is within the bound',
      samples: [200, 200, 100, 200, 200],
      apartMs: 250,
      isSlow: false,
    },
    {
      what: 'not at the bound',
      samples: Array.from({ length: 50 }, () => 100),
      apartMs: 250,
      isSlow: false,
    },
  ])('$what', ({ samples, apartMs, isSlow }) => {
    expect(sampled(samples, apartMs).isSlow).toBe(isSlow);
  });
});

describe('a slow disk', () => {
  const slow = (): DeviceLatency => sampled([200, 200, 200], 250);

  test.each([
    {
      what: 'is healthy behind five samples below four fifths of the bound',
      samples: [79, 79, 79, 79, 79],
      isSlow: false,
    },
    { what: 'is not behind four', samples: [1, 1, 1, 1], isSlow: true },
    {
      what: 'is not when they are merely below the bound',
      samples: [80, 80, 80, 80, 80, 99],
      isSlow: true,
    },
    {
      what: 'is not when they do not follow each other',
      samples: [1, 1, 1, 1, 90, 1, 1, 1, 1],
      isSlow: true,
    },
  ])('$what', ({ samples, isSlow }) => {
    expect(sampled(samples, 10, slow()).isSlow).toBe(isSlow);
  });
});

test('what a node says of its disk is the worst of the newest five samples', () => {
  expect(deviceLatencyMs(freshDeviceLatency())).toBe(0);
  expect(deviceLatencyMs(sampled([900, 3, 50, 2, 1, 4], 10))).toBe(50);
});
