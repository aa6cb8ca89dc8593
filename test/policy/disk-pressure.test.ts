import { describe, expect, test } from 'vitest';

import { judgeDisk, type DiskPressure, type DiskSample } from '../../src/policy/disk-pressure.ts';

const gib = 1024 ** 3;

function sample(changed: Partial<DiskSample>): DiskSample {
  return {
    totalBytes: 10 * gib,
    freeBytes: 5 * gib,
    logBytes: gib,
    logBytesMax: 16 * gib,
    isRefused: false,
    ...changed,
  };
}

function judged(previous: DiskPressure, changed: Partial<DiskSample>): string {
  const { pressure, shortage } = judgeDisk(previous, sample(changed));
  return `${pressure} ${shortage}`;
}

describe('a small file system', () => {
  test.each([
    [5, 'none', 'none none'],
    [2.01, 'none', 'none none'],
    [2, 'none', 'soft fileSystem'],
    [1.01, 'none', 'soft fileSystem'],
    [1, 'none', 'hard fileSystem'],
    [0, 'none', 'hard fileSystem'],
    [1.1, 'hard', 'hard fileSystem'],
    [1.21, 'hard', 'soft fileSystem'],
    [2.3, 'soft', 'soft fileSystem'],
    [2.41, 'soft', 'none none'],
    [2.3, 'hard', 'soft fileSystem'],
  ] as const)('of 10 GiB with %s GiB free that was %s is %s', (free, previous, verdict) => {
    expect(judged(previous, { freeBytes: free * gib })).toBe(verdict);
  });
});

describe('a large file system', () => {
  test.each([
    [5, 'none none'],
    [4, 'soft fileSystem'],
    [2, 'hard fileSystem'],
  ])(
    'of 2 TiB with %s GiB free counts what the log may still take, not the share: %s',
    (free, verdict) => {
      expect(judged('none', { totalBytes: 2048 * gib, freeBytes: free * gib })).toBe(verdict);
    },
  );
});

describe('the log', () => {
  test.each([
    [12.7, 'none', 'none none'],
    [12.9, 'none', 'soft log'],
    [14.5, 'none', 'hard log'],
    [14.2, 'hard', 'hard log'],
    [14, 'hard', 'soft log'],
    [12.6, 'soft', 'soft log'],
    [12.4, 'soft', 'none none'],
  ] as const)('with %s of 16 GiB that was %s is %s', (log, previous, verdict) => {
    expect(judged(previous, { logBytes: log * gib })).toBe(verdict);
  });
});

test('a write that found no room counts more than what the system says', () => {
  expect(judged('none', { isRefused: true })).toBe('hard refused');
});
