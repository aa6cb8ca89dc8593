/** How replication behaves, step by step: probing, pipelining, windows, catching up, storage that answers late. */
import { describe, expect, test } from 'vitest';

import { nodeId } from '../../src/base/ids.ts';
import type { Effect } from '../../src/raft/index.ts';
import {
  appendOf,
  configurationOf,
  CoreDriver,
  effectsOf,
  member,
  sentOf,
  threeVoters,
  type CoreStart,
} from '../raft/core-driver.ts';
import { RaftWorld } from '../raft/raft-world.ts';
import { CorePair } from './core-pair.ts';
import { appendRejected, heartbeat, leaderOf, progressOf } from './scenario-words.ts';

/** Leader 1 of three with follower 3; replica 2 only votes. */
function pairOf(leader: CoreStart = {}, follower: CoreStart = {}): CorePair {
  return new CorePair({ leader, follower: { ...follower, self: 3 }, voters: [2] });
}

/** Previous and last index of the appends to one follower. */
function spansTo(number: number, effects: readonly Effect[]): (readonly [number, number])[] {
  return effectsOf(effects, 'sendAppend')
    .filter(({ to }) => Number(to.replicaId) === number)
    .map(({ prevIndex, lastIndex }) => [Number(prevIndex), Number(lastIndex)] as const);
}

describe('the seven logs of figure 7 of the Raft paper', () => {
  const seven = configurationOf([1, 2, 3, 4, 5, 6, 7].map((number) => member(number)));
  const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
  const rows = [
    { name: 'a', self: 2, log: [1, 1, 1, 4, 4, 5, 5, 6, 6], trips: 2, cut: [] },
    { name: 'b', self: 3, log: [1, 1, 1, 4], trips: 2, cut: [] },
    { name: 'c', self: 4, log: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6], trips: 1, cut: [11] },
    { name: 'd', self: 5, log: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7], trips: 1, cut: [11] },
    { name: 'e', self: 6, log: [1, 1, 1, 4, 4, 4, 4], trips: 3, cut: [6] },
    { name: 'f', self: 7, log: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], trips: 2, cut: [4] },
  ];

  // The first three entries are committed; a, b, e and f may vote for this leader, c and d may not.
  test.each(rows)('follower ($name) matches after $trips round trips', ({ self, log, ...row }) => {
    const pair = new CorePair({
      leader: { configuration: seven, log: leaderLog, term: 7, recordedCommitIndex: 3 },
      follower: { configuration: seven, self, log, recordedCommitIndex: 3 },
      voters: [2, 3, 6, 7],
    });
    const cut: number[] = [];

    let trips = 0;
    for (; pair.matchIndex < 11 && trips < 20; trips++) cut.push(...pair.exchange().truncatedFrom);

    expect({ trips, cut }).toEqual({ trips: row.trips, cut: row.cut });
    expect(pair.follower.terms).toEqual([...leaderLog, 8]);
  });
});

describe('probe and replicate', () => {
  test('a peer that was probed without an answer is probed again with a heartbeat, and then recovers', () => {
    const pair = pairOf();
    pair.lose();
    pair.lead((leader) => leader.input({ kind: 'propose', count: 4 }));
    expect(pair.isQuiet).toBe(true);

    pair.lead((leader) => leader.tick(5));
    const beat = pair.exchange();

    expect(beat).toMatchObject({
      appends: [{ prevIndex: 0, entries: 5 }],
      answers: ['heartbeatEcho', 'durabilityAck'],
    });
    expect(progressOf(pair.leader, 3)).toMatchObject({ state: 'replicate', matchIndex: 5 });
  });

  const steps: readonly {
    readonly step: string;
    readonly act: (leader: CoreDriver) => readonly Effect[];
    readonly sends: readonly (readonly [number, number])[];
    readonly then: object;
  }[] = [
    {
      step: 'while probing, proposals wait for the answer',
      act: (leader) => leader.input({ kind: 'propose', count: 3 }),
      sends: [],
      then: { state: 'probe', nextIndex: 1, isProbeSent: true },
    },
    {
      step: 'an answer opens the window and everything goes',
      act: (leader) => leader.acknowledge(2, 1),
      sends: [[1, 4]],
      then: { state: 'replicate', matchIndex: 1, nextIndex: 5, inflightEntries: 3 },
    },
    {
      step: 'while replicating, proposals go at once',
      act: (leader) => leader.input({ kind: 'propose', count: 2 }),
      sends: [[4, 6]],
      then: { state: 'replicate', nextIndex: 7, inflightEntries: 5 },
    },
    {
      step: 'an acknowledgement frees what it covers',
      act: (leader) => leader.acknowledge(2, 4),
      sends: [],
      then: { matchIndex: 4, nextIndex: 7, inflightEntries: 2 },
    },
    {
      step: 'a refusal of what is in flight goes back to probing behind the match',
      act: (leader) =>
        leader.receive(appendRejected(2, { term: 1, rejectedPrevIndex: 6, lastIndex: 4 })),
      sends: [[4, 6]],
      then: { state: 'probe', matchIndex: 4, nextIndex: 5, inflightEntries: 0 },
    },
    {
      step: 'a late copy of the refusal changes nothing',
      act: (leader) =>
        leader.receive(appendRejected(2, { term: 1, rejectedPrevIndex: 6, lastIndex: 4 })),
      sends: [],
      then: { state: 'probe', nextIndex: 5, isProbeSent: true },
    },
    {
      step: 'an answer to the probe replicates again',
      act: (leader) => leader.acknowledge(2, 6),
      sends: [],
      then: { state: 'replicate', matchIndex: 6, nextIndex: 7 },
    },
  ];

  test('follow this table', () => {
    const leader = leaderOf();

    for (const { step, act, sends, then } of steps) {
      expect(spansTo(2, act(leader)), step).toEqual(sends);
      expect(progressOf(leader, 2), step).toMatchObject(then);
    }
  });
});

