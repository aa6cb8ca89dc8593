/** Logs that begin behind a snapshot, as the core sees them (specification §7 and §8.1). */
import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import type { Configuration } from '../../src/base/membership.ts';
import { compactionFloor, configurationAt, type Input } from '../../src/raft/index.ts';
import {
  appendOf,
  configurationOf,
  CoreDriver,
  effectsOf,
  member,
  sentOf,
  threeVoters,
  wordOf,
} from './core-driver.ts';

function changed(index: number, inTerm: number, ...numbers: readonly number[]): Configuration {
  const members = numbers.map((number) => member(number));
  return { ...configurationOf(members), index: logIndex(index), term: term(inTerm) };
}

/** A leader of term 1 whose `count` entries behind the first are committed and durable at replica 2; replica 3 is silent. */
function leader(count: number): CoreDriver {
  const driver = new CoreDriver();
  driver.win();
  driver.input({ kind: 'propose', count });
  driver.sync();
  driver.acknowledge(2, driver.state.log.lastIndex);
  return driver;
}

const compacted = (baseIndex: number): Input => ({
  kind: 'compacted',
  baseIndex: logIndex(baseIndex),
});

const refusal = (
  number: number,
  inTerm: number,
  refused: { readonly prevIndex: number; readonly lastIndex: number; readonly term?: number },
): ReturnType<typeof wordOf> =>
  wordOf(number, {
    kind: 'appendRejected',
    term: term(inTerm),
    rejectedPrevIndex: logIndex(refused.prevIndex),
    lastIndex: logIndex(refused.lastIndex),
    conflictTerm: term(refused.term ?? 0),
    conflictFirstIndex: logIndex(refused.lastIndex + 1),
    ledgerSeq: 5,
  });

describe('a compacted log', () => {
  test('begins behind its base, whose term it remembers', () => {
    const driver = new CoreDriver({ log: [1, 1, 3, 3, 4], recordedCommitIndex: 4 });

    driver.input(compacted(3));

    expect(driver.state.log).toEqual({
      baseIndex: 3,
      baseTerm: 3,
      lastIndex: 5,
      runFirst: [4, 5],
      runTerm: [3, 4],
    });
  });

  test('may be all behind it', () => {
    const driver = new CoreDriver({ log: [1, 2], recordedCommitIndex: 2 });

    driver.input(compacted(2));
    driver.receive(appendOf(2, { term: 2, prevIndex: 2, prevTerm: 2, terms: [2] }));

    expect(driver.terms).toEqual([2]);
    expect(driver.state.log).toMatchObject({ baseTerm: 2, runFirst: [3], runTerm: [2] });
  });

  test('keeps what is not committed, or not durable', () => {
    const driver = new CoreDriver({ log: [1, 1, 1], recordedCommitIndex: 2 });
    expect(() => driver.input(compacted(3))).toThrow('may be applied');
    expect(() => driver.input(compacted(0))).toThrow('moves the base forward');

    const ahead = new CoreDriver({ term: 1 });
    ahead.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1], commit: 2 }));
    expect(() => ahead.input(compacted(1))).toThrow('may be applied');
  });

  test('takes an append whose previous entry lies below its base', () => {
    const driver = new CoreDriver({ log: [1, 1, 1, 1], recordedCommitIndex: 4 });
    driver.input(compacted(3));

    driver.receive(appendOf(2, { term: 1, prevIndex: 1, prevTerm: 1, terms: [1, 1, 1, 1] }));

    expect(driver.terms).toEqual([1, 1]);
    expect(sentOf(driver.sync(), 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 5 }]);
  });

  test('is found again by a restart, committed and applied up to its base', () => {
    const driver = new CoreDriver({ base: { index: 7, term: 2 }, log: [2, 3], term: 3 });

    expect(driver.state).toMatchObject({
      commitIndex: 7,
      appliableIndex: 7,
      verifiedIndex: 7,
      durableIndex: 9,
      snapshotWanted: undefined,
    });
    expect(driver.state.log).toMatchObject({ baseIndex: 7, lastIndex: 9 });
    driver.win();
    expect(driver.terms).toEqual([2, 3, 4]);
  });

  test('lets a leader count past a voter that is behind it', () => {
    const driver = leader(4);
    driver.input(compacted(4));
    const members = [member(1), member(4), member(5)];

    driver.input({ kind: 'changeConfiguration', members });
    driver.receive(refusal(4, 1, { prevIndex: 5, lastIndex: 0 }));
    driver.acknowledge(4, 3);
    driver.acknowledge(5, 2);
    driver.sync();

    expect(driver.state).toMatchObject({ role: 'leader', commitIndex: 5 });
  });
});

