import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import { configurationOf, CoreDriver, effectsOf, member, sentOf, wordOf } from './core-driver.ts';

/** Leader 1 of three in term 1 whose no-op is durable here. */
function leader(options: ConstructorParameters<typeof CoreDriver>[0] = {}): CoreDriver {
  const driver = new CoreDriver(options);
  driver.win();
  driver.sync();
  expect(driver.state.role).toBe('leader');
  return driver;
}

describe('a leader commits', () => {
  test('by the acknowledgement of one follower and its own sync', () => {
    const driver = leader();
    expect(driver.state.commitIndex).toBe(0);
    const effects = driver.acknowledge(2, 1);
    expect(effectsOf(effects, 'commitAdvanced')).toEqual([
      { kind: 'commitAdvanced', commitIndex: 1, appliableIndex: 1 },
    ]);
  });

  test('without counting itself before its own sync', () => {
    const driver = new CoreDriver();
    driver.win();
    driver.acknowledge(2, 1);
    expect(driver.state.commitIndex).toBe(0);
    driver.sync();
    expect(driver.state.commitIndex).toBe(1);
  });

  test('by two followers alone, and applies only once its own sync is done', () => {
    const driver = new CoreDriver();
    driver.win();
    driver.acknowledge(2, 1);
    driver.acknowledge(3, 1);
    expect(driver.state).toMatchObject({ commitIndex: 1, appliableIndex: 0 });
    expect(effectsOf(driver.sync(), 'commitAdvanced')).toMatchObject([{ appliableIndex: 1 }]);
  });

  test('nothing of an older term by counting, until an entry of its own is at a majority (Raft figure 8)', () => {
    // The entry of term 2 stands here and at replica 2: a majority holds it, yet it may still be replaced.
    const driver = new CoreDriver({ log: [1, 2], term: 3 });
    driver.win();
    driver.sync();
    expect(driver.terms).toEqual([1, 2, 4]);
    driver.acknowledge(2, 2);
    expect(driver.state.commitIndex).toBe(0);

    driver.acknowledge(2, 3);
    expect(driver.state.commitIndex).toBe(3);
  });

  test('by voters only: a learner has no say', () => {
    const configuration = configurationOf([member(1), member(2), member(3), member(4, 'learner')]);
    const driver = leader({ configuration });
    driver.acknowledge(4, 1);
    expect(driver.state.commitIndex).toBe(0);
  });

  test('in a joint phase only what a majority of each half has', () => {
    const configuration = configurationOf(
      [member(1), member(4), member(5)],
      [member(1), member(2), member(3)],
    );
    const driver = new CoreDriver({ configuration });
    driver.tickToDeadline();
    for (const number of [2, 4]) {
      driver.receive(
        wordOf(number, {
          kind: 'preVoteResponse',
          highRtt: false,
          term: term(1),
          voteGranted: true,
        }),
      );
    }
    driver.sync();
    driver.receive(wordOf(4, { kind: 'voteResponse', term: term(1), voteGranted: true }));
    expect(driver.state.role).toBe('candidate');
    driver.receive(wordOf(2, { kind: 'voteResponse', term: term(1), voteGranted: true }));
    expect(driver.state.role).toBe('leader');
    driver.sync();

    driver.acknowledge(4, 1);
    driver.acknowledge(5, 1);
    expect(driver.state.commitIndex).toBe(0);
    driver.acknowledge(3, 1);
    expect(driver.state.commitIndex).toBe(1);
  });
});

describe('an acknowledgement counts for nothing', () => {
  test.each([
    { when: 'it is of an older term', word: { term: 1 } },
    { when: 'it is of another life of the replica', word: { life: 1 } },
  ])('when $when', ({ word }) => {
    const driver = leader({ term: 4 });
    driver.acknowledge(2, 1, word);
    expect(driver.state).toMatchObject({ role: 'leader', commitIndex: 0 });
    expect(driver.state.leader?.progress[0]?.isMatchKnown).toBe(false);
  });

  test('when it speaks of entries past the end of the log', () => {
    const driver = leader();
    driver.acknowledge(2, 2);
    expect(driver.state.commitIndex).toBe(0);
    expect(driver.state.leader?.progress[0]?.matchIndex).toBe(0);
  });

  test('when a newer one was heard: the match index never falls', () => {
    const driver = leader();
    driver.input({ kind: 'propose', count: 4 });
    driver.sync();
    driver.acknowledge(2, 4, { ledgerSeq: 7 });
    driver.acknowledge(2, 2, { ledgerSeq: 7 });
    driver.acknowledge(2, 5, { ledgerSeq: 6 });
    expect(driver.state.leader?.progress[0]?.matchIndex).toBe(4);
    expect(driver.state.commitIndex).toBe(4);
  });

  test('when it comes from a stranger', () => {
    const driver = leader();
    driver.acknowledge(9, 1);
    expect(driver.state.commitIndex).toBe(0);
  });
});

