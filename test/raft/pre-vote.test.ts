import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import { nextTickDue, type PeerMessage } from '../../src/raft/index.ts';
import { CoreDriver, effectsOf, sentOf, wordOf } from './core-driver.ts';

const heartbeat = (number: number, inTerm: number, round = 1): PeerMessage =>
  wordOf(number, {
    kind: 'heartbeat',
    mayHibernate: false,
    lease: false,
    term: term(inTerm),
    round,
    commit: logIndex(0),
  });

const preVoteRequest = (
  number: number,
  asked: { readonly term: number; readonly lastIndex?: number; readonly lastTerm?: number },
): PeerMessage =>
  wordOf(number, {
    kind: 'preVoteRequest',
    term: term(asked.term),
    lastIndex: logIndex(asked.lastIndex ?? 0),
    lastTerm: term(asked.lastTerm ?? 0),
    leaderUnreachable: false,
  });

const voteRequest = (number: number, inTerm: number): PeerMessage =>
  wordOf(number, {
    kind: 'voteRequest',
    term: term(inTerm),
    lastIndex: logIndex(99),
    lastTerm: term(inTerm),
    isTransfer: false,
  });

const granted = (number: number, inTerm: number, life = 0): PeerMessage =>
  wordOf(
    number,
    { kind: 'preVoteResponse', highRtt: false, term: term(inTerm), voteGranted: true },
    life,
  );

/** Replica `self` that hears replica `leader` in term 1. */
function follower(self = 1, leader = 3): CoreDriver {
  const driver = new CoreDriver({ self });
  driver.receive(heartbeat(leader, 1));
  driver.sync();
  return driver;
}

describe('a pre-vote', () => {
  test('leaves the term and the vote of both sides alone', () => {
    const asking = new CoreDriver({ term: 5 });
    const [request] = sentOf(asking.tickToDeadline(), 'preVoteRequest');
    expect(request).toMatchObject({ term: 6 });
    expect(asking.state).toMatchObject({ role: 'preCandidate', term: 5, votedFor: undefined });

    const asked = new CoreDriver({ self: 2, term: 5 });
    const effects = asked.receive(preVoteRequest(1, { term: 6 }));
    expect(sentOf(effects, 'preVoteResponse')).toMatchObject([{ voteGranted: true, term: 6 }]);
    expect(effectsOf(effects, 'persistHardState')).toEqual([]);
    expect(asked.state).toMatchObject({ role: 'follower', term: 5, votedFor: undefined });
  });

  test('is granted to more than one candidate', () => {
    const asked = new CoreDriver({ self: 2 });
    for (const number of [1, 3]) {
      const answer = sentOf(asked.receive(preVoteRequest(number, { term: 1 })), 'preVoteResponse');
      expect(answer).toMatchObject([{ voteGranted: true }]);
    }
  });

  test('is refused to a log that is behind', () => {
    const asked = new CoreDriver({ self: 2, log: [1, 2, 2] });
    for (const behind of [
      { term: 9, lastIndex: 2, lastTerm: 2 },
      { term: 9, lastIndex: 50, lastTerm: 1 },
    ]) {
      const answer = sentOf(asked.receive(preVoteRequest(1, behind)), 'preVoteResponse');
      expect(answer).toMatchObject([{ voteGranted: false, term: 2 }]);
    }
  });

  test('is refused for a term that is no newer, and the refusal names the newer term', () => {
    const asked = new CoreDriver({ self: 2, term: 8 });
    const [refusal] = sentOf(asked.receive(preVoteRequest(1, { term: 8 })), 'preVoteResponse');
    expect(refusal).toMatchObject({ voteGranted: false, term: 8 });

    const asking = new CoreDriver({ term: 7 });
    asking.tickToDeadline();
    asking.receive(refusal!);
    expect(asking.state).toMatchObject({ role: 'follower', term: 8 });
  });

  test('a grant for another term counts for nothing', () => {
    const driver = new CoreDriver({ term: 3 });
    driver.tickToDeadline();
    for (const other of [2, 3, 5, 9]) driver.receive(granted(2, other));
    expect(driver.state).toMatchObject({ role: 'preCandidate', term: 3 });
  });

  test('a grant of another life of a voter counts for nothing', () => {
    const driver = new CoreDriver();
    driver.tickToDeadline();
    driver.receive(granted(2, 1, 1));
    expect(driver.state.role).toBe('preCandidate');
  });

  test('a campaign that a leader interrupts is over', () => {
    const driver = new CoreDriver({ term: 1 });
    driver.tickToDeadline();
    driver.receive(heartbeat(3, 1));
    driver.receive(granted(2, 2));
    expect(driver.state).toMatchObject({ role: 'follower', term: 1 });
  });
});