describe('a leader whose log begins behind what a follower needs', () => {
  test('asks for a snapshot once, then flags its empty appends until one came', () => {
    const driver = leader(4);
    driver.input(compacted(4));

    const refused = driver.receive(refusal(3, 1, { prevIndex: 0, lastIndex: 0 }));
    const beats = [driver.tick(5), driver.tick(5)];

    expect(effectsOf(refused, 'snapshotNeeded')).toMatchObject([{ to: { replicaId: 3 } }]);
    for (const beat of beats) {
      expect(effectsOf(beat, 'snapshotNeeded')).toEqual([]);
      expect(effectsOf(beat, 'sendAppend').filter(({ to }) => to.replicaId === 3)).toMatchObject([
        { prevIndex: 4, prevTerm: 1, lastIndex: 4, needsSnapshot: true },
      ]);
    }
    const come = driver.acknowledge(3, 4, { ledgerSeq: 5 });
    expect(effectsOf(come, 'sendAppend')).toMatchObject([
      { prevIndex: 4, lastIndex: 5, needsSnapshot: false },
    ]);
  });

  test('flags no append to one that has come to its base', () => {
    const driver = leader(4);
    driver.acknowledge(3, 3);
    driver.input(compacted(3));

    const effects = driver.input({ kind: 'peerConnected', nodeId: nodeId(3), newBoot: false });

    expect(effectsOf(effects, 'sendAppend')).toMatchObject([
      { prevIndex: 3, lastIndex: 5, needsSnapshot: false },
    ]);
  });

  test('gives up appends in flight to it when it is compacted away', () => {
    const driver = leader(2);
    driver.acknowledge(3, 1);
    driver.input({ kind: 'propose', count: 2 });
    driver.sync();
    driver.acknowledge(2, 5);
    driver.input(compacted(5));

    driver.input({ kind: 'peerConnected', nodeId: nodeId(3), newBoot: false });

    const row = driver.state.leader?.progress.find(({ member: { replicaId } }) => replicaId === 3);
    expect(row).toMatchObject({ state: 'snapshot', inflight: [], inflightEntries: 0 });
  });

  test('steps past a base of another term than the follower has there', () => {
    const driver = new CoreDriver({ base: { index: 4, term: 3 }, log: [3], term: 3 });
    driver.win();
    driver.sync();

    driver.receive(refusal(3, 4, { prevIndex: 5, lastIndex: 6, term: 2 }));
    const effects = driver.receive(refusal(3, 4, { prevIndex: 4, lastIndex: 6, term: 2 }));

    expect(effectsOf(effects, 'snapshotNeeded')).toHaveLength(1);
  });

  test('tells a follower in doubt so behind its base, and asks for no snapshot', () => {
    const driver = leader(4);
    driver.input({ kind: 'peerConnected', nodeId: nodeId(3), newBoot: false });
    driver.acknowledge(3, 2);
    driver.input(compacted(4));

    const told = driver.receive(refusal(3, 1, { prevIndex: 5, lastIndex: 0 }));
    const again = driver.tick(5);

    for (const effects of [told, again])
      expect(effectsOf(effects, 'sendAppend').filter(({ to }) => to.replicaId === 3)).toMatchObject(
        [{ prevIndex: 4, receiverInDoubt: true, needsSnapshot: false }],
      );
  });
});

