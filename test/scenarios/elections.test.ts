/** Accidents with votes and terms that other systems had; none of them may happen here. */
import { describe, expect, test } from 'vitest';

import { logIndex, term } from '../../src/base/ids.ts';
import {
  appendOf,
  configurationOf,
  CoreDriver,
  effectsOf,
  member,
  sentOf,
  threeVoters,
  wordOf,
} from '../raft/core-driver.ts';
import { RaftWorld, type WorldReplica } from '../raft/raft-world.ts';
import {
  heartbeat,
  leaderOf,
  preVoteRequest,
  preVoteResponse,
  voteFor,
  voteRequest,
  voteResponse,
} from './scenario-words.ts';

/** A candidate of replica 1 in term 1; its own vote still waits for the disk. */
function unsyncedCandidate(configuration = threeVoters): CoreDriver {
  const driver = new CoreDriver({ configuration });
  driver.tickToDeadline();
  driver.receive(preVoteResponse(2, { term: 1, voteGranted: true }));
  if (driver.state.role === 'preCandidate')
    driver.receive(preVoteResponse(3, { term: 1, voteGranted: true }));
  expect(driver.state.role).toBe('candidate');
  return driver;
}

/** A calm world of three with a leader. */
function settledWorld(seed: number): { world: RaftWorld; leader: WorldReplica } {
  const world = new RaftWorld(seed, threeVoters);
  world.advanceUntil(() => world.leader() !== undefined, 200);
  world.advance(20);
  return { world, leader: world.leader()! };
}

describe('regression 1: a crash between term and vote gives no second vote in that term', () => {
  test('a vote that is durable binds the voter after a restart', () => {
    const before = new CoreDriver({ self: 3 });
    before.receive(voteRequest(2, { term: 5 }));
    const spoken = sentOf(before.sync(), 'voteResponse');
    expect(spoken).toMatchObject([{ voteGranted: true, term: 5 }]);

    const after = new CoreDriver({
      self: 3,
      term: before.state.durableTerm,
      ...(before.state.durableVote === undefined ? {} : { votedFor: before.state.durableVote }),
    });
    const answer = sentOf(after.receive(voteRequest(1, { term: 5 })), 'voteResponse');

    expect(answer).toMatchObject([{ voteGranted: false }]);
    expect(after.state.votedFor).toEqual(voteFor(2));
  });

  test('a vote that did not become durable was never spoken', () => {
    const voter = new CoreDriver({ self: 3 });
    voter.receive(heartbeat(1, { term: 5 }));
    voter.sync();
    voter.tick(30);

    const effects = voter.receive(voteRequest(2, { term: 5 }));

    expect(effectsOf(effects, 'persistHardState')).toMatchObject([{ term: 5 }]);
    expect(sentOf(effects, 'voteResponse')).toEqual([]);
    expect(voter.state).toMatchObject({ durableTerm: 5, durableVote: undefined });
  });
});

test('regression 2: stepping down in the same term keeps the vote', () => {
  const driver = leaderOf();
  driver.tick(60);
  expect(driver.state).toMatchObject({ role: 'follower', term: 1 });

  const answer = sentOf(driver.receive(voteRequest(3, { term: 1, lastIndex: 9 })), 'voteResponse');

  expect(answer).toMatchObject([{ voteGranted: false }]);
  expect(driver.state.votedFor).toEqual(voteFor(1));
});

describe('regression 3: a higher term in a request is not a vote', () => {
  test('a candidate with a short log moves the term and gets no vote', () => {
    const voter = new CoreDriver({ self: 3, log: [1, 1, 2] });
    voter.receive(voteRequest(1, { term: 9, lastIndex: 2, lastTerm: 1 }));
    const answer = sentOf(voter.sync(), 'voteResponse');

    expect(answer).toMatchObject([{ voteGranted: false, term: 9 }]);
    expect(voter.state).toMatchObject({ term: 9, votedFor: undefined, durableVote: undefined });
  });

  test('a denied vote leaves the voter free for a better candidate of the same term', () => {
    const voter = new CoreDriver({ self: 3, log: [1, 1, 2] });
    voter.receive(voteRequest(1, { term: 9, lastIndex: 2, lastTerm: 1 }));
    voter.sync();
    voter.receive(voteRequest(2, { term: 9, lastIndex: 3, lastTerm: 2 }));

    expect(sentOf(voter.sync(), 'voteResponse')).toMatchObject([{ voteGranted: true }]);
    expect(voter.state.votedFor).toEqual(voteFor(2));
  });
});

