/** Observers: their stream is capped, and they are counted nowhere (specification §3.0). */
import { describe, expect, test } from 'vitest';

import { logIndex, term } from '../../src/base/ids.ts';
import { defaultRaftSettings, type Effect } from '../../src/raft/index.ts';
import { leaderOf, progressOf } from '../scenarios/scenario-words.ts';
import { configurationOf, effectsOf, member, wordOf, type CoreDriver } from './core-driver.ts';

const { electionTimeoutTicksMax, hibernateTicks, heartbeatTicks } = defaultRaftSettings;

/** Entries have ten bytes each: one a tick. */
const observerBytesPerTick = 10;
const observed = configurationOf([member(1), member(2), member(3), member(4, 'observer')]);

function observedLeader(): CoreDriver {
  const settings = { observerBytesPerTick, appendEntriesMax: 4 };
  const driver = leaderOf({ configuration: observed, settings });
  for (const number of [2, 3, 4]) driver.acknowledge(number, 1);
  return driver;
}

/** Entries that left for a replica. */
function entriesTo(effects: readonly Effect[], number: number): number {
  return effectsOf(effects, 'sendAppend')
    .filter(({ to }) => Number(to.replicaId) === number)
    .reduce((sum, { prevIndex, lastIndex }) => sum + lastIndex - prevIndex, 0);
}

/** Time passes; everybody echoes, and `acknowledging` have whatever they were sent. Returns what left. */
function pass(driver: CoreDriver, ticks: number, acknowledging: readonly number[]): Effect[] {
  const effects: Effect[] = [];
  for (let tick = 0; tick < ticks; tick++) {
    effects.push(...driver.tick());
    for (const number of [2, 3]) driver.echo(number, driver.state.leader!.round);
    for (const number of acknowledging)
      effects.push(...driver.acknowledge(number, progressOf(driver, number).nextIndex - 1));
  }
  return effects;
}

describe('the stream of an observer', () => {
  test('takes no more than its share, while voters are sent everything at once', () => {
    const driver = observedLeader();

    const atOnce = driver.input({ kind: 'propose', count: 500 });
    driver.sync();
    const later = pass(driver, 100, [2, 3, 4]);

    expect(entriesTo(atOnce, 2)).toBe(500);
    const streamed = entriesTo([...atOnce, ...later], 4);
    // A hundred ticks, what had gathered before, and the append that overdraws.
    expect(streamed).toBeLessThanOrEqual(100 + 10 + 4);
    expect(streamed).toBeGreaterThan(80);
  });

  test('ends with the whole log', () => {
    const driver = observedLeader();
    driver.input({ kind: 'propose', count: 200 });
    driver.sync();

    pass(driver, 250, [2, 3, 4]);

    expect(progressOf(driver, 4).matchIndex).toBe(201);
  });

  test('is charged for appends that get no answer as well', () => {
    const driver = leaderOf({
      configuration: observed,
      settings: { observerBytesPerTick, appendEntriesMax: 50 },
    });
    driver.acknowledge(2, 1);
    driver.input({ kind: 'propose', count: 500 });
    driver.sync();
    expect(progressOf(driver, 4).state).toBe('probe');

    const sent = entriesTo(pass(driver, 500, [2, 3]), 4);

    expect(sent).toBeLessThanOrEqual(500 + 10 + 50);
  });

  test('waits longer when entries turn out larger than was thought, and gets again what did not leave', () => {
    const driver = observedLeader();
    pass(driver, 20, [2, 3, 4]);
    driver.input({ kind: 'propose', count: 20 });
    driver.sync();
    const before = progressOf(driver, 4).nextIndex;
    expect(before).toBeGreaterThan(3);

    driver.input({ kind: 'streamed', to: member(4), lastIndex: logIndex(3), extraBytes: 1_000 });

    expect(progressOf(driver, 4)).toMatchObject({ nextIndex: 4, inflightEntries: 0 });
    expect(entriesTo(pass(driver, 50, [2, 3]), 4)).toBe(0);
    expect(entriesTo(pass(driver, 100, [2, 3]), 4)).toBeGreaterThan(0);
  });

  test('goes on behind what it holds already, though that was thought not to have left', () => {
    const driver = observedLeader();
    pass(driver, 20, [2, 3, 4]);
    driver.input({ kind: 'propose', count: 10 });
    driver.sync();
    const sent = progressOf(driver, 4).nextIndex - 1;
    driver.input({ kind: 'streamed', to: member(4), lastIndex: logIndex(3), extraBytes: 0 });
    expect(progressOf(driver, 4).nextIndex).toBe(4);

    driver.acknowledge(4, sent);

    expect(progressOf(driver, 4).nextIndex).toBeGreaterThan(sent);
  });

  test('is nobody who left in the meantime', () => {
    const driver = observedLeader();

    expect(
      driver.input({ kind: 'streamed', to: member(9), lastIndex: logIndex(1), extraBytes: 5 }),
    ).toEqual([]);
  });
});

describe('an observer', () => {
  test('does not count for a commit', () => {
    const driver = observedLeader();
    driver.input({ kind: 'propose', count: 1 });
    driver.sync();

    driver.acknowledge(4, 2);
    expect(driver.state.commitIndex).toBe(1);

    driver.acknowledge(2, 2);
    expect(driver.state.commitIndex).toBe(2);
  });

  test('does not count for check-quorum', () => {
    const driver = observedLeader();

    for (let tick = 0; tick <= electionTimeoutTicksMax && driver.state.role === 'leader'; tick++) {
      driver.tick();
      if (driver.state.role === 'leader') driver.echo(4, driver.state.leader!.round);
    }

    expect(driver.state.role).toBe('follower');
  });

  test('does not count for a read', () => {
    const driver = observedLeader();
    driver.input({ kind: 'readIndex', readId: 1 });
    const { round } = driver.state.leader!;

    expect(effectsOf(driver.echo(4, round), 'readReady')).toEqual([]);
    expect(effectsOf(driver.echo(2, round), 'readReady')).toHaveLength(1);
  });

  /** Whether a leader falls asleep whose voters agree. */
  const sleeps = (observer: 'silent' | 'behind' | 'agrees'): boolean => {
    const driver = observedLeader();
    if (observer === 'behind') {
      driver.input({ kind: 'propose', count: 1 });
      driver.sync();
      for (const number of [2, 3]) driver.acknowledge(number, 2);
    }
    const echoing = observer === 'silent' ? [2, 3] : [2, 3, 4];
    const ticks = hibernateTicks + electionTimeoutTicksMax + 6 * heartbeatTicks;
    for (let tick = 0; tick < ticks && !driver.state.isHibernating; tick++) {
      driver.tick();
      const { round, restRound } = driver.state.leader!;
      for (const number of echoing) {
        if (driver.state.isHibernating) break;
        const isHibernating = restRound !== undefined && (number !== 4 || observer === 'agrees');
        const echo = { kind: 'heartbeatEcho' as const, term: term(1), round, isHibernating };
        driver.receive(
          wordOf(number, {
            ...echo,
            inDoubt: false,
            needsLeader: false,
            clockAlarm: false,
            electionTimeoutMsMin: 300,
          }),
        );
      }
    }
    return driver.state.isHibernating;
  };

  test('that is gone keeps nobody awake; one that is there is asked like everybody', () => {
    expect(sleeps('silent')).toBe(true);
    expect(sleeps('agrees')).toBe(true);
    expect(sleeps('behind')).toBe(false);
  });
});
