import { describe, expect, test } from 'vitest';

import { logIndex, term } from '../../src/base/ids.ts';
import type { PeerMessage } from '../../src/raft/index.ts';
import {
  appendOf,
  configurationOf,
  CoreDriver,
  effectsOf,
  member,
  sentOf,
  wordOf,
} from './core-driver.ts';

const heartbeat = (inTerm: number, commit: number): PeerMessage =>
  wordOf(2, {
    kind: 'heartbeat',
    mayHibernate: false,
    lease: false,
    term: term(inTerm),
    round: 1,
    commit: logIndex(commit),
  });

describe('a follower appends', () => {
  test('entries behind a previous one that matches, and acknowledges them once they are durable', () => {
    const driver = new CoreDriver({ log: [1], term: 1 });
    const effects = driver.receive(
      appendOf(2, { term: 1, prevIndex: 1, prevTerm: 1, terms: [1, 1] }),
    );
    expect(effectsOf(effects, 'appendToLog')).toMatchObject([
      { source: 'received', firstIndex: 2, lastIndex: 3 },
    ]);
    expect(sentOf(effects, 'durabilityAck')).toEqual([]);
    expect(sentOf(driver.sync(), 'durabilityAck')).toMatchObject([
      { lastFsyncedIndex: 3, term: 1 },
    ]);
  });

  test('of several terms in one message', () => {
    const driver = new CoreDriver();
    driver.receive(appendOf(2, { term: 5, prevIndex: 0, prevTerm: 0, terms: [1, 1, 3, 5] }));
    expect(driver.terms).toEqual([1, 1, 3, 5]);
  });

  test('only what is new of a message that overlaps its log', () => {
    const driver = new CoreDriver({ log: [1, 1], term: 1 });
    const effects = driver.receive(
      appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1, 1, 1] }),
    );
    expect(effectsOf(effects, 'appendToLog')).toMatchObject([{ firstIndex: 3, lastIndex: 4 }]);
    expect(effectsOf(effects, 'truncateLog')).toEqual([]);
  });

  test('nothing of a late shorter message, and drops nothing for it', () => {
    const driver = new CoreDriver();
    driver.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1, 1] }));
    driver.sync();
    const late = driver.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1] }));
    expect(effectsOf(late, 'truncateLog')).toEqual([]);
    expect(driver.terms).toEqual([1, 1, 1]);
    expect(sentOf(late, 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 3 }]);
  });

  test('over a conflicting suffix, which it drops first', () => {
    const driver = new CoreDriver({ log: [1, 2, 2, 2], term: 2 });
    const effects = driver.receive(appendOf(2, { term: 3, prevIndex: 1, prevTerm: 1, terms: [3] }));
    const storage = effects.filter(({ kind }) => kind === 'truncateLog' || kind === 'appendToLog');
    expect(storage).toMatchObject([
      { kind: 'truncateLog', fromIndex: 2 },
      { kind: 'appendToLog', firstIndex: 2, lastIndex: 2, term: 3 },
    ]);
    expect(driver.terms).toEqual([1, 3]);
  });

  test('and forgets the configurations of entries that it drops', () => {
    const brought = {
      ...configurationOf([member(1), member(2)]),
      term: term(2),
      index: logIndex(2),
    };
    const driver = new CoreDriver({ log: [1], term: 1 });
    driver.receive(
      appendOf(2, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2], configurations: [brought] }),
    );
    expect(driver.state.configurations).toHaveLength(2);
    driver.receive(appendOf(3, { term: 3, prevIndex: 1, prevTerm: 1, terms: [3] }));
    expect(driver.state.configurations).toHaveLength(1);
  });
});

describe('a follower refuses', () => {
  test('an append behind an entry of another term, naming that term and its first index', () => {
    const driver = new CoreDriver({ log: [1, 1, 2, 2, 2], term: 2 });
    driver.receive(appendOf(2, { term: 4, prevIndex: 5, prevTerm: 3, terms: [4] }));
    expect(sentOf(driver.sync(), 'appendRejected')).toMatchObject([
      { term: 4, rejectedPrevIndex: 5, lastIndex: 5, conflictTerm: 2, conflictFirstIndex: 3 },
    ]);
    expect(driver.terms).toEqual([1, 1, 2, 2, 2]);
  });

  test('an append past the end of its log, naming its last index', () => {
    const driver = new CoreDriver({ log: [1, 1], term: 1 });
    const effects = driver.receive(appendOf(2, { term: 1, prevIndex: 9, prevTerm: 1, terms: [1] }));
    expect(sentOf(effects, 'appendRejected')).toMatchObject([
      { rejectedPrevIndex: 9, lastIndex: 2, conflictTerm: 0, conflictFirstIndex: 3 },
    ]);
  });

  test('the words of an older leader, and tells it the term', () => {
    const driver = new CoreDriver({ log: [1], term: 7 });
    const append = driver.receive(appendOf(2, { term: 3, prevIndex: 1, prevTerm: 1, terms: [3] }));
    expect(sentOf(append, 'appendRejected')).toMatchObject([{ term: 7 }]);
    expect(sentOf(driver.receive(heartbeat(3, 1)), 'heartbeatEcho')).toMatchObject([{ term: 7 }]);
    expect(driver.terms).toEqual([1]);
    expect(driver.state.leaderContact).toBeUndefined();
  });
});

