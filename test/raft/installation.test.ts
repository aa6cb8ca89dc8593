/** A snapshot in the place of a log, as the core sees it (specification §7). */
import { describe, expect, test } from 'vitest';

import { logIndex, term, type LogIndex, type Term } from '../../src/base/ids.ts';
import type { Configuration } from '../../src/base/membership.ts';
import {
  installationBlock,
  logBehindSnapshot,
  type Effect,
  type WholeLog,
} from '../../src/raft/index.ts';
import {
  appendOf,
  configurationOf,
  CoreDriver,
  effectsOf,
  member,
  runsOf,
  sentOf,
  threeVoters,
  wordOf,
} from './core-driver.ts';

const place = (index: number, inTerm: number): { index: LogIndex; term: Term } => ({
  index: logIndex(index),
  term: term(inTerm),
});

function changed(index: number, inTerm: number, ...numbers: readonly number[]): Configuration {
  const members = numbers.map((number) => member(number));
  return { ...configurationOf(members), index: logIndex(index), term: term(inTerm) };
}

/** A snapshot at `index` becomes durable in the place of what a core would give for it. */
function install(
  driver: CoreDriver,
  at: { readonly index: number; readonly term: number; readonly log?: WholeLog },
  configuration: Configuration = threeVoters,
): Effect[] {
  const log = at.log ?? logBehindSnapshot(driver.state, place(at.index, at.term));
  return driver.input({ kind: 'snapshotInstalled', log, configuration });
}

/** A leader of term 1 with one entry. */
function leader(): CoreDriver {
  const driver = new CoreDriver();
  driver.win();
  driver.sync();
  return driver;
}