describe('stickiness', () => {
  test('a follower that hears its leader refuses pre-votes', () => {
    const driver = follower();
    const answer = sentOf(driver.receive(preVoteRequest(2, { term: 2 })), 'preVoteResponse');
    expect(answer).toMatchObject([{ voteGranted: false, term: 1 }]);
  });

  test('a follower that hears its leader does not even adopt the term of a vote request', () => {
    const driver = follower();
    expect(driver.receive(voteRequest(2, 50))).toEqual([]);
    expect(driver.state.term).toBe(1);
  });

  test('a leader is not unseated by a vote request', () => {
    const driver = new CoreDriver();
    driver.win();
    expect(driver.receive(voteRequest(3, 50))).toEqual([]);
    expect(driver.state).toMatchObject({ role: 'leader', term: 1 });
  });

  test('ends after the shortest election timeout without a word of the leader', () => {
    const driver = follower();
    driver.tick(29);
    const before = sentOf(driver.receive(preVoteRequest(2, { term: 2 })), 'preVoteResponse');
    expect(before).toMatchObject([{ voteGranted: false }]);

    driver.tick(1);
    const after = sentOf(driver.receive(preVoteRequest(2, { term: 2 })), 'preVoteResponse');
    expect(after).toMatchObject([{ voteGranted: true }]);
    driver.receive(voteRequest(2, 2));
    expect(driver.state.term).toBe(2);
  });

  test('a replica that has just started is not sticky: it has heard nobody', () => {
    const driver = new CoreDriver();
    driver.receive(voteRequest(2, 4));
    expect(sentOf(driver.sync(), 'voteResponse')).toMatchObject([{ voteGranted: true }]);
  });
});

describe('a leader whose node refuses connections', () => {
  const leaderRefused = { kind: 'nodeUnreachable', nodeId: nodeId(3) } as const;

  test('makes the first voter in line ask for pre-votes at once', () => {
    const driver = follower(1);
    const asked = sentOf(driver.input(leaderRefused), 'preVoteRequest');
    expect(asked).toMatchObject([{ leaderUnreachable: true }, { leaderUnreachable: true }]);
    expect(driver.state.role).toBe('preCandidate');
  });

  test('makes the second voter in line wait a little, so that votes do not split', () => {
    const driver = follower(2);
    expect(driver.input(leaderRefused)).toEqual([]);
    expect(driver.state.electionDeadlineTick - driver.now).toBe(4);
    expect(sentOf(driver.tick(4), 'preVoteRequest')).toMatchObject([
      { leaderUnreachable: true },
      { leaderUnreachable: true },
    ]);
  });

  test('lifts the stickiness of whoever noticed itself, and of nobody else', () => {
    const noticed = follower(2);
    noticed.input(leaderRefused);
    const yes = sentOf(noticed.receive(preVoteRequest(1, { term: 2 })), 'preVoteResponse');
    expect(yes).toMatchObject([{ voteGranted: true }]);

    const unaware = follower(2);
    const no = sentOf(
      unaware.receive({
        ...preVoteRequest(1, { term: 2 }),
        leaderUnreachable: true,
      } as PeerMessage),
      'preVoteResponse',
    );
    expect(no).toMatchObject([{ voteGranted: false }]);
  });

  test('is asked about again every heartbeat until somebody else notices', () => {
    const driver = follower(1);
    driver.input(leaderRefused);
    expect(nextTickDue(driver.state)).toBe(driver.now + 5);
    driver.receive(
      wordOf(2, { kind: 'preVoteResponse', highRtt: false, term: term(1), voteGranted: false }),
    );
    expect(sentOf(driver.tick(5), 'preVoteRequest')).toHaveLength(2);

    driver.receive(granted(2, 2));
    driver.sync();
    expect(driver.state).toMatchObject({ role: 'candidate', term: 2 });
  });

  test('is not doubted because another node refuses connections', () => {
    const driver = follower(1);
    expect(driver.input({ kind: 'nodeUnreachable', nodeId: nodeId(2) })).toEqual([]);
    expect(driver.state).toMatchObject({ role: 'follower', leaderLost: false });
  });

  test('is followed again as soon as it is heard', () => {
    const driver = follower(1);
    driver.input(leaderRefused);
    driver.receive(heartbeat(3, 1, 2));
    expect(driver.state).toMatchObject({ role: 'follower', leaderLost: false, term: 1 });
    const answer = sentOf(driver.receive(preVoteRequest(2, { term: 2 })), 'preVoteResponse');
    expect(answer).toMatchObject([{ voteGranted: false }]);
  });
});

describe('check-quorum', () => {
  test('a leader that hears no majority for the longest election timeout steps down in its term', () => {
    const driver = new CoreDriver();
    driver.win();
    driver.sync();
    driver.tick(59);
    expect(driver.state.role).toBe('leader');
    const effects = driver.tick(1);
    expect(driver.state).toMatchObject({ role: 'follower', term: 1 });
    expect(effectsOf(effects, 'roleChanged')).toMatchObject([
      { role: 'follower', leaderNodeId: undefined },
    ]);
  });

  test('one follower of two is enough to lead on', () => {
    const driver = new CoreDriver();
    driver.win();
    driver.sync();
    for (let beat = 0; beat < 40; beat++) {
      driver.tick(5);
      driver.echo(2, driver.state.leader!.round);
    }
    expect(driver.state.role).toBe('leader');
  });

  test.each([
    { whose: 'of another life', life: 1, inDoubt: false },
    { whose: 'in doubt', life: 0, inDoubt: true },
  ])('echoes $whose keep no leader in office', ({ life, inDoubt }) => {
    const driver = new CoreDriver();
    driver.win();
    driver.sync();
    for (let beat = 0; beat < 12; beat++) {
      driver.tick(5);
      if (driver.state.role === 'leader')
        driver.echo(2, driver.state.leader!.round, { life, inDoubt });
    }
    expect(driver.state.role).toBe('follower');
  });

  test('keeps the vote when it steps down, so that nobody else wins the same term', () => {
    const driver = new CoreDriver();
    driver.win();
    driver.sync();
    driver.tick(60);
    const answer = sentOf(driver.receive(voteRequest(3, 1)), 'voteResponse');
    expect(answer).toMatchObject([{ voteGranted: false }]);
  });
});
