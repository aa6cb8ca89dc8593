/** Accidents with replication and commit that other systems had; none of them may happen here. */
import { describe, expect, test } from 'vitest';

import { logIndex, term } from '../../src/base/ids.ts';
import { termAt, type Effect, type RaftState } from '../../src/raft/index.ts';
import {
  appendOf,
  checkedStep,
  configurationOf,
  CoreDriver,
  createCore,
  effectsOf,
  member,
  sentOf,
  tenBytesEach,
  threeVoters,
  wordOf,
} from '../raft/core-driver.ts';
import { RaftWorld } from '../raft/raft-world.ts';
import { appendRejected, heartbeat, leaderOf, progressOf } from './scenario-words.ts';

/** Replica 1 whose log begins behind a snapshot up to index 10 of term 2, and has two entries more. */
const behindSnapshot = (): RaftState => createCore({ base: { index: 10, term: 2 }, log: [2, 2] });

const kindsOf = (effects: readonly Effect[]): string[] => effects.map(({ kind }) => kind);

test('regression 11: an entry of an older term on a majority is not committed until one of the own term is', () => {
  const leader = new CoreDriver({ log: [1, 2, 2], term: 3 });
  leader.win();
  leader.sync();
  leader.acknowledge(2, 3);
  leader.acknowledge(3, 3);
  expect(leader.state.commitIndex).toBe(0);

  leader.acknowledge(2, 4);

  expect(leader.state.commitIndex).toBe(4);
});

describe('regression 12: a follower commits at most what this append verified', () => {
  test('a stale suffix behind the verified entry stays uncommitted', () => {
    const follower = new CoreDriver({ log: [1, 1, 2, 2], term: 2 });

    follower.receive(appendOf(3, { term: 3, prevIndex: 2, prevTerm: 1, commit: 4 }));

    expect(follower.state).toMatchObject({ verifiedIndex: 2, commitIndex: 2 });
  });

  test('what is verified later is committed later', () => {
    const follower = new CoreDriver({ log: [1, 1, 2, 2], term: 2 });
    follower.receive(appendOf(3, { term: 3, prevIndex: 2, prevTerm: 1, commit: 4 }));

    follower.receive(appendOf(3, { term: 3, prevIndex: 2, prevTerm: 1, terms: [3], commit: 4 }));

    expect(follower.state.commitIndex).toBe(3);
    expect(follower.terms).toEqual([1, 1, 3]);
  });
});

describe('regression 13: old or reordered appends never truncate matching later entries', () => {
  const appends = [
    appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1] }),
    appendOf(2, { term: 1, prevIndex: 2, prevTerm: 1, terms: [1, 1] }),
    appendOf(2, { term: 1, prevIndex: 4, prevTerm: 1, terms: [1] }),
    appendOf(2, { term: 1, prevIndex: 1, prevTerm: 1 }),
  ];
  test.each(['0120', '012103', '021231', '2101203'])('arriving in the order %s', (order) => {
    const follower = new CoreDriver();

    const effects = Array.from(order, Number).flatMap((at) => [
      ...follower.receive(appends[at]!),
      ...follower.sync(),
    ]);

    expect(effectsOf(effects, 'truncateLog')).toEqual([]);
    expect(follower.terms).toEqual([1, 1, 1, 1, 1]);
  });
});

describe('regression 14: a previous index at or below the snapshot base is a match', () => {
  test.each([
    { prevIndex: 10, prevTerm: 2, terms: [2, 2, 2] },
    { prevIndex: 7, prevTerm: 1, terms: [1, 2, 2, 2, 2, 2] },
    { prevIndex: 0, prevTerm: 0, terms: [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2] },
  ])('an append behind $prevIndex', ({ prevIndex, prevTerm, terms }) => {
    const state = behindSnapshot();
    const message = appendOf(2, { term: 2, prevIndex, prevTerm, terms });

    const effects = checkedStep(state, { kind: 'message', message }, { now: 1, log: tenBytesEach });

    expect(sentOf(effects, 'appendRejected')).toEqual([]);
    expect(effectsOf(effects, 'truncateLog')).toEqual([]);
    expect(effectsOf(effects, 'appendToLog')).toMatchObject([{ firstIndex: 13, lastIndex: 13 }]);
  });

  test('an append that ends below the base changes nothing and is acknowledged', () => {
    const state = behindSnapshot();
    const message = appendOf(2, { term: 2, prevIndex: 3, prevTerm: 1, terms: [1, 1] });

    const effects = checkedStep(state, { kind: 'message', message }, { now: 1, log: tenBytesEach });

    expect(sentOf(effects, 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 10 }]);
    expect(Number(state.log.lastIndex)).toBe(12);
  });
});

