/** When a core sleeps, and what wakes it (specification §2.5). */
import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, term } from '../../src/base/ids.ts';
import type { Effect } from '../../src/raft/index.ts';
import { defaultRaftSettings, nextTickDue } from '../../src/raft/index.ts';
import { heartbeat as plainHeartbeat, preVoteRequest } from '../scenarios/scenario-words.ts';
import {
  appendOf,
  configurationOf,
  CoreDriver,
  effectsOf,
  member,
  sentOf,
  wordOf,
} from './core-driver.ts';

const { hibernateTicks, heartbeatTicks, electionTimeoutTicksMin, electionTimeoutTicksMax } =
  defaultRaftSettings;

/** A leader whose term-start entry is durable at all. */
function settledLeader(): CoreDriver {
  const driver = new CoreDriver();
  driver.win();
  driver.sync();
  driver.acknowledge(2, 1);
  driver.acknowledge(3, 1);
  return driver;
}

function echoOf(
  number: number,
  round: number,
  isHibernating: boolean,
  inTerm = 1,
): Parameters<CoreDriver['receive']>[0] {
  return wordOf(number, {
    kind: 'heartbeatEcho',
    term: term(inTerm),
    round,
    inDoubt: false,
    isHibernating,
    needsLeader: false,
    clockAlarm: false,
    electionTimeoutMsMin: 300,
  });
}

/** Answers each round; `sleepers` agree when they are asked to. Returns what left in the last tick. */
function quietTime(driver: CoreDriver, ticks: number, sleepers: readonly number[]): Effect[] {
  let last: Effect[] = [];
  for (let tick = 0; tick < ticks && !driver.state.isHibernating; tick++) {
    last = driver.tick();
    for (const beat of sentOf(last, 'heartbeat')) {
      const number = Number(beat.mayHibernate);
      for (const peer of [2, 3])
        if (!driver.state.isHibernating)
          driver.receive(echoOf(peer, beat.round, number === 1 && sleepers.includes(peer)));
    }
  }
  return last;
}

function sleepingLeader(): CoreDriver {
  const driver = settledLeader();
  quietTime(driver, hibernateTicks + 4 * heartbeatTicks, [2, 3]);
  expect(driver.state.isHibernating).toBe(true);
  return driver;
}

function restingHeartbeat(beat: {
  readonly commit: number;
  readonly round?: number;
}): Parameters<CoreDriver['receive']>[0] {
  return wordOf(2, {
    kind: 'heartbeat',
    mayHibernate: true,
    lease: false,
    term: term(1),
    round: beat.round ?? 2,
    commit: logIndex(beat.commit),
  });
}

/** A follower of 2 that holds two committed entries. */
function settledFollower(): CoreDriver {
  const driver = new CoreDriver();
  driver.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1], commit: 2 }));
  driver.sync();
  return driver;
}

function sleepingFollower(): CoreDriver {
  const driver = settledFollower();
  driver.receive(restingHeartbeat({ commit: 2 }));
  expect(driver.state.isHibernating).toBe(true);
  return driver;
}

