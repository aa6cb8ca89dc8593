/** When a leader may answer reads alone (specification §2.3). */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { nodeId } from '../../src/base/ids.ts';
import {
  defaultRaftSettings,
  holdsLease,
  leaseStatus,
  tickMs,
  type Effect,
  type LeaseBlock,
  type RaftSettings,
} from '../../src/raft/index.ts';
import {
  configurationOf,
  CoreDriver,
  createCore,
  effectsOf,
  member,
  sentOf,
  type CoreStart,
} from './core-driver.ts';

const { heartbeatTicks, hibernateTicks } = defaultRaftSettings;
const leaseMs = 180;
const leaseTicks = leaseMs / tickMs;

/** A leader whose term-start entry is committed; its first round is echoed by both. */
function leader(options: CoreStart = {}): CoreDriver {
  const driver = new CoreDriver({ ...options, settings: { leaseMs, ...options.settings } });
  driver.win();
  driver.sync();
  for (const number of [2, 3]) driver.acknowledge(number, 1);
  for (const number of [2, 3]) driver.echo(number, roundOf(driver));
  return driver;
}

function roundOf(driver: CoreDriver): number {
  return present(driver.state.leader, 'it leads').round;
}

/** The next heartbeat round; `echoing` answer it at once. */
function round(driver: CoreDriver, echoing: readonly number[] = [2, 3]): Effect[] {
  const effects = driver.tick(heartbeatTicks);
  for (const number of echoing) driver.echo(number, roundOf(driver));
  return effects;
}

/** A leader with a lease that began this very tick. */
function leased(options: CoreStart = {}): CoreDriver {
  const driver = leader(options);
  round(driver);
  round(driver);
  expect(holds(driver)).toBe(true);
  return driver;
}

function holds(driver: CoreDriver): boolean {
  return holdsLease(driver.state, driver.clockMs);
}

function reasonOf(driver: CoreDriver): LeaseBlock | 'None' {
  return leaseStatus(driver.state, driver.clockMs).reason;
}

function flagsOf(effects: readonly Effect[]): readonly boolean[] {
  return sentOf(effects, 'heartbeat').map(({ lease }) => lease);
}

describe('a lease begins', () => {
  test('when the guards held for two rounds, with the first flagged round that a quorum echoed', () => {
    const driver = leader();

    expect(flagsOf(round(driver))).toEqual([false, false]);
    expect(reasonOf(driver)).toBe('Settling');
    expect(flagsOf(round(driver, []))).toEqual([true, true]);
    expect(holds(driver)).toBe(false);
    driver.echo(3, roundOf(driver));

    expect(holds(driver)).toBe(true);
    expect(leaseStatus(driver.state, driver.clockMs)).toEqual({
      state: 'Enabled',
      reason: 'None',
      remainingMs: leaseMs,
    });
  });

  test('at the time of sending, however late the echo comes', () => {
    const driver = leader();
    round(driver);
    round(driver, []);
    const flagged = roundOf(driver);
    driver.tick(leaseTicks - 1);

    driver.echo(2, flagged);

    expect(holds(driver)).toBe(true);
    driver.tick(1);
    expect(holds(driver)).toBe(false);
  });

  test('never with the late echo of a round that was not flagged', () => {
    const driver = leader();
    round(driver, []);
    const unflagged = roundOf(driver);
    round(driver, []);

    driver.echo(2, unflagged);
    driver.echo(3, unflagged);

    expect(holds(driver)).toBe(false);
  });

  test.each([
    { whose: 'a replica in doubt', word: { inDoubt: true } },
    { whose: 'another life of a replica', word: { life: 1 } },
    { whose: 'a replica whose clocks disagree', word: { clockAlarm: true } },
  ])('never with the echo of $whose', ({ word }) => {
    const driver = leader();
    round(driver);
    round(driver, []);

    driver.echo(2, roundOf(driver), word);

    expect(holds(driver)).toBe(false);
    driver.echo(3, roundOf(driver));
    expect(holds(driver)).toBe(true);
  });

  test('at a single voter by itself', () => {
    const driver = new CoreDriver({
      configuration: configurationOf([member(1)]),
      settings: { leaseMs },
    });
    driver.tickToDeadline();
    driver.sync();

    driver.tick(heartbeatTicks);
    driver.tick(heartbeatTicks);

    expect(holds(driver)).toBe(true);
  });

  test('never unless it is wanted', () => {
    const driver = leader({ settings: { leaseMs: 0 } });

    for (let at = 0; at < 4; at++) expect(flagsOf(round(driver))).toEqual([false, false]);

    expect(leaseStatus(driver.state, driver.clockMs)).toMatchObject({
      state: 'Disabled',
      reason: 'Off',
    });
  });
});

