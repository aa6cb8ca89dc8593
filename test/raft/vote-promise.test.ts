/** What a voter promises to a lease, and how it keeps that (specification §2.3). */
import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import { defaultRaftSettings, nextTickDue, tickMs } from '../../src/raft/index.ts';
import { preVoteRequest, preVoteResponse, voteRequest } from '../scenarios/scenario-words.ts';
import { CoreDriver, sentOf, wordOf } from './core-driver.ts';

const { electionTimeoutTicksMin } = defaultRaftSettings;

function beat(lease: boolean, round = 1): Parameters<CoreDriver['receive']>[0] {
  return wordOf(2, {
    kind: 'heartbeat',
    term: term(1),
    round,
    commit: logIndex(0),
    mayHibernate: false,
    lease,
  });
}

/** A follower of 2 that has echoed a round and was then told that the node of 2 refuses connections. */
function follower(lease: boolean, self = 3): CoreDriver {
  const driver = new CoreDriver({ self });
  driver.receive(beat(lease));
  driver.sync();
  driver.input({ kind: 'nodeUnreachable', nodeId: nodeId(2) });
  return driver;
}

function isPreVoteGranted(driver: CoreDriver, from = 1): boolean | undefined {
  const effects = driver.receive(preVoteRequest(from, { term: driver.state.term + 1 }));
  return sentOf(effects, 'preVoteResponse')[0]?.voteGranted;
}

/** Asks for a vote in the next term; whether it is given. */
function isVoteGranted(driver: CoreDriver, inTerm = driver.state.term + 1): boolean {
  const effects = driver.receive(voteRequest(1, { term: inTerm }));
  return [...effects, ...driver.sync()].some(
    (effect) =>
      effect.kind === 'sendMessage' &&
      effect.message.kind === 'voteResponse' &&
      effect.message.voteGranted,
  );
}

describe('a voter that echoed a round flagged `lease`', () => {
  test('gives no pre-vote for its minimum election timeout, whatever the hint says', () => {
    const driver = follower(true);

    driver.tick(electionTimeoutTicksMin - 1);
    expect(isPreVoteGranted(driver)).toBe(false);
    driver.tick(1);

    expect(isPreVoteGranted(driver)).toBe(true);
  });

  test('gives no vote for that long', () => {
    const driver = follower(true);

    driver.tick(electionTimeoutTicksMin - 1);
    expect(isVoteGranted(driver)).toBe(false);
    driver.tick(1);

    expect(isVoteGranted(driver)).toBe(true);
  });

  test('gives no vote in a newer term either that it learned of otherwise', () => {
    const driver = follower(true);
    driver.receive(preVoteResponse(1, { term: 4, voteGranted: false }));
    driver.sync();
    expect(driver.state).toMatchObject({ term: 4, role: 'follower' });

    expect(isVoteGranted(driver, 4)).toBe(false);
    driver.tick(electionTimeoutTicksMin);

    expect(isVoteGranted(driver, 4)).toBe(true);
  });

  test('votes in an election that the leader itself asked for', () => {
    const driver = follower(true);

    driver.receive(
      wordOf(1, {
        kind: 'voteRequest',
        term: term(2),
        lastIndex: logIndex(0),
        lastTerm: term(0),
        isTransfer: true,
      }),
    );

    expect(sentOf(driver.sync(), 'voteResponse')).toMatchObject([{ voteGranted: true }]);
  });

  test('counts from what the clock shows, not from ticks that stood still', () => {
    const driver = new CoreDriver({ self: 3 });
    driver.unseenMs = 1_000;
    driver.receive(beat(true));
    driver.sync();
    driver.unseenMs = 0;
    driver.tick(1_000 / tickMs);
    driver.input({ kind: 'nodeUnreachable', nodeId: nodeId(2) });

    driver.tick(electionTimeoutTicksMin - 1);
    expect(isVoteGranted(driver)).toBe(false);
    driver.tick(1);

    expect(isVoteGranted(driver)).toBe(true);
  });

  test.each([
    { self: 1, place: 'first' },
    { self: 3, place: 'second' },
  ])('campaigns behind that time when it stands $place in line', ({ self }) => {
    const driver = follower(true, self);

    driver.tick(electionTimeoutTicksMin - 1);
    expect(driver.state.role).toBe('follower');
    driver.tick(5);

    expect(driver.state.role).toBe('preCandidate');
  });

  test('echoes it with its timeout', () => {
    const driver = new CoreDriver({ self: 3 });
    driver.input({ kind: 'clockAlarm', isRaised: true });
    driver.receive(beat(true));

    expect(sentOf(driver.sync(), 'heartbeatEcho')).toMatchObject([
      { round: 1, clockAlarm: true, electionTimeoutMsMin: electionTimeoutTicksMin * tickMs },
    ]);
  });
});

test('a voter that echoed a round without the flag believes the hint at once', () => {
  expect(isPreVoteGranted(follower(false))).toBe(true);
  expect(isVoteGranted(follower(false))).toBe(true);
  expect(follower(false, 1).state.role).toBe('preCandidate');
});

describe('a voter whose process has just started', () => {
  const started = (): CoreDriver => new CoreDriver({ self: 3, term: 1, isJustStarted: true });

  test('gives no vote for its minimum election timeout: it may have promised it', () => {
    const driver = started();

    driver.tick(electionTimeoutTicksMin - 1);
    expect(isVoteGranted(driver)).toBe(false);
    driver.tick(1);

    expect(isVoteGranted(driver)).toBe(true);
  });

  test('does not campaign before that time is over', () => {
    const driver = started();

    expect(driver.state.electionDeadlineTick).toBeGreaterThanOrEqual(electionTimeoutTicksMin);
  });

  test('answers the newest pre-vote request as soon as that time is over', () => {
    const driver = started();
    driver.tick(5);
    expect(isPreVoteGranted(driver, 2)).toBeUndefined();
    expect(isPreVoteGranted(driver, 1)).toBeUndefined();
    expect(nextTickDue(driver.state)).toBe(electionTimeoutTicksMin);

    const effects = driver.tick(electionTimeoutTicksMin - 5);

    expect(sentOf(effects, 'preVoteResponse')).toMatchObject([{ voteGranted: true }]);
    expect(driver.tick(1)).toEqual([]);
  });

  test('forgets who asked once a leader is heard', () => {
    const driver = started();
    isPreVoteGranted(driver);
    driver.receive(beat(false));
    driver.sync();

    const effects = driver.tick(electionTimeoutTicksMin - 1);

    expect(sentOf(effects, 'preVoteResponse')).toEqual([]);
  });
});
