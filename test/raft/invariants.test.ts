import { describe, expect, test } from 'vitest';

import { logIndex, term } from '../../src/base/ids.ts';
import {
  checkRaftSettings,
  checkRaftState,
  checkRaftTransition,
  cloneRaftState,
  defaultRaftSettings,
  type RaftState,
} from '../../src/raft/index.ts';
import { CoreDriver, createCore, lifeOf } from './core-driver.ts';

const follower = (): RaftState => createCore({ log: [1, 1, 2], recordedCommitIndex: 2 });

function leader(): RaftState {
  const driver = new CoreDriver();
  driver.win();
  driver.sync();
  return driver.state;
}

describe('checks of a state find', () => {
  const broken: Readonly<Record<string, (state: RaftState) => void>> = {
    'a commit past what is verified': (state) => (state.verifiedIndex = logIndex(1)),
    'an apply past the commit': (state) => (state.appliableIndex = logIndex(3)),
    'an apply past what is durable': (state) => (state.durableIndex = logIndex(1)),
    'a durable index past the log': (state) => (state.durableIndex = logIndex(4)),
    'a durable term ahead of the term': (state) => (state.durableTerm = term(3)),
    'an entry of a future term': (state) => (state.log.runTerm[1] = term(9)),
    'terms that fall along the log': (state) => (state.log.runTerm[0] = term(2)),
    'a run that starts too early': (state) => (state.log.runFirst[1] = logIndex(1)),
    'a leader without its rows': (state) => (state.role = 'leader'),
    'a campaign of a follower': (state) =>
      (state.campaign = {
        granted: [],
        refused: [],
        isTransfer: false,
        leaderUnreachable: false,
        nextResendTick: 0,
      }),
  };

  for (const [name, breakIt] of Object.entries(broken)) {
    test(name, () => {
      const state = follower();
      checkRaftState(state);
      breakIt(state);
      expect(() => checkRaftState(state)).toThrow(/broken invariant/);
    });
  }

  const brokenLeader: Readonly<Record<string, (state: RaftState) => void>> = {
    'a leader whose term is not durable': (state) => (state.durableTerm = term(0)),
    'a leader that voted for another': (state) =>
      (state.votedFor = { ...state.votedFor!, incarnation: lifeOf(1, 1) }),
    'a match past the end of the log': (state) =>
      (state.leader!.progress[0]!.matchIndex = logIndex(9)),
    'a round confirmed before it was sent': (state) => (state.leader!.confirmedRound = 99),
    'an unverified entry at a leader': (state) => (state.verifiedIndex = logIndex(0)),
    'a leader in doubt': (state) => (state.inDoubt = true),
  };

  for (const [name, breakIt] of Object.entries(brokenLeader)) {
    test(name, () => {
      const state = leader();
      checkRaftState(state);
      breakIt(state);
      expect(() => checkRaftState(state)).toThrow(/broken invariant/);
    });
  }
});

describe('checks of a step find', () => {
  const broken: Readonly<Record<string, (state: RaftState) => void>> = {
    'a term that falls': (state) => (state.term = term(1)),
    'a commit index that falls': (state) => (state.commitIndex = logIndex(1)),
    'an appliable index that falls': (state) => (state.appliableIndex = logIndex(1)),
    'a durable term that falls': (state) => (state.durableTerm = term(1)),
    'a ledger number that falls': (state) => (state.ledgerSeq = 4),
    'a second vote in a term': (state) =>
      (state.votedFor = { ...state.votedFor!, incarnation: lifeOf(2, 1) }),
    'a vote taken back': (state) => (state.votedFor = undefined),
    'a committed entry replaced': (state) => (state.log.runFirst[1] = logIndex(2)),
    'a doubt shaken off': (state) => (state.inDoubt = state.hasLostEvidence = false),
  };

  for (const [name, breakIt] of Object.entries(broken)) {
    test(name, () => {
      const before = createCore({
        log: [1, 1, 2],
        term: 2,
        recordedCommitIndex: 2,
        ledgerSeq: 5,
        inDoubt: true,
        votedFor: { replicaId: follower().selfReplica, incarnation: lifeOf(2) },
      });
      const after = cloneRaftState(before);
      checkRaftTransition(before, after);
      breakIt(after);
      expect(() => checkRaftTransition(before, after)).toThrow(/broken invariant/);
    });
  }
});

describe('settings', () => {
  test('by default are accepted', () => {
    expect(() => checkRaftSettings(defaultRaftSettings)).not.toThrow();
  });

  test.each([
    { heartbeatTicks: 0 },
    { heartbeatTicks: 1.5 },
    { electionTimeoutTicksMax: 30 },
    { electionTimeoutTicksMin: 9 },
    { appendBytesMax: Number.NaN },
    { inflightEntriesMax: -1 },
  ])('under which elections cannot work are refused: %o', (wrong) => {
    expect(() => checkRaftSettings({ ...defaultRaftSettings, ...wrong })).toThrow(
      expect.objectContaining({ code: 'CLUSTOR_INVALID_ARGUMENT' }),
    );
  });
});