describe('a read under a lease', () => {
  test('is answered at once, without a round', () => {
    const driver = leased();
    const before = roundOf(driver);

    const effects = driver.input({ kind: 'leaseRead', readId: 7 });

    expect(effects).toEqual([{ kind: 'leaseReadReady', readId: 7, index: 1 }]);
    expect(roundOf(driver)).toBe(before);
  });

  test('takes a round when the lease is over by the clock, whatever the ticks say', () => {
    const driver = leased();
    driver.unseenMs = leaseMs;

    const effects = driver.input({ kind: 'leaseRead', readId: 7 });

    expect(effectsOf(effects, 'leaseReadReady')).toEqual([]);
    expect(effectsOf(driver.echo(2, roundOf(driver)), 'readReady')).toMatchObject([{ readId: 7 }]);
  });

  test('takes a round while the own disk lacks what is committed', () => {
    const driver = leased();
    driver.input({ kind: 'propose', count: 1 });
    driver.acknowledge(2, 2);
    driver.acknowledge(3, 2);
    expect(driver.state).toMatchObject({ commitIndex: 2, durableIndex: 1 });

    const effects = driver.input({ kind: 'leaseRead', readId: 7 });

    expect(effectsOf(effects, 'leaseReadReady')).toEqual([]);
  });

  test('fails where nobody leads', () => {
    expect(new CoreDriver().input({ kind: 'leaseRead', readId: 3 })).toEqual([
      { kind: 'readFailed', readId: 3 },
    ]);
  });
});