test("regression 15: a probe's next index is no evidence of a match", () => {
  const leader = leaderOf({ log: [1, 1, 1, 1], term: 1 });
  leader.receive(appendRejected(2, { term: 2, rejectedPrevIndex: 4, lastIndex: 3 }));
  expect(progressOf(leader, 2)).toMatchObject({ state: 'probe', nextIndex: 4, matchIndex: 0 });

  leader.input({ kind: 'propose', count: 3 });
  leader.sync();

  expect(progressOf(leader, 2)).toMatchObject({ matchIndex: 0, isMatchKnown: false });
  expect(leader.state.commitIndex).toBe(0);
});

describe('regression 16: an acknowledgement of an earlier reign is not counted', () => {
  test('same index, other entry', () => {
    const leader = leaderOf();
    leader.input({ kind: 'propose', count: 2 });
    leader.sync();
    leader.receive(appendOf(3, { term: 2, prevIndex: 0, prevTerm: 0, terms: [2] }));
    leader.sync();
    leader.win();
    leader.input({ kind: 'propose', count: 1 });
    leader.sync();
    expect(leader.terms).toEqual([2, 3, 3]);

    leader.acknowledge(2, 3, { term: 1 });

    expect(leader.state).toMatchObject({ term: 3, role: 'leader', commitIndex: 0 });
    expect(progressOf(leader, 2)).toMatchObject({ matchIndex: 0, isMatchKnown: false });
  });
});

describe('regression 17: a late sync raises the commit index without new traffic', () => {
  test('at a follower that had heard the commit index before', () => {
    const follower = new CoreDriver();
    follower.receive(
      appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1, 1], commit: 3 }),
    );
    expect(follower.state.appliableIndex).toBe(0);

    const effects = follower.sync();

    expect(effectsOf(effects, 'commitAdvanced')).toMatchObject([{ appliableIndex: 3 }]);
  });

  test('at a leader whose follower was faster', () => {
    const leader = new CoreDriver();
    leader.win();
    leader.acknowledge(2, 1);
    expect(leader.state.commitIndex).toBe(0);

    const effects = leader.sync();

    expect(effectsOf(effects, 'commitAdvanced')).toMatchObject([{ commitIndex: 1 }]);
  });

  test('and the next heartbeat carries it to a follower that missed it', () => {
    const leader = leaderOf();
    leader.acknowledge(2, 1);

    const beats = sentOf(leader.tick(5), 'heartbeat');

    expect(beats).toMatchObject([{ commit: 1 }, { commit: 1 }]);
  });
});

describe('regression 18: a leader counts itself only after its own sync', () => {
  test('one acknowledgement of three is not a majority before it', () => {
    const leader = new CoreDriver();
    leader.win();

    leader.acknowledge(2, 1);

    expect(leader.state.commitIndex).toBe(0);
  });

  test('a single voter applies nothing before it', () => {
    const alone = new CoreDriver({ configuration: configurationOf([member(1)]) });
    alone.tickToDeadline();
    alone.input(alone.takeWaiting());
    expect(alone.state.role).toBe('leader');
    const proposed = alone.input({ kind: 'propose', count: 3 });
    expect(kindsOf(proposed)).not.toContain('commitAdvanced');

    const synced = alone.sync();

    expect(effectsOf(synced, 'commitAdvanced').at(-1)).toMatchObject({ appliableIndex: 4 });
  });
});