describe('regression 4: only votes of voters, of this term, once each, are counted', () => {
  const five = configurationOf([
    ...[1, 2, 3, 4, 5].map((number) => member(number)),
    member(6, 'learner'),
  ]);
  const grant = (number: number, inTerm: number, life = 0): ReturnType<typeof wordOf> =>
    wordOf(number, { kind: 'voteResponse', term: term(inTerm), voteGranted: true }, life);

  test.each([
    { what: 'duplicates', words: [grant(2, 1), grant(2, 1), grant(2, 1)] },
    { what: 'votes of an older term', words: [grant(2, 0), grant(3, 0), grant(4, 0)] },
    { what: 'votes of another life', words: [grant(2, 1, 1), grant(3, 1, 1), grant(4, 1, 1)] },
    { what: 'votes of learners and strangers', words: [grant(2, 1), grant(6, 1), grant(9, 1)] },
  ])('$what elect nobody', ({ words }) => {
    const driver = unsyncedCandidate(five);
    driver.sync();

    for (const word of words) driver.receive(word);

    expect(driver.state).toMatchObject({ role: 'candidate', term: 1 });
  });

  test('late votes do not make a leader of a follower', () => {
    const driver = unsyncedCandidate(five);
    driver.sync();
    driver.receive(heartbeat(3, { term: 1 }));

    for (const number of [2, 4, 5]) driver.receive(grant(number, 1));

    expect(driver.state.role).toBe('follower');
  });
});

describe("regression 5: a candidate's own vote counts only once it is durable", () => {
  test('the vote of one other of three elects nobody before the own sync', () => {
    const driver = unsyncedCandidate();
    driver.receive(voteResponse(2, { term: 1, voteGranted: true }));
    expect(driver.state.role).toBe('candidate');

    driver.sync();

    expect(driver.state.role).toBe('leader');
  });

  test('a completion that arrives after the election was lost elects nobody', () => {
    const driver = unsyncedCandidate();
    const late = driver.takeWaiting();
    driver.receive(heartbeat(3, { term: 2 }));

    driver.input(late);
    driver.receive(voteResponse(2, { term: 1, voteGranted: true }));

    expect(driver.state).toMatchObject({ role: 'follower', term: 2 });
  });
});

describe('regression 7: a node campaigns and counts under its appended configuration, also after a restart', () => {
  /** Joint: {1, 4, 5} come, {1, 2, 3} go. Appended at index 2, not known to be committed. */
  const joint = {
    ...configurationOf([member(1), member(4), member(5)], [member(1), member(2), member(3)]),
    term: term(1),
    index: logIndex(2),
  };
  const restarted = (): CoreDriver =>
    new CoreDriver({
      log: [1, 1],
      recordedCommitIndex: 1,
      configurations: [threeVoters, joint],
    });

  test('it asks the voters of the configuration that is not committed yet', () => {
    const asked = effectsOf(restarted().tickToDeadline(), 'sendMessage');

    expect(
      asked.map(({ to }) => Number(to.replicaId)).toSorted((left, right) => left - right),
    ).toEqual([2, 3, 4, 5]);
  });

  test('the older majority alone elects nobody', () => {
    const driver = restarted();
    driver.tickToDeadline();
    for (const number of [2, 3])
      driver.receive(preVoteResponse(number, { term: 2, voteGranted: true }));
    expect(driver.state.role).toBe('preCandidate');

    driver.receive(preVoteResponse(4, { term: 2, voteGranted: true }));

    expect(driver.state.role).toBe('candidate');
  });

  test('it has no vote of its own where the appended configuration left it out', () => {
    const without = { ...joint, members: [member(4), member(5)], outgoingMembers: [] };
    const driver = new CoreDriver({
      log: [1, 1],
      recordedCommitIndex: 1,
      configurations: [threeVoters, without],
    });

    driver.tickToDeadline();
    driver.receive(preVoteResponse(4, { term: 2, voteGranted: true }));
    expect(driver.state.role).toBe('preCandidate');

    driver.receive(preVoteResponse(5, { term: 2, voteGranted: true }));

    expect(driver.state.role).toBe('candidate');
  });

  test('it stays quiet once the configuration that leaves it out is committed', () => {
    const without = { ...joint, members: [member(4), member(5)], outgoingMembers: [] };
    const driver = new CoreDriver({
      log: [1, 1],
      recordedCommitIndex: 2,
      configurations: [threeVoters, without],
    });

    expect(driver.tickToDeadline()).toEqual([]);
    expect(driver.state.role).toBe('follower');
  });
});