describe('an installed snapshot', () => {
  /** A follower of term 2 whose log of term 1 ends long before the leader's begins. */
  function behind(): CoreDriver {
    const driver = new CoreDriver({ log: [1, 1, 1], term: 2, recordedCommitIndex: 1 });
    driver.receive(appendOf(2, { term: 2, prevIndex: 9, prevTerm: 2, needsSnapshot: true }));
    return driver;
  }

  test('stands for the whole log of a follower that ended before it', () => {
    const driver = behind();

    const effects = install(driver, { index: 9, term: 2 });

    expect(driver.state).toMatchObject({
      durableIndex: 9,
      verifiedIndex: 9,
      commitIndex: 9,
      appliableIndex: 9,
      leaderCommit: 9,
      snapshotWanted: undefined,
    });
    expect(driver.state.log).toEqual({
      baseIndex: 9,
      baseTerm: 2,
      lastIndex: 9,
      runFirst: [],
      runTerm: [],
    });
    expect(effectsOf(effects, 'commitAdvanced')).toMatchObject([
      { commitIndex: 9, appliableIndex: 9 },
    ]);
    expect(effectsOf(effects, 'truncateLog')).toEqual([]);
  });

  test('is acknowledged to the next append that matches', () => {
    const driver = behind();
    install(driver, { index: 9, term: 2 });

    const match = driver.receive(appendOf(2, { term: 2, prevIndex: 8, prevTerm: 2 }));
    driver.receive(appendOf(2, { term: 2, prevIndex: 9, prevTerm: 2, terms: [2, 2], commit: 11 }));

    expect(sentOf(match, 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 9 }]);
    expect(sentOf(driver.sync(), 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 11 }]);
    expect(driver.state.appliableIndex).toBe(11);
  });

  test('leaves what the log has behind its very entry', () => {
    const driver = new CoreDriver({
      log: [1, 1, 2, 2, 3],
      term: 4,
      recordedCommitIndex: 2,
    });

    install(driver, { index: 3, term: 2 });

    expect(driver.state.log).toMatchObject({ baseIndex: 3, baseTerm: 2, lastIndex: 5 });
    expect(driver.terms).toEqual([2, 3]);
    expect(driver.state).toMatchObject({ durableIndex: 5, commitIndex: 3, verifiedIndex: 3 });
  });

  test('takes the place of a log that has another entry there', () => {
    const driver = new CoreDriver({ log: [1, 1, 1, 1, 1], term: 2, recordedCommitIndex: 1 });

    install(driver, { index: 3, term: 2 });

    expect(driver.state.log).toMatchObject({ baseIndex: 3, baseTerm: 2, lastIndex: 3 });
    expect(driver.state).toMatchObject({ durableIndex: 3, commitIndex: 3 });
  });

  test('may end where the log is committed already, and takes nothing back', () => {
    const driver = new CoreDriver({ log: [1, 1, 2, 2], recordedCommitIndex: 4 });

    const effects = install(driver, { index: 2, term: 1 });

    expect(effects).toEqual([]);
    expect(driver.state).toMatchObject({ commitIndex: 4, appliableIndex: 4, durableIndex: 4 });
    expect(driver.terms).toEqual([2, 2]);
    install(driver, { index: 2, term: 1 });
    expect(driver.state.log.baseIndex).toBe(2);
  });

  test('silences completions of appends whose entries went with it', () => {
    const driver = new CoreDriver({ log: [1], term: 1 });
    driver.receive(appendOf(2, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2, 2] }));
    driver.input(driver.takeWaiting());
    const late = driver.takeWaiting();
    driver.input({ kind: 'termSeen', term: term(3) });
    install(driver, { index: 9, term: 3 });
    driver.receive(appendOf(3, { term: 3, prevIndex: 9, prevTerm: 3, terms: [3] }));

    driver.input(late);

    expect(driver.state).toMatchObject({ durableIndex: 9, appliableIndex: 9 });
    driver.sync();
    expect(driver.state.durableIndex).toBe(10);
  });

  test('silences them too where it ends before them', () => {
    const driver = new CoreDriver({ log: [1], term: 1 });
    driver.receive(appendOf(2, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2, 2] }));
    driver.input(driver.takeWaiting());
    const late = driver.takeWaiting();
    driver.input({ kind: 'termSeen', term: term(3) });

    install(driver, { index: 2, term: 1 });
    driver.receive(appendOf(3, { term: 3, prevIndex: 2, prevTerm: 1, terms: [3] }));
    driver.input(late);

    expect(driver.state).toMatchObject({ durableIndex: 2, appliableIndex: 2 });
    expect(driver.terms).toEqual([3]);
  });

  test('lets entries that were kept become durable', () => {
    const driver = new CoreDriver({ log: [1, 1], term: 1 });
    driver.receive(appendOf(2, { term: 1, prevIndex: 2, prevTerm: 1, terms: [1, 1] }));

    install(driver, { index: 2, term: 1 });

    expect(driver.state).toMatchObject({ durableIndex: 2, commitIndex: 2, verifiedIndex: 4 });
    expect(sentOf(driver.sync(), 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 4 }]);
  });

  test('may drop entries that never were durable, though they match', () => {
    const driver = new CoreDriver({ log: [1, 1], term: 1 });
    driver.receive(appendOf(2, { term: 1, prevIndex: 2, prevTerm: 1, terms: [1, 1] }));

    install(driver, { index: 3, term: 1 });
    driver.sync();

    expect(driver.state.log).toMatchObject({ baseIndex: 3, lastIndex: 3 });
    expect(driver.state).toMatchObject({ durableIndex: 3, verifiedIndex: 3 });
  });

  test('never takes durable entries behind its very entry with it', () => {
    const driver = new CoreDriver({ log: [1, 1, 1, 1], term: 1, recordedCommitIndex: 1 });
    const log = { ...logBehindSnapshot(driver.state, place(2, 1)), termRuns: [] };

    expect(() =>
      install(driver, { index: 2, term: 1, log: { ...log, lastIndex: log.baseIndex } }),
    ).toThrow('durable entries behind a snapshot are kept');
  });

  test('ends a campaign', () => {
    const driver = new CoreDriver({ log: [1, 1], term: 1 });
    driver.tickToDeadline();

    const effects = install(driver, { index: 5, term: 1 });

    expect(effectsOf(effects, 'roleChanged')).toMatchObject([{ role: 'follower' }]);
    expect(driver.state).toMatchObject({ role: 'follower', campaign: undefined });
  });

  test('wakes one that sleeps, which gives its leader time to answer', () => {
    const driver = new CoreDriver({ log: [1, 1], recordedCommitIndex: 2 });
    const beat = { mayHibernate: true, lease: false, term: term(1), round: 4, commit: logIndex(2) };
    driver.receive(wordOf(2, { kind: 'heartbeat', ...beat }));
    expect(driver.state.isHibernating).toBe(true);

    install(driver, { index: 2, term: 1 });

    expect(driver.state.isHibernating).toBe(false);
    expect(effectsOf(driver.tick(5), 'roleChanged')).toEqual([]);
  });

  test('brings its configuration, in the place of all before it', () => {
    const old = changed(2, 1, 1, 2);
    const driver = new CoreDriver({ log: [1, 1], configurations: [threeVoters, old] });
    const brought = changed(5, 1, 1, 3, 4);

    const effects = install(driver, { index: 7, term: 1 }, brought);

    expect(driver.state.configurations).toEqual([brought]);
    expect(effectsOf(effects, 'configurationChanged')).toEqual([
      { kind: 'configurationChanged', configuration: brought, isCommitted: true },
    ]);
  });

  test('leaves configurations of entries that are kept, and says nothing of them', () => {
    const kept = changed(4, 1, 1, 2);
    const driver = new CoreDriver({ log: [1, 1, 1, 1], configurations: [threeVoters, kept] });

    const effects = install(driver, { index: 2, term: 1 });

    expect(driver.state.configurations).toEqual([threeVoters, kept]);
    expect(effectsOf(effects, 'configurationChanged')).toEqual([]);
  });

  test('undoes the configuration of an entry that it drops', () => {
    const undone = changed(3, 1, 1, 2);
    const driver = new CoreDriver({
      log: [1, 1, 1],
      term: 2,
      configurations: [threeVoters, undone],
      recordedCommitIndex: 1,
    });

    const effects = install(driver, { index: 2, term: 2 });

    expect(driver.state.configurations).toEqual([threeVoters]);
    expect(effectsOf(effects, 'configurationChanged')).toMatchObject([
      { configuration: { index: 0 }, isCommitted: true },
    ]);
  });

  test('leaves doubt and quarantine as they are', () => {
    const doubtful = new CoreDriver({ log: [1], inDoubt: true });
    install(doubtful, { index: 5, term: 1 });
    expect(doubtful.state).toMatchObject({ inDoubt: true, ackOwed: false, commitIndex: 5 });

    const damaged = new CoreDriver({ log: [1, 1], isQuarantined: true });
    const whole = {
      ...logBehindSnapshot(damaged.state, place(4, 1)),
      termRuns: runsOf([1, 1], 4),
      lastIndex: logIndex(6),
    };
    install(damaged, { index: 4, term: 1, log: whole });
    damaged.input({ kind: 'repaired', log: undefined });
    expect(damaged.state).toMatchObject({ inDoubt: false, durableIndex: 6, commitIndex: 4 });
    expect(damaged.terms).toEqual([1, 1]);
  });
});