describe('a leader', () => {
  test('asks for rest when the quiet time is over, not before', () => {
    const driver = settledLeader();

    quietTime(driver, hibernateTicks - heartbeatTicks, []);
    expect(driver.state.leader?.restRound).toBeUndefined();
    quietTime(driver, 3 * heartbeatTicks, []);

    expect(driver.state.leader?.restRound).toBeDefined();
  });

  test('has its quiet time also while echoes are late, and asks for rest once all are there', () => {
    const driver = settledLeader();
    const lateTicks = electionTimeoutTicksMin - heartbeatTicks;
    for (let passed = 0; passed < hibernateTicks; passed += lateTicks) {
      let round = 0;
      for (let tick = 0; tick < lateTicks; tick++)
        for (const beat of sentOf(driver.tick(), 'heartbeat')) round = beat.round;
      for (const peer of [2, 3]) driver.receive(echoOf(peer, round, false));
    }

    quietTime(driver, 3 * heartbeatTicks, [2, 3]);

    expect(driver.state.isHibernating).toBe(true);
  });

  test('sleeps when all have agreed, and then says nothing and needs no timer', () => {
    const driver = sleepingLeader();

    expect(nextTickDue(driver.state)).toBe(Number.POSITIVE_INFINITY);
    expect(driver.tick(10 * electionTimeoutTicksMax)).toEqual([]);
    expect(driver.state.role).toBe('leader');
  });

  test('stays awake while one has not agreed', () => {
    const driver = settledLeader();

    quietTime(driver, 3 * hibernateTicks, [2]);

    expect(driver.state.isHibernating).toBe(false);
  });

  test('does not count an agreement from before the newest work', () => {
    const driver = settledLeader();
    quietTime(driver, hibernateTicks + 2 * heartbeatTicks, [2]);
    driver.input({ kind: 'propose', count: 1 });
    driver.sync();
    driver.acknowledge(2, 2);
    driver.acknowledge(3, 2);

    quietTime(driver, 2 * hibernateTicks, [3]);

    expect(driver.state.isHibernating).toBe(false);
  });

  test('does not sleep while a follower lacks an entry', () => {
    const driver = settledLeader();
    driver.input({ kind: 'propose', count: 1 });
    driver.sync();
    driver.acknowledge(2, 2);

    quietTime(driver, 3 * hibernateTicks, [2, 3]);

    expect(driver.state.isHibernating).toBe(false);
  });

  test.each([
    { what: 'a proposal', input: { kind: 'propose', count: 1 } as const },
    { what: 'a read', input: { kind: 'readIndex', readId: 7 } as const },
    {
      what: 'the loss of a member',
      input: { kind: 'nodeDown', nodeId: nodeId(3), delayTicks: 0 } as const,
    },
    {
      what: 'a new connection',
      input: { kind: 'peerConnected', nodeId: nodeId(2), newBoot: false } as const,
    },
  ])('is woken by $what, and wakes its followers with a round', ({ input }) => {
    const driver = sleepingLeader();

    const beats = sentOf(driver.input(input), 'heartbeat');

    expect(driver.state.isHibernating).toBe(false);
    expect(beats.length).toBeGreaterThanOrEqual(2);
    expect(beats.every((beat) => !beat.mayHibernate)).toBe(true);
  });

  test('is woken by a follower that needs it, and has a whole period to hear a quorum', () => {
    const driver = sleepingLeader();
    driver.tick(100 * electionTimeoutTicksMax);

    const needs = { kind: 'heartbeatEcho', term: term(1), round: 0, inDoubt: false } as const;
    const effects = driver.receive(
      wordOf(2, {
        ...needs,
        isHibernating: false,
        needsLeader: true,
        clockAlarm: false,
        electionTimeoutMsMin: 300,
      }),
    );

    expect(sentOf(effects, 'heartbeat')).toHaveLength(2);
    driver.tick(electionTimeoutTicksMax - 1);
    expect(driver.state.role).toBe('leader');
    driver.tick(2 * heartbeatTicks);
    expect(driver.state.role).toBe('follower');
  });

  test('is not disturbed by a stranger, but by a member that asks for votes', () => {
    const driver = sleepingLeader();

    driver.receive(preVoteRequest(9, { term: 2 }));
    expect(driver.state.isHibernating).toBe(true);
    driver.receive(preVoteRequest(3, { term: 2 }));

    expect(driver.state.isHibernating).toBe(false);
  });

  test('that learns of a newer term wakes its followers in the term that they know', () => {
    const driver = sleepingLeader();

    const effects = driver.receive(echoOf(2, 0, false, 9));

    expect(sentOf(effects, 'heartbeat')).toMatchObject([{ term: 1 }, { term: 1 }]);
    expect(driver.state).toMatchObject({ role: 'follower', term: 9 });
  });

  test('that is found in doubt wakes its followers, and leads no more', () => {
    const driver = sleepingLeader();

    const effects = driver.input({ kind: 'doubt' });

    expect(sentOf(effects, 'heartbeat')).toMatchObject([{ term: 1 }, { term: 1 }]);
    expect(driver.state.role).toBe('follower');
  });

  test('serves a read only by a round that was sent after it came', () => {
    const driver = sleepingLeader();
    const { round } = driver.state.leader!;

    const asked = driver.input({ kind: 'readIndex', readId: 7 });
    expect(asked.some((effect) => effect.kind === 'readReady')).toBe(false);
    expect(driver.echo(2, round).some((effect) => effect.kind === 'readReady')).toBe(false);
    const newest = driver.state.leader!.round;

    expect(driver.echo(2, newest).some((effect) => effect.kind === 'readReady')).toBe(true);
  });
});

