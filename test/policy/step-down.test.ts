/** When a leader gives leadership up of its own accord (specification ELE-8): the table of verdicts. */
import { describe, expect, test } from 'vitest';

import { nodeId } from '../../src/base/ids.ts';
import {
  isLagStructural,
  judgeStepDown,
  type StepDownInput,
  type StepDownPeer,
} from '../../src/policy/step-down.ts';

const peer = (number: number, seen: Partial<StepDownPeer> = {}): StepDownPeer => ({
  nodeId: nodeId(number),
  isActive: true,
  isCaughtUp: true,
  lagBytes: 0,
  lagMs: 0,
  deviceLatencyMs: 5,
  hasClockAlarm: false,
  ...seen,
});

/** A leader of three whose disk is slow, unless told. */
const input = (seen: Partial<StepDownInput> = {}): StepDownInput => ({
  leaderAgeMs: 10_000,
  leaderAgeMsMin: 750,
  device: { isSlow: true, latencyMs: 250, latencyMsMax: 100, unfinishedMs: 0 },
  sinceStepDownMs: Number.POSITIVE_INFINITY,
  sinceEvacuationMs: Number.POSITIVE_INFINITY,
  structuralLagMs: 0,
  hasClockAlarm: false,
  isHeld: false,
  peers: [peer(2), peer(3)],
  failedHeirs: [],
  ...seen,
});

const healthyDevice = { isSlow: false, latencyMs: 5, latencyMsMax: 100, unfinishedMs: 0 };
const hangingDevice = { isSlow: true, latencyMs: 2_000, latencyMsMax: 100, unfinishedMs: 2_000 };

describe('a leader with a slow disk', () => {
  test('hands over to the caught-up voter with the fastest one, and says why', () => {
    const verdict = judgeStepDown(
      input({ peers: [peer(2, { deviceLatencyMs: 9 }), peer(3, { deviceLatencyMs: 3 })] }),
    );

    expect(verdict).toEqual({
      kind: 'handOver',
      to: 3,
      clause: 'SlowDevice',
      reason:
        'the disk of this node takes 250 ms for a durable write, more than 100, that of node 3 3 ms',
    });
  });

  test.each([
    { what: 'its disk is not slow', seen: { device: healthyDevice } },
    { what: 'it is younger than the shortest reign', seen: { leaderAgeMs: 749 } },
    { what: 'it gave leadership up within ten minutes', seen: { sinceStepDownMs: 599_999 } },
    { what: 'its node began to within ten minutes', seen: { sinceEvacuationMs: 599_999 } },
    { what: 'it is alone', seen: { peers: [] } },
    ...[
      { what: 'says nothing of its disk', peer: { deviceLatencyMs: undefined } },
      { what: 'has a disk that is not healthy', peer: { deviceLatencyMs: 80 } },
      { what: 'has not caught up', peer: { isCaughtUp: false } },
      { what: 'is not heard', peer: { isActive: false } },
    ].map((row) => ({
      what: `everybody else ${row.what}`,
      seen: { peers: [peer(2, row.peer), peer(3, row.peer)] },
    })),
    { what: 'everybody else failed to take over', seen: { failedHeirs: [nodeId(2), nodeId(3)] } },
  ])('stays when $what', ({ seen }) => {
    expect(judgeStepDown(input(seen))).toEqual({ kind: 'stay' });
  });

  test.each([
    { what: 'ten minutes later', seen: { sinceStepDownMs: 600_000, sinceEvacuationMs: 600_000 } },
    {
      what: 'with other partitions of the node, at the same time',
      seen: { sinceEvacuationMs: 20_000 },
    },
  ])('hands over $what', ({ seen }) => {
    expect(judgeStepDown(input(seen)).kind).toBe('handOver');
  });

  test('asks the next one when the best did not take over', () => {
    const verdict = judgeStepDown(input({ failedHeirs: [nodeId(2)] }));

    expect(verdict).toMatchObject({ kind: 'handOver', to: 3 });
  });

  test('merely steps down when nobody took over, its disk does not answer, and the others are a quorum', () => {
    const seen = { device: hangingDevice, failedHeirs: [nodeId(2), nodeId(3)] };

    expect(judgeStepDown(input(seen))).toMatchObject({ kind: 'stepDown', clause: 'SlowDevice' });
    const lonely = { ...seen, peers: [peer(2), peer(3, { isActive: false })] };
    expect(judgeStepDown(input(lonely)), 'a lost quorum').toEqual({ kind: 'stay' });
    const untried = {
      ...seen,
      failedHeirs: [],
      peers: seen.failedHeirs.map(() => peer(2, { isCaughtUp: false })),
    };
    expect(judgeStepDown(input(untried)), 'nobody was asked').toEqual({ kind: 'stay' });
  });
});