describe('a lease ends', () => {
  test('at once and for the rest of the term when a TimeoutNow leaves', () => {
    const driver = leased();

    const effects = driver.input({ kind: 'transferLeadership', to: member(2), reason: 'a test' });

    expect(sentOf(effects, 'timeoutNow')).toHaveLength(1);
    expect(holds(driver)).toBe(false);
    for (let at = 0; at < 20; at++) expect(flagsOf(round(driver))).toEqual([false, false]);
    expect(driver.state.leader?.transfer).toBeUndefined();
    expect(reasonOf(driver)).toBe('TimeoutNowSent');
  });

  test('not while a transfer waits for its target to catch up', () => {
    const driver = leased();
    driver.input({ kind: 'propose', count: 1 });
    driver.sync();
    driver.acknowledge(3, 2);

    driver.input({ kind: 'transferLeadership', to: member(2), reason: 'a test' });

    expect(holds(driver)).toBe(true);
    driver.acknowledge(2, 2);
    expect(holds(driver)).toBe(false);
  });

  test('with a clock alarm, and comes back two rounds after it', () => {
    const driver = leased();

    driver.input({ kind: 'clockAlarm', isRaised: true });

    expect(holds(driver)).toBe(false);
    expect(reasonOf(driver)).toBe('ClockAlarm');
    round(driver);
    driver.input({ kind: 'clockAlarm', isRaised: false });
    round(driver);
    expect(holds(driver)).toBe(false);
    round(driver);
    expect(holds(driver)).toBe(true);
  });

  test('in a joint phase, and begins anew behind its exit', () => {
    const driver = leased({ settings: { finalizeEntries: 1 } });

    driver.input({
      kind: 'changeConfiguration',
      members: [member(1), member(2), member(3), member(4)],
    });

    expect(holds(driver)).toBe(false);
    expect(reasonOf(driver)).toBe('JointPhase');
    round(driver);
    expect(flagsOf(round(driver))).not.toContain(true);
    driver.sync();
    for (const number of [2, 3, 4]) driver.acknowledge(number, 2);
    expect(reasonOf(driver)).toBe('Settling');
    round(driver);
    round(driver);
    expect(holds(driver)).toBe(true);
  });

  test('as soon as some voter has too short an election timeout for it', () => {
    const driver = leased();
    const sumMs = heartbeatTicks * tickMs + 10 + 50 + leaseMs;
    round(driver, [2]);

    driver.echo(3, roundOf(driver), { electionTimeoutMsMin: sumMs });

    expect(holds(driver)).toBe(false);
    expect(reasonOf(driver)).toBe('ElectionTimeoutTooShort');
    round(driver, [2]);
    driver.echo(3, roundOf(driver), { electionTimeoutMsMin: sumMs + 1 });
    round(driver, [2]);
    driver.echo(3, roundOf(driver), { electionTimeoutMsMin: sumMs + 1 });
    round(driver);
    expect(holds(driver)).toBe(true);
  });

  test('when too many voters have clocks that disagree', () => {
    const driver = leased();
    round(driver, []);

    for (const number of [2, 3]) driver.echo(number, roundOf(driver), { clockAlarm: true });

    expect(holds(driver)).toBe(false);
    expect(reasonOf(driver)).toBe('QuorumUnheard');
  });

  test('before an idle partition asks for rest', () => {
    const driver = leased();
    const asks: (readonly boolean[])[] = [];
    for (let at = 0; at < 2 + hibernateTicks / heartbeatTicks; at++) {
      const beats = sentOf(round(driver), 'heartbeat');
      if (beats.some((beat) => beat.mayHibernate)) asks.push(beats.map((beat) => beat.lease));
    }

    expect(asks.length).toBeGreaterThan(0);
    expect(asks.flat()).not.toContain(true);
    expect(holds(driver)).toBe(false);
    expect(reasonOf(driver)).toBe('Idle');
  });

  test('with the reign', () => {
    const driver = leased();

    driver.input({ kind: 'doubt' });

    expect(holds(driver)).toBe(false);
    expect(reasonOf(driver)).toBe('NotLeader');
  });

  test('not with the loss of a voter that is not needed', () => {
    const driver = leased();
    driver.input({ kind: 'nodeUnreachable', nodeId: nodeId(3) });

    for (let at = 0; at < 6; at++) round(driver, [2]);

    expect(holds(driver)).toBe(true);
  });
});

describe('settings', () => {
  test.each<{ readonly settings: Partial<RaftSettings>; readonly blamed: string }>([
    { settings: { leaseMs: 190 }, blamed: 'leaseMs' },
    { settings: { leaseMs: 1, leaseRttMarginMs: 240 }, blamed: 'leaseRttMarginMs' },
    { settings: { leaseMs: 1, leaseClockSkewMs: 250 }, blamed: 'leaseClockSkewMs' },
  ])('that make a lease too long are refused, and $blamed is blamed', ({ settings, blamed }) => {
    expect(() => createCore({ settings })).toThrow(`${blamed} is too large`);
  });

  test.each([
    { electionTimeoutTicksMin: 30, leaseRttMarginMs: 50, leaseClockSkewMs: 10, longest: 189 },
    { electionTimeoutTicksMin: 15, leaseRttMarginMs: 10, leaseClockSkewMs: 5, longest: 84 },
  ])('allow $longest ms and no more', ({ longest, ...settings }) => {
    expect(() => createCore({ settings: { ...settings, leaseMs: longest } })).not.toThrow();
    expect(() => createCore({ settings: { ...settings, leaseMs: longest + 1 } })).toThrow();
  });
});
