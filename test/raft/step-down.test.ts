/** A leader that ends its reign of its own accord, and how long followers have lagged (specification ELE-8). */
import { describe, expect, test } from 'vitest';

import { term } from '../../src/base/ids.ts';
import { defaultRaftSettings, handOverWaitTicks, lagTicks } from '../../src/raft/index.ts';
import { heartbeat, leaderOf, progressOf, voteRequest } from '../scenarios/scenario-words.ts';
import { effectsOf, member, sentOf, type CoreDriver } from './core-driver.ts';

const { electionTimeoutTicksMax, electionTimeoutTicksMin, minLeaderTicks } = defaultRaftSettings;

const reason = 'its disk is slow';
const lag = (driver: CoreDriver): number =>
  lagTicks(progressOf(driver, 2), driver.state.log.lastIndex, driver.now);

describe('a leader that steps down', () => {
  test('says why, keeps term and vote, and campaigns later than others would', () => {
    const driver = leaderOf();
    const { votedFor } = driver.state;

    const effects = driver.input({ kind: 'stepDown', reason });

    expect(effectsOf(effects, 'roleChanged')).toMatchObject([
      { role: 'follower', term: 1, reason: `gave leadership up: ${reason}` },
    ]);
    expect(driver.state).toMatchObject({ term: 1, votedFor, givenUp: { term: 1, reason } });
    expect(driver.state.electionDeadlineTick - driver.now).toBeGreaterThanOrEqual(
      electionTimeoutTicksMin + electionTimeoutTicksMax,
    );
  });

  test('fails the reads that wait', () => {
    const driver = leaderOf();
    driver.input({ kind: 'readIndex', readId: 7 });

    const effects = driver.input({ kind: 'stepDown', reason });

    expect(effectsOf(effects, 'readFailed')).toMatchObject([{ readId: 7 }]);
  });
});

describe('a leader whose heir was asked to campaign', () => {
  test('says why it handed over when the heir asks for its vote', () => {
    const driver = leaderOf();
    driver.acknowledge(2, 1);
    expect(
      sentOf(driver.input({ kind: 'transferLeadership', to: member(2), reason }), 'timeoutNow'),
    ).toHaveLength(1);

    const effects = driver.receive({
      ...voteRequest(2, { term: 2, lastIndex: 1, lastTerm: 1 }),
      isTransfer: true,
    } as Parameters<CoreDriver['receive']>[0]);

    expect(effectsOf(effects, 'roleChanged')).toMatchObject([
      { role: 'follower', term: 2, reason: `handed over: ${reason}` },
    ]);
    expect(driver.state.givenUp).toEqual({ term: 1, reason });
  });

  test('does not claim so when somebody else unseats it before the heir was asked', () => {
    const driver = leaderOf();
    driver.input({ kind: 'transferLeadership', to: member(2), reason });

    driver.receive(heartbeat(3, { term: 5 }));

    expect(driver.state.givenUp).toBeUndefined();
  });
});

describe('a new leader', () => {
  test('may hand over once it has led for the shortest reign', () => {
    const driver = leaderOf();
    const started = driver.state.leader!.sinceTick;
    const waits: number[] = [];

    while (driver.now < started + minLeaderTicks) {
      waits.push(handOverWaitTicks(driver.state));
      driver.tick(5);
      for (const number of [2, 3]) driver.echo(number, driver.state.leader!.round);
    }

    expect(waits[0]).toBe(minLeaderTicks);
    expect(waits.at(-1)).toBe(5);
    expect(handOverWaitTicks(driver.state)).toBe(0);
  });

  test('that led before has given nothing up', () => {
    const driver = leaderOf();
    driver.input({ kind: 'stepDown', reason });
    driver.win();

    expect(driver.state).toMatchObject({ role: 'leader', term: term(2), givenUp: undefined });
  });
});

describe('the lag of a follower in time', () => {
  /** Keeps the leader in office. */
  const pass = (driver: CoreDriver, ticks: number): void => {
    for (let tick = 0; tick < ticks; tick += 5) {
      driver.tick(5);
      for (const number of [2, 3]) driver.echo(number, driver.state.leader!.round);
    }
  };

  test('begins with the entry that it lacks, not with its last word', () => {
    const driver = leaderOf();
    driver.acknowledge(2, 1);
    pass(driver, 500);
    expect(lag(driver)).toBe(0);

    driver.input({ kind: 'propose', count: 1 });
    pass(driver, 20);

    expect(lag(driver)).toBe(20);
    driver.acknowledge(2, 2);
    expect(lag(driver)).toBe(0);
  });

  test('is a round trip behind a steady load, however long that lasts', () => {
    const driver = leaderOf();
    driver.acknowledge(2, 1);
    for (let entry = 2; entry < 200; entry++) {
      driver.input({ kind: 'propose', count: 1 });
      pass(driver, 5);
      driver.acknowledge(2, entry - 1);
    }

    expect(lag(driver)).toBeGreaterThan(0);
    expect(lag(driver)).toBeLessThanOrEqual(15);
  });

  test('grows while it is ever further behind, though it acknowledges all the time', () => {
    const driver = leaderOf();
    driver.acknowledge(2, 1);
    for (let round = 0; round < 100; round++) {
      driver.input({ kind: 'propose', count: 10 });
      pass(driver, 5);
      driver.acknowledge(2, 1 + round);
    }

    expect(lag(driver)).toBeGreaterThan(400);
  });
});