describe('a follower', () => {
  test('agrees when it holds everything, and runs no timer', () => {
    const driver = settledFollower();

    const effects = driver.receive(restingHeartbeat({ commit: 2 }));

    expect(sentOf(effects, 'heartbeatEcho')).toMatchObject([{ isHibernating: true }]);
    expect(driver.tick(100 * electionTimeoutTicksMax)).toEqual([]);
    expect(driver.state.role).toBe('follower');
  });

  test.each([
    { what: 'an entry is not committed', commit: 1 },
    { what: 'it lacks an entry', commit: 3 },
  ])('does not agree when $what', ({ commit }) => {
    const driver = new CoreDriver();
    driver.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1], commit: 0 }));
    driver.sync();

    const effects = driver.receive(restingHeartbeat({ commit }));

    expect(sentOf(effects, 'heartbeatEcho')).toMatchObject([{ isHibernating: false }]);
  });

  test('is woken by the next heartbeat', () => {
    const driver = sleepingFollower();

    driver.receive(plainHeartbeat(2, { term: 1, commit: 2, round: 3 }));

    expect(driver.state.isHibernating).toBe(false);
    expect(nextTickDue(driver.state)).toBeLessThanOrEqual(driver.now + electionTimeoutTicksMax);
  });

  test('refuses a pre-vote, calls its leader and starts its timer', () => {
    const driver = sleepingFollower();
    driver.tick(1_000);

    const effects = driver.receive(preVoteRequest(3, { term: 2, lastIndex: 9, lastTerm: 1 }));

    expect(sentOf(effects, 'preVoteResponse')).toMatchObject([{ voteGranted: false }]);
    expect(sentOf(effects, 'heartbeatEcho')).toMatchObject([
      { needsLeader: true, clockAlarm: false, electionTimeoutMsMin: 300 },
    ]);
    driver.tickToDeadline();
    expect(driver.state.role).toBe('preCandidate');
  });

  test('lets go of a leader whose node is gone: votes at once, campaigns after the delay', () => {
    const driver = sleepingFollower();

    driver.input({ kind: 'nodeDown', nodeId: nodeId(2), delayTicks: 500 });

    expect(driver.state.leaderContact).toBeUndefined();
    driver.tick(500);
    expect(driver.state.role).toBe('follower');
    const effects = driver.receive(preVoteRequest(3, { term: 2, lastIndex: 9, lastTerm: 1 }));
    expect(sentOf(effects, 'preVoteResponse')).toMatchObject([{ voteGranted: true }]);
    driver.tick(electionTimeoutTicksMax);
    expect(driver.state.role).toBe('preCandidate');
  });

  test('whose election was put off holds it when somebody asks', () => {
    const driver = sleepingFollower();
    driver.input({ kind: 'nodeDown', nodeId: nodeId(2), delayTicks: 500 });

    driver.input({ kind: 'wake' });
    driver.tick(electionTimeoutTicksMax);

    expect(driver.state.role).toBe('preCandidate');
  });

  test('sleeps on when another node is gone', () => {
    const driver = sleepingFollower();

    driver.input({ kind: 'nodeDown', nodeId: nodeId(3), delayTicks: 0 });

    expect(driver.state.isHibernating).toBe(true);
  });

  test('is woken by a new life of the node that led', () => {
    const driver = sleepingFollower();

    driver.input({ kind: 'peerConnected', nodeId: nodeId(2), newBoot: true });

    expect(driver.state.isHibernating).toBe(false);
  });
});