describe('a leader sends', () => {
  test('one probe at a time until the logs are known to meet, then everything within the window', () => {
    const driver = leader({ settings: { inflightEntriesMax: 8, appendEntriesMax: 4 } });
    expect(effectsOf(driver.input({ kind: 'propose', count: 20 }), 'sendAppend')).toEqual([]);
    const sent = effectsOf(driver.acknowledge(2, 1), 'sendAppend');
    expect(sent.map(({ prevIndex, lastIndex }) => [prevIndex, lastIndex])).toEqual([
      [1, 5],
      [5, 9],
    ]);

    const more = effectsOf(driver.acknowledge(2, 5), 'sendAppend');
    expect(more.map(({ prevIndex, lastIndex }) => [prevIndex, lastIndex])).toEqual([[9, 13]]);
  });

  test('again from the match index after a new connection', () => {
    const driver = leader();
    driver.acknowledge(2, 1);
    driver.input({ kind: 'propose', count: 3 });
    const sent = effectsOf(
      driver.input({ kind: 'peerConnected', nodeId: nodeId(2), newBoot: false }),
      'sendAppend',
    );
    expect(sent).toMatchObject([{ prevIndex: 1, lastIndex: 4 }]);
  });

  test('an empty append with the heartbeat to a follower that is behind, so that a lost append is noticed', () => {
    const driver = leader();
    driver.acknowledge(2, 1);
    driver.acknowledge(3, 1);
    expect(effectsOf(driver.tick(5), 'sendAppend')).toEqual([]);
    driver.input({ kind: 'propose', count: 2 });
    expect(effectsOf(driver.tick(5), 'sendAppend')).toMatchObject([
      { to: { replicaId: 2 }, prevIndex: 3, lastIndex: 3 },
      { to: { replicaId: 3 }, prevIndex: 3, lastIndex: 3 },
    ]);
  });

  test('from the end of the older term when a follower names a conflicting term, skipping it whole', () => {
    const driver = new CoreDriver({ log: [1, 1, 2, 2, 2, 5, 5], term: 5 });
    const won = driver.win();
    expect(effectsOf(won, 'sendAppend')).toMatchObject([{ prevIndex: 7 }, { prevIndex: 7 }]);
    const again = driver.receive(
      wordOf(2, {
        kind: 'appendRejected',
        term: term(6),
        rejectedPrevIndex: logIndex(7),
        lastIndex: logIndex(9),
        conflictTerm: term(3),
        conflictFirstIndex: logIndex(4),
        ledgerSeq: 1,
      }),
    );
    expect(effectsOf(again, 'sendAppend')).toMatchObject([
      { prevIndex: 5, prevTerm: 2, lastIndex: 8 },
    ]);
  });

  test('from the end of a shorter log of a follower', () => {
    const driver = new CoreDriver({ log: [1, 1, 2, 2, 2, 5, 5], term: 5 });
    driver.win();
    const again = driver.receive(
      wordOf(2, {
        kind: 'appendRejected',
        term: term(6),
        rejectedPrevIndex: logIndex(7),
        lastIndex: logIndex(2),
        conflictTerm: term(0),
        conflictFirstIndex: logIndex(3),
        ledgerSeq: 1,
      }),
    );
    expect(effectsOf(again, 'sendAppend')).toMatchObject([
      { prevIndex: 2, prevTerm: 1, lastIndex: 8 },
    ]);
  });

  test('nothing twice for a late refusal', () => {
    const driver = leader();
    driver.acknowledge(2, 1);
    const late = driver.receive(
      wordOf(2, {
        kind: 'appendRejected',
        term: term(1),
        rejectedPrevIndex: logIndex(0),
        lastIndex: logIndex(1),
        conflictTerm: term(0),
        conflictFirstIndex: logIndex(1),
        ledgerSeq: 1,
      }),
    );
    expect(late).toEqual([]);
  });

  test('no heartbeat before it is due and one to every member when it is', () => {
    const driver = leader();
    expect(sentOf(driver.tick(4), 'heartbeat')).toEqual([]);
    expect(sentOf(driver.tick(1), 'heartbeat')).toMatchObject([{ round: 2 }, { round: 2 }]);
  });
});

describe('a leader steps down', () => {
  test('when any answer names a newer term', () => {
    for (const word of [
      wordOf(2, {
        kind: 'heartbeatEcho',
        term: term(9),
        round: 1,
        inDoubt: false,
        isHibernating: false,
        needsLeader: false,
        clockAlarm: false,
        electionTimeoutMsMin: 300,
      }),
      wordOf(2, {
        kind: 'durabilityAck',
        term: term(9),
        lastFsyncedIndex: logIndex(0),
        ledgerSeq: 1,
      }),
      wordOf(2, { kind: 'voteResponse', term: term(9), voteGranted: false }),
    ]) {
      const driver = leader();
      driver.receive(word);
      expect(driver.state).toMatchObject({ role: 'follower', term: 9, votedFor: undefined });
    }
  });

  test('and takes nothing of its unfinished log for verified', () => {
    const driver = leader();
    driver.input({ kind: 'propose', count: 5 });
    driver.sync();
    driver.receive(
      wordOf(2, {
        kind: 'heartbeat',
        mayHibernate: false,
        lease: false,
        term: term(2),
        round: 1,
        commit: logIndex(6),
      }),
    );
    driver.sync();
    expect(driver.state).toMatchObject({ role: 'follower', verifiedIndex: 0, commitIndex: 0 });
  });
});