describe('an installation is blocked', () => {
  test('at a leader', () => {
    const driver = leader();

    expect(installationBlock(driver.state, place(9, 1))).toBe('leader');
    expect(() => install(driver, { index: 9, term: 1 })).toThrow('nothing blocks it');
  });

  test('below the base, in a term that was not seen, and against what is known', () => {
    const { state } = new CoreDriver({
      base: { index: 3, term: 1 },
      log: [1, 1, 1],
      recordedCommitIndex: 5,
    });

    expect(installationBlock(state, place(2, 1))).toBe('isBehindBase');
    expect(installationBlock(state, place(9, 2))).toBe('termUnseen');
    expect(installationBlock(state, place(5, 0))).toBe('conflict');
    expect(installationBlock(state, place(6, 0))).toBeUndefined();
    expect(installationBlock(state, place(3, 1))).toBeUndefined();
    expect(installationBlock(state, place(9, 1))).toBeUndefined();
  });

  test('against durable entries of the leader of this term', () => {
    const driver = new CoreDriver({ log: [1], term: 2 });
    driver.receive(appendOf(2, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2, 2] }));
    expect(installationBlock(driver.state, place(3, 1))).toBeUndefined();

    driver.sync();

    expect(installationBlock(driver.state, place(3, 1))).toBe('conflict');
  });
});

describe('a newer term that comes with a snapshot', () => {
  test('is adopted, and ends a reign', () => {
    const driver = leader();

    const effects = driver.input({ kind: 'termSeen', term: term(7) });

    expect(effectsOf(effects, 'persistHardState')).toMatchObject([
      { term: 7, votedFor: undefined },
    ]);
    expect(driver.state).toMatchObject({ role: 'follower', term: 7 });
  });

  test('is ignored when it is not newer', () => {
    const driver = leader();

    expect(driver.input({ kind: 'termSeen', term: term(1) })).toEqual([]);
    expect(driver.state.role).toBe('leader');
  });
});