describe('a leader in quarantine', () => {
  const seen = {
    isHeld: true,
    device: { isSlow: false, latencyMs: 1, latencyMsMax: 100, unfinishedMs: 0 },
  };

  test('hands over at once, however young it is', () => {
    const verdict = judgeStepDown(input({ ...seen, leaderAgeMs: 0, sinceStepDownMs: 0 }));

    expect(verdict).toMatchObject({ kind: 'handOver', to: 2, clause: 'Quarantined' });
  });

  test('goes on leading where nobody has caught up, or everybody refused', () => {
    const peers = [peer(2, { isCaughtUp: false }), peer(3, { isActive: false })];
    expect(judgeStepDown(input({ ...seen, peers }))).toEqual({ kind: 'stay' });
    const failedHeirs = [nodeId(2), nodeId(3)];
    expect(judgeStepDown(input({ ...seen, failedHeirs }))).toEqual({ kind: 'stay' });
  });
});

describe('the lag of followers', () => {
  const far = { lagMs: 30_001, isCaughtUp: false };

  test.each([
    { what: 'both of two', peers: [peer(2, far), peer(3, far)], is: true },
    {
      what: 'both by bytes',
      peers: [2, 3].map((at) => peer(at, { lagBytes: 2 ** 28 + 1 })),
      is: true,
    },
    { what: 'one of two', peers: [peer(2, far), peer(3)], is: false },
    {
      what: 'one, and the other is dead',
      peers: [peer(2, far), peer(3, { ...far, isActive: false })],
      is: false,
    },
    {
      what: 'two that are dead',
      peers: [2, 3].map((at) => peer(at, { ...far, isActive: false })),
      is: false,
    },
    { what: 'two of four', peers: [peer(2, far), peer(3, far), peer(4), peer(5)], is: false },
    { what: 'three of four', peers: [peer(2, far), peer(3, far), peer(4, far), peer(5)], is: true },
    {
      what: 'both, at the bounds',
      peers: [2, 3].map((at) => peer(at, { lagBytes: 2 ** 28, lagMs: 30_000 })),
      is: false,
    },
  ])('$what: structural $is', ({ peers, is }) => {
    expect(isLagStructural(peers)).toBe(is);
  });

  const lagging = {
    device: healthyDevice,
    peers: [peer(2, far), peer(3, far)],
    structuralLagMs: 15_000,
  };

  test('ends a reign when it has lasted, and the laggards are a quorum', () => {
    expect(judgeStepDown(input(lagging))).toMatchObject({
      kind: 'stepDown',
      clause: 'StructuralLag',
    });
    expect(judgeStepDown(input({ ...lagging, structuralLagMs: 14_999 }))).toEqual({ kind: 'stay' });
    expect(judgeStepDown(input({ ...lagging, sinceStepDownMs: 1_000 }))).toEqual({ kind: 'stay' });
  });

  test('hands over where somebody has caught up', () => {
    const peers = [peer(2, far), peer(3, far), peer(4, far), peer(5)];

    expect(judgeStepDown(input({ ...lagging, peers }))).toMatchObject({ kind: 'handOver', to: 5 });
  });
});

describe('a clock in alarm', () => {
  const alarmed = { device: healthyDevice, hasClockAlarm: true };

  test('hands over to somebody without an alarm, also in a young reign and shortly after the last time', () => {
    const seen = {
      leaderAgeMs: 1,
      sinceStepDownMs: 1,
      peers: [peer(2, { hasClockAlarm: true }), peer(3)],
    };

    expect(judgeStepDown(input({ ...alarmed, ...seen }))).toMatchObject({
      kind: 'handOver',
      to: 3,
      clause: 'ClockAlarm',
    });
  });

  test('stays when every clock is in alarm', () => {
    const peers = [2, 3].map((at) => peer(at, { hasClockAlarm: true }));

    expect(judgeStepDown(input({ ...alarmed, peers }))).toEqual({ kind: 'stay' });
  });
});