describe('a lagging commit index', () => {
  test('is carried by the next heartbeat, without an append', () => {
    const pair = pairOf();
    pair.exchange();
    while (!pair.isQuiet) pair.exchange();
    expect(pair.leader.state.commitIndex).toBe(1);
    expect(pair.follower.state.commitIndex).toBe(0);

    pair.lead((leader) => leader.tick(5));
    const beat = pair.exchange();

    expect(beat.appends).toEqual([]);
    expect(pair.follower.state).toMatchObject({ commitIndex: 1, appliableIndex: 1 });
  });

  test('is believed only as far as this leader verified', () => {
    const follower = new CoreDriver({ self: 3, log: [1, 1, 1], term: 1 });
    follower.receive(appendOf(1, { term: 2, prevIndex: 1, prevTerm: 1 }));

    follower.receive(heartbeat(1, { term: 2, commit: 3 }));

    expect(follower.state.commitIndex).toBe(1);
  });
});

describe('a full window', () => {
  /** A leader that replicates to follower 2, with a window of its own size. */
  function windowed(settings: CoreStart['settings'] & object): CoreDriver {
    const leader = leaderOf({ settings });
    leader.acknowledge(2, 1);
    return leader;
  }

  test('of entries pauses, and an acknowledgement resumes where it stopped', () => {
    const leader = windowed({ inflightEntriesMax: 4, appendEntriesMax: 2 });

    expect(spansTo(2, leader.input({ kind: 'propose', count: 10 }))).toEqual([
      [1, 3],
      [3, 5],
    ]);
    expect(spansTo(2, leader.input({ kind: 'propose', count: 1 }))).toEqual([]);

    expect(spansTo(2, leader.acknowledge(2, 3))).toEqual([[5, 7]]);
    expect(progressOf(leader, 2).inflightEntries).toBe(4);
  });

  test('of bytes pauses, and an acknowledgement resumes where it stopped', () => {
    // Entries of these tests have ten bytes each.
    const leader = windowed({ inflightBytesMax: 30, appendEntriesMax: 1 });

    expect(spansTo(2, leader.input({ kind: 'propose', count: 5 }))).toEqual([
      [1, 2],
      [2, 3],
      [3, 4],
    ]);

    expect(spansTo(2, leader.acknowledge(2, 3))).toEqual([
      [4, 5],
      [5, 6],
    ]);
    expect(progressOf(leader, 2).inflightBytes).toBe(30);
  });

  test('still asks with every heartbeat, so that a lost append is noticed', () => {
    const leader = windowed({ inflightEntriesMax: 2, appendEntriesMax: 2 });
    leader.input({ kind: 'propose', count: 6 });

    const beat = leader.tick(5);

    expect(spansTo(2, beat)).toEqual([[3, 3]]);
    expect(
      spansTo(
        2,
        leader.receive(appendRejected(2, { term: 1, rejectedPrevIndex: 3, lastIndex: 1 })),
      ),
    ).toEqual([[1, 3]]);
  });

  test('of one follower does not hold up another', () => {
    const leader = windowed({ inflightEntriesMax: 2, appendEntriesMax: 2 });
    leader.input({ kind: 'propose', count: 6 });

    const sent = leader.acknowledge(3, 1);

    expect(spansTo(3, sent)).toEqual([[1, 3]]);
  });
});