describe('a learner that sleeps', () => {
  const configuration = configurationOf([member(1), member(2), member(3), member(4, 'learner')]);

  /** It has lost the connection to its leader 2 and lets go of it. */
  function cutLearner(): CoreDriver {
    const driver = new CoreDriver({ self: 4, configuration });
    driver.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1], commit: 2 }));
    driver.sync();
    driver.receive(restingHeartbeat({ commit: 2 }));
    expect(driver.state.isHibernating).toBe(true);
    driver.input({ kind: 'nodeDown', nodeId: nodeId(2), delayTicks: 500 });
    return driver;
  }

  const asked = (effects: readonly Effect[]): number[] =>
    effectsOf(effects, 'sendMessage')
      .filter(({ message }) => message.kind === 'heartbeatEcho' && message.needsLeader)
      .map(({ to }) => to.nodeId);

  test('and has lost its leader asks every member for it when somebody asks, and not all the time', () => {
    const driver = cutLearner();

    expect(asked(driver.input({ kind: 'wake' }))).toEqual([1, 2, 3]);
    driver.tick(electionTimeoutTicksMin - 1);
    expect(asked(driver.input({ kind: 'wake' }))).toEqual([]);
    driver.tick();
    expect(asked(driver.input({ kind: 'wake' }))).toEqual([1, 2, 3]);
  });

  test('asks nobody while it knows its leader, or when it is a member no more', () => {
    const driver = cutLearner();
    driver.receive(plainHeartbeat(2, { term: 1, commit: 2, round: 3 }));
    expect(asked(driver.input({ kind: 'wake' }))).toEqual([]);

    const stranger = new CoreDriver({ self: 5, configuration });
    expect(asked(stranger.input({ kind: 'wake' }))).toEqual([]);
  });

  const call = (number: number): Parameters<CoreDriver['receive']>[0] =>
    wordOf(number, {
      kind: 'heartbeatEcho',
      term: term(1),
      round: 0,
      inDoubt: false,
      isHibernating: false,
      needsLeader: true,
      clockAlarm: false,
      electionTimeoutMsMin: 300,
    });

  test('is passed on to the leader by a follower that sleeps, once', () => {
    const follower = new CoreDriver({ configuration });
    follower.receive(appendOf(2, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1, 1], commit: 2 }));
    follower.sync();
    follower.receive(restingHeartbeat({ commit: 2 }));

    expect(asked(follower.receive(call(9))), 'a stranger').toEqual([]);
    expect(asked(follower.receive(call(4)))).toEqual([2]);
    expect(asked(follower.receive(call(4)))).toEqual([]);
  });
});

test('a leader that asked for rest, and is found in doubt before the echoes come, leaves nobody asleep', () => {
  const leader = new CoreDriver();
  leader.win();
  leader.sync();
  for (const peer of [2, 3]) leader.acknowledge(peer, 1);
  // Quiet, and everybody is there.
  let beats: ReturnType<typeof sentOf<'heartbeat'>> = [];
  for (let passed = 0; passed < 3 * hibernateTicks; passed += heartbeatTicks) {
    beats = sentOf(leader.tick(heartbeatTicks), 'heartbeat');
    if (beats.some((beat) => beat.mayHibernate)) break;
    for (const peer of [2, 3]) leader.echo(peer, leader.state.leader!.round);
  }
  expect(beats).toMatchObject([{ mayHibernate: true }, { mayHibernate: true }]);

  // Both followers hold everything, agree and sleep; their echoes are on the way.
  const followers = [2, 3].map((self) => {
    const follower = new CoreDriver({ self });
    follower.receive(appendOf(1, { term: 1, prevIndex: 0, prevTerm: 0, terms: [1], commit: 1 }));
    follower.sync();
    return follower;
  });
  const echoes = followers.flatMap((follower, at) =>
    sentOf(follower.receive(beats[at]!), 'heartbeatEcho'),
  );
  expect(followers.map(({ state }) => state.isHibernating)).toEqual([true, true]);
  expect(echoes).toMatchObject([{ isHibernating: true }, { isHibernating: true }]);

  // An entry of the leader cannot be read: Integrity quarantine. Its node lives on, no link goes down.
  const effects = leader.input({ kind: 'quarantine' });
  expect(leader.state.role).toBe('follower');
  for (const beat of sentOf(effects, 'heartbeat'))
    followers.forEach((follower) => follower.receive(beat));
  for (const echo of echoes) leader.receive(echo);
  leader.tick(1_000);

  // Ten seconds later nobody leads and nobody will: no timer runs anywhere.
  const isSomebodyAwake = followers.some(
    ({ state }) => nextTickDue(state) !== Number.POSITIVE_INFINITY,
  );
  expect(isSomebodyAwake).toBe(true);
});