describe('regression 8: a stuck node with a higher term is freed without a long outage', () => {
  test.each([
    { what: 'a heartbeat', word: heartbeat(2, { term: 3 }), answer: 'heartbeatEcho' as const },
    {
      what: 'an append',
      word: appendOf(2, { term: 3, prevIndex: 0, prevTerm: 0, terms: [3] }),
      answer: 'appendRejected' as const,
    },
  ])('it answers $what of an older leader with its own term', ({ word, answer }) => {
    const stuck = new CoreDriver({ self: 3, term: 40 });

    const sent = sentOf(stuck.receive(word), answer);

    expect(sent).toMatchObject([{ term: 40 }]);
  });

  test.each([1, 2, 3, 4, 5])('it follows a leader again soon (seed %i)', (seed) => {
    const { world, leader } = settledWorld(seed);
    const stuck = world.replicas.find((replica) => replica !== leader)!;
    world.crash(stuck);
    stuck.disk.term = leader.state!.term + 40;
    world.boot(stuck);

    const begun = world.now;
    world.advanceUntil(
      () => stuck.state!.leaderContact !== undefined && world.leader() !== undefined,
      200,
    );
    world.advance(50);

    expect(world.now - begun).toBeLessThanOrEqual(250);
    expect(stuck.state!.term).toBe(world.leader()!.state!.term);
    expect(stuck.state!.leaderContact?.replicaId).toBe(world.leader()!.number);
  });
});

describe('regression 53: a candidate that crashes before its own vote is durable has asked nobody', () => {
  test('the request leaves behind the sync of the vote', () => {
    const driver = unsyncedCandidate();
    const restarted = new CoreDriver({ term: driver.state.durableTerm, seed: 9 });

    expect(driver.state).toMatchObject({ term: 1, durableTerm: 0 });
    expect(driver.state.held.filter(({ message }) => message.kind === 'voteRequest')).toEqual([]);
    expect(restarted.state).toMatchObject({ term: 0, votedFor: undefined });
  });

  test('one that crashed behind it does not campaign in that term again', () => {
    const driver = unsyncedCandidate();
    expect(sentOf(driver.sync(), 'voteRequest')).toMatchObject([{ term: 1 }, { term: 1 }]);
    const restarted = new CoreDriver({ term: 1, votedFor: voteFor(1), log: [1] });

    restarted.tickToDeadline();
    restarted.receive(preVoteResponse(2, { term: 2, voteGranted: true }));

    expect(sentOf(restarted.sync(), 'voteRequest')).toMatchObject([{ term: 2 }, { term: 2 }]);
  });
});

describe('regression 56: a blank replica under its old id gives no stale candidate an answer', () => {
  const blank = (): CoreDriver => new CoreDriver({ self: 3, inDoubt: true });

  test.each([
    { what: 'a vote request', word: voteRequest(1, { term: 7, lastIndex: 4, lastTerm: 6 }) },
    { what: 'a vote request of its own term', word: voteRequest(1, { term: 0 }) },
    { what: 'a pre-vote request', word: preVoteRequest(1, { term: 7, lastIndex: 4, lastTerm: 6 }) },
  ])('$what', ({ word }) => {
    const driver = blank();

    const effects = [...driver.receive(word), ...driver.sync()];

    expect(effects).toEqual([]);
    expect(driver.state).toMatchObject({ term: 0, votedFor: undefined });
  });

  test('nor is the answer of a new life counted where the old one is configured', () => {
    const driver = unsyncedCandidate();
    driver.sync();

    driver.receive(wordOf(3, { kind: 'voteResponse', term: term(1), voteGranted: true }, 1));

    expect(driver.state.role).toBe('candidate');
  });
});
