/** The predicate of Group-Fsync, clause by clause (specification §5.2). */
import { describe, expect, test } from 'vitest';
import {
  DeviceViolations,
  GroupFsyncBackoff,
  judgeGroupFsync,
  type GroupFsyncInput,
} from '../../src/policy/group-fsync.ts';

const fit: GroupFsyncInput = {
  nowMs: 1_000,
  backoffUntilMs: 1_000,
  voters: 3,
  blockingVoters: 0,
  deviceViolations: 2,
  quarantine: undefined,
};

describe('Group-Fsync', () => {
  test('may be on when every clause holds', () => {
    expect(judgeGroupFsync(fit)).toEqual({ kind: 'allowed' });
  });

  test.each([
    [{ backoffUntilMs: 1_001 }, 'BackoffRunning'],
    [{ blockingVoters: 1 }, 'BlockingVoter'],
    [{ deviceViolations: 3 }, 'DeviceViolations'],
    [{ quarantine: 'this replica is in doubt' }, 'GroupFsyncQuarantine'],
  ])('is refused with %o', (change, clause) => {
    expect(judgeGroupFsync({ ...fit, ...change })).toMatchObject({ kind: 'refused', clause });
  });

  test('names the first clause of several', () => {
    const verdict = judgeGroupFsync({ ...fit, blockingVoters: 1, deviceViolations: 9 });

    expect(verdict).toMatchObject({ clause: 'BlockingVoter' });
  });

  test('is not kept off by a quorum of blocking voters', () => {
    expect(judgeGroupFsync({ ...fit, blockingVoters: 2 })).toEqual({ kind: 'allowed' });
    expect(judgeGroupFsync({ ...fit, voters: 5, blockingVoters: 2 }).kind).toBe('refused');
  });

  test('waits longer after each failure, at most a quarter of an hour', () => {
    const backoff = new GroupFsyncBackoff();
    const waits = Array.from({ length: 7 }, () => {
      const nowMs = backoff.untilMs;
      backoff.enabled(nowMs);
      backoff.failed(nowMs + 1000);
      return backoff.untilMs - nowMs - 1000;
    });

    expect(waits).toEqual([60_000, 120_000, 240_000, 480_000, 900_000, 900_000, 900_000]);
  });

  test('begins its waits anew where it held for the longest of them, and only there', () => {
    const backoff = new GroupFsyncBackoff();
    const waitAfter = (heldMs: number): number => {
      const nowMs = backoff.untilMs;
      backoff.enabled(nowMs);
      backoff.failed(nowMs + heldMs);
      return backoff.untilMs - nowMs - heldMs;
    };

    expect([0, 0, 899_999, 900_000, 0].map(waitAfter)).toEqual([
      60_000, 120_000, 240_000, 60_000, 120_000,
    ]);
    // What is ended twice held once.
    const again = backoff.untilMs;
    backoff.failed(again);
    expect(backoff.untilMs - again).toBe(240_000);
  });
});

describe('violations of a device', () => {
  test('are cleared by five chains in a row below 80 % of the bound, and by nothing less', () => {
    const device = new DeviceViolations();
    for (const ms of [21, 30, 1, 1, 1, 1, 17, 1, 1, 1, 1]) device.add(ms);
    expect(device.count).toBe(2);

    device.add(1);
    expect(device.count, 'one of 17 ms counts for nothing either way').toBe(0);
  });
});