describe('a follower acknowledges', () => {
  test('no stale suffix that happens to be durable', () => {
    const driver = new CoreDriver({ log: [1, 1, 1, 1], term: 1 });
    driver.receive(appendOf(2, { term: 2, prevIndex: 2, prevTerm: 1 }));
    expect(sentOf(driver.sync(), 'durabilityAck')).toMatchObject([
      { lastFsyncedIndex: 2, term: 2 },
    ]);
  });

  test('anew in every term: what an older leader verified says nothing', () => {
    const driver = new CoreDriver();
    driver.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1, 1] }));
    driver.sync();
    driver.receive(appendOf(3, { term: 2, prevIndex: 0, prevTerm: 0 }));
    expect(sentOf(driver.sync(), 'durabilityAck')).toMatchObject([
      { lastFsyncedIndex: 0, term: 2 },
    ]);
  });

  test('nothing for a late completion of entries that were replaced (KER-12)', () => {
    const driver = new CoreDriver({ log: [1], term: 1 });
    driver.receive(appendOf(2, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2, 2, 2] }));
    driver.input(driver.takeWaiting());
    const late = driver.takeWaiting();

    driver.receive(appendOf(3, { term: 3, prevIndex: 1, prevTerm: 1, terms: [3] }));
    expect(driver.input(late)).toEqual([]);
    expect(driver.state.durableIndex).toBe(1);
    expect(sentOf(driver.sync(), 'durabilityAck')).toMatchObject([
      { lastFsyncedIndex: 2, term: 3 },
    ]);
  });

  test('nothing for a late completion, though the log has grown past its index again', () => {
    const driver = new CoreDriver({ log: [1], term: 1 });
    driver.receive(appendOf(2, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2, 2, 2] }));
    driver.input(driver.takeWaiting());
    const late = driver.takeWaiting();

    driver.receive(appendOf(3, { term: 3, prevIndex: 1, prevTerm: 1, terms: [3, 3, 3, 3] }));
    expect(driver.input(late)).toEqual([]);
    expect(driver.state.durableIndex).toBe(1);
  });
});

describe('the commit index of a follower', () => {
  test('never passes what was verified, however high the leader says it is', () => {
    const driver = new CoreDriver({ log: [1, 1, 1], term: 1 });
    driver.receive(heartbeat(2, 3));
    driver.sync();
    expect(driver.state.commitIndex).toBe(0);

    driver.receive(appendOf(2, { term: 2, prevIndex: 2, prevTerm: 1, commit: 3 }));
    expect(driver.state.commitIndex).toBe(2);
    driver.receive(appendOf(2, { term: 2, prevIndex: 2, prevTerm: 1, terms: [2], commit: 3 }));
    expect(driver.state).toMatchObject({ commitIndex: 3, appliableIndex: 2 });
    driver.sync();
    expect(driver.state.appliableIndex).toBe(3);
  });

  test('rises with a heartbeat for what this term has verified', () => {
    const driver = new CoreDriver();
    driver.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1] }));
    driver.sync();
    expect(effectsOf(driver.receive(heartbeat(1, 1)), 'commitAdvanced')).toMatchObject([
      { commitIndex: 1 },
    ]);
    expect(driver.receive(heartbeat(1, 0)).filter(({ kind }) => kind === 'commitAdvanced')).toEqual(
      [],
    );
    expect(driver.state.commitIndex).toBe(1);
  });

  test("an older term's word about it is forgotten with the term", () => {
    const driver = new CoreDriver({ log: [1, 1], term: 1 });
    driver.receive(heartbeat(1, 2));
    driver.receive(appendOf(3, { term: 2, prevIndex: 2, prevTerm: 1, commit: 0 }));
    expect(driver.state.commitIndex).toBe(0);
  });
});

describe('persist before speaking (KER-2)', () => {
  test('an echo in a new term waits until the term is durable', () => {
    const driver = new CoreDriver();
    expect(sentOf(driver.receive(heartbeat(4, 0)), 'heartbeatEcho')).toEqual([]);
    expect(sentOf(driver.sync(), 'heartbeatEcho')).toMatchObject([{ term: 4 }]);
  });

  test('what waited for an older term is never said in a newer one', () => {
    const driver = new CoreDriver();
    driver.receive(heartbeat(4, 0));
    const older = driver.takeWaiting();
    driver.receive(
      wordOf(3, {
        kind: 'heartbeat',
        mayHibernate: false,
        lease: false,
        term: term(5),
        round: 1,
        commit: logIndex(0),
      }),
    );
    expect(driver.input(older)).toEqual([]);
    expect(sentOf(driver.sync(), 'heartbeatEcho')).toMatchObject([{ term: 5 }]);
  });
});

describe('a restart', () => {
  test('takes for committed only what the ledger recorded', () => {
    const driver = new CoreDriver({ log: [1, 1, 2, 2], recordedCommitIndex: 2 });
    expect(driver.state).toMatchObject({
      commitIndex: 2,
      appliableIndex: 2,
      verifiedIndex: 2,
      durableIndex: 4,
    });
  });

  test('takes nothing for committed that the log does not hold', () => {
    const driver = new CoreDriver({ log: [1], recordedCommitIndex: 5 });
    expect(driver.state).toMatchObject({ commitIndex: 1, appliableIndex: 1 });
  });

  test('the rest of the log is committed again by the next leader', () => {
    const driver = new CoreDriver({ log: [1, 1, 2, 2], recordedCommitIndex: 2 });
    driver.receive(heartbeat(2, 4));
    expect(driver.state.commitIndex).toBe(2);
    driver.receive(appendOf(2, { term: 2, prevIndex: 4, prevTerm: 2, commit: 4 }));
    expect(driver.state).toMatchObject({ commitIndex: 4, appliableIndex: 4 });
  });
});
