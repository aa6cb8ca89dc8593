/** The predicate of Group-Fsync, clause by clause (specification §5.2). */
import { describe, expect, test } from 'vitest';
import {
  DeviceViolations,
  groupFsyncBackoffMs,
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
    expect([1, 2, 3, 4, 5, 50].map(groupFsyncBackoffMs)).toEqual([
      60_000, 120_000, 240_000, 480_000, 900_000, 900_000,
    ]);
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