describe('a follower that needs a snapshot', () => {
  const asked = (prevIndex: number, prevTerm = 2): ReturnType<typeof appendOf> =>
    appendOf(2, { term: 2, prevIndex, prevTerm, needsSnapshot: true });

  test('notes up to where, and refuses', () => {
    const driver = new CoreDriver({ log: [1, 1], term: 2 });

    const effects = driver.receive(asked(9));

    expect(driver.state.snapshotWanted).toBe(9);
    expect(sentOf(effects, 'appendRejected')).toMatchObject([{ lastIndex: 2, conflictTerm: 0 }]);
    driver.receive(asked(12));
    expect(driver.state.snapshotWanted).toBe(12);
  });

  test('notes it where the entry at the base is of another term', () => {
    const driver = new CoreDriver({ log: [1, 1, 1, 1], term: 2, recordedCommitIndex: 2 });

    driver.receive(asked(3));

    expect(driver.state.snapshotWanted).toBe(3);
  });

  test('notes nothing where the log has the base', () => {
    const driver = new CoreDriver({ log: [1, 1, 2, 2], term: 2 });

    driver.receive(asked(3));

    expect(driver.state.snapshotWanted).toBeUndefined();
  });

  test('notes nothing of an append that was refused for another reason', () => {
    const driver = new CoreDriver({ log: [1, 1], term: 2 });

    driver.receive(appendOf(2, { term: 2, prevIndex: 9, prevTerm: 2 }));

    expect(driver.state.snapshotWanted).toBeUndefined();
  });

  test('forgets it when an append matches, or another term begins', () => {
    const matched = new CoreDriver({ log: [1, 1], term: 2 });
    matched.receive(asked(9));
    matched.receive(appendOf(2, { term: 2, prevIndex: 2, prevTerm: 1, terms: [2] }));
    expect(matched.state.snapshotWanted).toBeUndefined();

    const later = new CoreDriver({ log: [1, 1], term: 2 });
    later.receive(asked(9));
    later.receive(appendOf(3, { term: 3, prevIndex: 5, prevTerm: 3 }));
    expect(later.state.snapshotWanted).toBeUndefined();
  });
});

describe('entries may go', () => {
  test('as far as a follower may apply them', () => {
    const driver = new CoreDriver({ log: [1, 1, 1], recordedCommitIndex: 2 });

    expect(compactionFloor(driver.state)).toBe(2);
  });

  test('at a leader only as far as those that it hears have them', () => {
    const driver = leader(9);
    driver.acknowledge(3, 4);
    expect(compactionFloor(driver.state)).toBe(4);

    driver.acknowledge(3, 10);
    expect(compactionFloor(driver.state)).toBe(10);
  });

  test('without regard to one whose match is unknown, that is in doubt or that waits for a snapshot', () => {
    const unknown = leader(9);
    expect(compactionFloor(unknown.state)).toBe(10);

    const doubted = leader(9);
    doubted.acknowledge(3, 4);
    doubted.receive(refusal(3, 1, { prevIndex: 4, lastIndex: 1 }));
    expect(compactionFloor(doubted.state)).toBe(10);

    const waiting = leader(9);
    waiting.acknowledge(3, 4);
    waiting.input(compacted(8));
    waiting.input({ kind: 'peerConnected', nodeId: nodeId(3), newBoot: false });
    expect(compactionFloor(waiting.state)).toBe(10);
  });

  test('without regard to one that was silent for ten seconds', () => {
    const driver = leader(9);
    driver.acknowledge(3, 4);

    const beat = (ticks: number): void => {
      for (let passed = 0; passed < ticks; passed += 20) {
        driver.tick(20);
        driver.echo(2, driver.state.leader?.round ?? 0);
      }
    };
    beat(1_000);
    expect(compactionFloor(driver.state)).toBe(4);
    beat(20);
    expect(compactionFloor(driver.state)).toBe(10);
  });

  test('without regard to one that lags by more than 65,536 entries', () => {
    const driver = leader(9);
    driver.acknowledge(3, 4);
    driver.input({ kind: 'propose', count: 65_530 });
    expect(driver.state.log.lastIndex - 4).toBe(65_536);
    expect(compactionFloor(driver.state)).toBe(4);

    driver.input({ kind: 'propose', count: 1 });

    expect(compactionFloor(driver.state)).toBe(10);
  });

  test('never below the base, nor in doubt or in a quarantine', () => {
    const driver = leader(9);
    driver.acknowledge(3, 4);
    driver.input(compacted(8));
    expect(compactionFloor(driver.state)).toBe(8);

    const doubtful = new CoreDriver({
      base: { index: 2, term: 1 },
      log: [1, 1],
      recordedCommitIndex: 4,
      isQuarantined: true,
    });
    expect(compactionFloor(doubtful.state)).toBe(2);
    const held = new CoreDriver({ log: [1, 1], recordedCommitIndex: 2, isHeld: true });
    expect(compactionFloor(held.state)).toBe(0);
  });
});

test('the configuration at an index is the newest one up to there', () => {
  const later = changed(4, 1, 1, 2);
  const { state } = new CoreDriver({ log: [1, 1, 1, 1], configurations: [threeVoters, later] });

  expect(configurationAt(state, logIndex(3))).toBe(threeVoters);
  expect(configurationAt(state, logIndex(4))).toBe(later);
  state.configurations.shift();
  expect(configurationAt(state, logIndex(3))).toBeUndefined();
});