describe('a single node', () => {
  test('elects itself, commits and serves reads without any message', () => {
    const world = new RaftWorld(1, configurationOf([member(1)]));
    world.advanceUntil(() => world.leader() !== undefined, 100);
    const alone = world.replica(1);

    world.input(alone, { kind: 'propose', count: 5 });
    world.advance(5);
    world.read(alone);
    world.advance(2);

    expect(alone.applied).toBe(6);
    expect(world.readsReady).toBe(1);
  });

  test('has the same after a restart, and a newer term', () => {
    const world = new RaftWorld(2, configurationOf([member(1)]));
    world.advanceUntil(() => world.leader() !== undefined, 100);
    const alone = world.replica(1);
    world.input(alone, { kind: 'propose', count: 5 });
    world.advance(5);

    world.crash(alone);
    world.boot(alone);
    world.advanceUntil(() => world.leader() !== undefined, 100);
    world.advance(5);

    expect(alone.disk.terms).toEqual([1, 1, 1, 1, 1, 1, 2]);
    expect(alone.applied).toBe(7);
  });
});

describe('a slow follower', () => {
  test('catches up with everything it missed, in appends of the bounded size', () => {
    const world = new RaftWorld(4, threeVoters);
    world.advanceUntil(() => world.leader() !== undefined, 200);
    world.advance(20);
    const leader = world.leader()!;
    const slow = world.replicas.find((replica) => replica !== leader)!;
    world.isolate(slow.number);
    for (let batch = 0; batch < 50; batch++) {
      world.input(leader, { kind: 'propose', count: 10 });
      world.advance(2);
    }
    expect(leader.applied).toBe(501);
    expect(slow.applied).toBe(1);

    world.heal();
    world.advance(60);

    expect(slow.applied).toBe(501);
    world.checkLogMatching();
    expect(world.leaders.size).toBe(1);
  });

  test('does not slow down the commit of the others', () => {
    const world = new RaftWorld(5, threeVoters);
    world.advanceUntil(() => world.leader() !== undefined, 200);
    world.advance(20);
    const leader = world.leader()!;
    const [fast, slow] = world.replicas.filter((replica) => replica !== leader);
    world.isolate(slow!.number);
    world.input(leader, { kind: 'propose', count: 10 });

    world.advance(8);

    expect(leader.applied).toBe(11);
    expect(fast!.disk.terms).toHaveLength(11);
  });
});