describe('regression 19: a term is handed to storage before entries of that term', () => {
  test('at a follower that hears of the term by an append', () => {
    const follower = new CoreDriver({ log: [1], term: 1 });

    const effects = follower.receive(
      appendOf(2, { term: 4, prevIndex: 1, prevTerm: 1, terms: [3, 4] }),
    );

    const written = kindsOf(effects).filter((kind) => kind !== 'roleChanged');
    expect(written).toEqual(['persistHardState', 'appendToLog']);
  });

  test('at a leader, whose first entry waits for the durable term', () => {
    const driver = new CoreDriver();
    driver.tickToDeadline();
    const asked = driver.receive(
      wordOf(2, { kind: 'preVoteResponse', highRtt: false, term: term(1), voteGranted: true }),
    );
    expect(kindsOf(asked)).toEqual(['persistHardState', 'roleChanged']);

    const voted = driver.receive(
      wordOf(2, { kind: 'voteResponse', term: term(1), voteGranted: true }),
    );
    expect(kindsOf(voted)).toEqual([]);

    const synced = driver.sync();
    expect(effectsOf(synced, 'appendToLog')).toMatchObject([{ source: 'noOp', term: 1 }]);
    expect(driver.state.durableTerm).toBe(1);
  });
});

describe('regression 52: a late completion does not make a replaced entry durable', () => {
  /** An append of term 2 is in flight to the disk, then a leader of term 3 replaces it. */
  function replacedInFlight(): { follower: CoreDriver; completion: () => Effect[] } {
    const follower = new CoreDriver({ log: [1], term: 1 });
    follower.receive(appendOf(2, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2, 2] }));
    follower.input(follower.takeWaiting());
    const late = follower.takeWaiting();
    follower.receive(appendOf(3, { term: 3, prevIndex: 1, prevTerm: 1, terms: [3, 3] }));
    return { follower, completion: () => follower.input(late) };
  }

  test('it changes nothing and says nothing', () => {
    const { follower, completion } = replacedInFlight();

    expect(completion()).toEqual([]);

    expect(follower.state.durableIndex).toBe(1);
  });

  test('the new entry is acknowledged behind its own sync', () => {
    const { follower, completion } = replacedInFlight();
    completion();

    const acknowledged = sentOf(follower.sync(), 'durabilityAck');

    expect(acknowledged.at(-1)).toMatchObject({ lastFsyncedIndex: 3, term: 3 });
  });
});

describe('regression 62: a high commit index in a heartbeat commits nothing unverified', () => {
  test('neither at once nor after a restart from what was recorded', () => {
    const follower = new CoreDriver({ log: [1, 2, 2], term: 2 });
    follower.receive(heartbeat(3, { term: 3, commit: 3 }));
    follower.sync();
    const recorded = Math.min(follower.state.commitIndex, follower.state.durableIndex);

    const restarted = new CoreDriver({ log: [1, 2, 2], term: 3, recordedCommitIndex: recorded });

    expect(recorded).toBe(0);
    expect(restarted.state).toMatchObject({ commitIndex: 0, appliableIndex: 0 });
  });

  test('the stale suffix is replaced when the leader reaches it', () => {
    const follower = new CoreDriver({ log: [1, 2, 2], term: 2 });
    follower.receive(heartbeat(3, { term: 3, commit: 3 }));
    follower.sync();

    follower.receive(appendOf(3, { term: 3, prevIndex: 1, prevTerm: 1, terms: [3, 3], commit: 3 }));

    expect(follower.terms).toEqual([1, 3, 3]);
    expect(follower.state.commitIndex).toBe(3);
  });
});

describe('regression 68: a lost acknowledgement is given again though there is nothing new to sync', () => {
  test('the follower answers an empty append with what it has on disk', () => {
    const follower = new CoreDriver();
    follower.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1] }));
    follower.sync();

    const again = follower.receive(appendOf(2, { term: 1, prevIndex: 2, prevTerm: 1 }));

    expect(sentOf(again, 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 2 }]);
  });

  test('the leader asks with every heartbeat, and moves on', () => {
    const world = new RaftWorld(11, threeVoters);
    world.advanceUntil(() => world.leader() !== undefined, 200);
    world.advance(20);
    const leader = world.leader()!;
    const others = world.replicas.filter((replica) => replica !== leader);
    // Words to the leader are lost while the entries are written everywhere; nothing is connected anew.
    for (const other of others) world.cut(other.number, leader.number);
    world.input(leader, { kind: 'propose', count: 3 });
    world.advance(6);
    const last = Number(leader.state!.log.lastIndex);
    expect(others.map(({ disk }) => disk.terms.length)).toEqual([last, last]);
    expect(leader.state!.commitIndex).toBeLessThan(last);

    for (const other of others) world.mend(other.number, leader.number);
    world.advance(10);

    expect(leader.state!.commitIndex).toBe(last);
    expect(termAt(leader.state!.log, logIndex(last))).toBe(leader.state!.term);
  });
});