describe('a follower that needs entries from before the start of the log', () => {
  const compacted: CoreStart = {
    base: { index: 10, term: 2 },
    log: [2, 2],
    recordedCommitIndex: 12,
  };
  const pairBehind = (): CorePair => {
    const pair = pairOf(compacted, { log: [1, 1, 1, 2], recordedCommitIndex: 4 });
    pair.exchange();
    return pair;
  };
  /** The follower installed a snapshot up to `index`, which is of term 2, and begins anew. */
  const installed = (index: number): CoreStart => ({ self: 3, base: { index, term: 2 }, term: 3 });

  test('is asked for a snapshot once, and gets no entries meanwhile', () => {
    const pair = pairOf(compacted, { log: [1, 1, 1, 2], recordedCommitIndex: 4 });
    const effects: Effect[] = [];
    pair.lead((leader) => {
      const said = leader.receive(
        appendRejected(3, { term: 3, rejectedPrevIndex: 12, lastIndex: 4 }),
      );
      effects.push(...said);
      return said;
    });
    expect(effectsOf(effects, 'snapshotNeeded')).toMatchObject([{ to: { replicaId: 3 } }]);
    expect(progressOf(pair.leader, 3).state).toBe('snapshot');

    const later = [
      ...pair.leader.input({ kind: 'propose', count: 5 }),
      ...pair.leader.sync(),
      ...pair.leader.receive(appendRejected(3, { term: 3, rejectedPrevIndex: 12, lastIndex: 4 })),
      ...pair.leader.tick(5),
      ...pair.leader.input({ kind: 'peerConnected', nodeId: nodeId(3), newBoot: false }),
      ...pair.leader.tick(5),
    ];

    expect(effectsOf(later, 'snapshotNeeded')).toEqual([]);
    expect(spansTo(3, later)).toEqual([
      [10, 10],
      [10, 10],
    ]);
  });

  test('is asked with every heartbeat whether the snapshot has come; no is no refusal', () => {
    const pair = pairBehind();
    pair.lead((leader) => leader.tick(5));

    expect(pair.exchange()).toMatchObject({
      appends: [{ prevIndex: 10, entries: 0 }],
      answers: ['heartbeatEcho', 'appendRejected'],
    });

    expect(progressOf(pair.leader, 3).state).toBe('snapshot');
    expect(pair.isQuiet).toBe(true);
  });

  test('replicates once it acknowledges the snapshot', () => {
    const pair = pairBehind().restartFollower(installed(12));
    pair.lead((leader) => leader.tick(5));
    pair.exchange();
    expect(progressOf(pair.leader, 3)).toMatchObject({ state: 'replicate', matchIndex: 12 });

    pair.exchange();

    expect(pair.follower.terms).toEqual([3]);
    expect(pair.matchIndex).toBe(13);
  });

  test('replicates from an older snapshot, as long as the log reaches back to it', () => {
    const pair = pairBehind().restartFollower(installed(10));
    pair.lead((leader) => leader.tick(5));
    pair.exchange();
    expect(progressOf(pair.leader, 3)).toMatchObject({ state: 'replicate', matchIndex: 10 });

    pair.exchange();

    expect(pair.follower.terms).toEqual([2, 2, 3]);
    expect(pair.matchIndex).toBe(13);
  });

  test('waits on when the snapshot that it has is older than that', () => {
    const pair = pairBehind();

    pair.lead((leader) => leader.acknowledge(3, 9));

    expect(progressOf(pair.leader, 3)).toMatchObject({ state: 'snapshot', matchIndex: 9 });
    expect(pair.isQuiet).toBe(true);
  });
});

describe('storage that answers late', () => {
  test('a follower acknowledges an append only behind its sync, though more arrive meanwhile', () => {
    const follower = new CoreDriver();
    const first = follower.receive(
      appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1] }),
    );
    const second = follower.receive(
      appendOf(2, { term: 1, prevIndex: 2, prevTerm: 1, terms: [1, 1] }),
    );
    expect(sentOf([...first, ...second], 'durabilityAck')).toEqual([]);
    follower.input(follower.takeWaiting());

    const half = follower.input(follower.takeWaiting());
    const rest = follower.sync();

    expect(sentOf(half, 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 2 }]);
    expect(sentOf(rest, 'durabilityAck')).toMatchObject([{ lastFsyncedIndex: 4 }]);
  });

  // The same index holds an entry of leader A, then one of leader B, then one of leader A again, whose append carries the
  // same terms as the first. Each completion speaks for its own write only.
  test('three writes of one index: only the completion of the last counts', () => {
    const follower = new CoreDriver({ log: [1], term: 1 });
    follower.receive(appendOf(2, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2, 2] }));
    follower.input(follower.takeWaiting());
    const ofFirst = follower.takeWaiting();
    follower.receive(appendOf(3, { term: 3, prevIndex: 1, prevTerm: 1, terms: [3] }));
    follower.input(follower.takeWaiting());
    const ofSecond = follower.takeWaiting();
    follower.receive(appendOf(2, { term: 4, prevIndex: 1, prevTerm: 1, terms: [2, 2, 4] }));
    follower.input(follower.takeWaiting());
    const ofThird = follower.takeWaiting();

    const durableAfter = [ofFirst, ofSecond, ofThird].map((completion) => {
      follower.input(completion);
      return Number(follower.state.durableIndex);
    });

    expect(follower.terms).toEqual([1, 2, 2, 4]);
    expect(durableAfter).toEqual([1, 1, 4]);
  });

  test('a leader that lost and won again does not count its write of the first reign', () => {
    const driver = leaderOf();
    driver.input({ kind: 'propose', count: 2 });
    const ofFirst = driver.takeWaiting();
    driver.receive(appendOf(3, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2, 2] }));
    driver.sync();
    driver.win();
    const durableBefore = Number(driver.state.durableIndex);

    driver.input(ofFirst);

    expect(driver.state).toMatchObject({ role: 'leader', durableIndex: durableBefore });
    expect(driver.terms).toEqual([1, 2, 2, 3]);
  });
});
