import { describe, expect, test } from 'vitest';

import { logIndex, nodeId, replicaId, term } from '../../src/base/ids.ts';
import { createPrng, nextBetween } from '../../src/base/prng.ts';
import {
  configurationOf,
  CoreDriver,
  createCore,
  effectsOf,
  lifeOf,
  member,
  sentOf,
  wordOf,
} from './core-driver.ts';

const voteOf = (
  number: number,
): { replicaId: ReturnType<typeof replicaId>; incarnation: ReturnType<typeof lifeOf> } => ({
  replicaId: replicaId(number),
  incarnation: lifeOf(number),
});

/** A candidate of replica 1 in term 1 whose own vote is durable. */
function candidate(driver = new CoreDriver()): CoreDriver {
  driver.tickToDeadline();
  driver.receive(
    wordOf(2, {
      kind: 'preVoteResponse',
      highRtt: false,
      term: term(driver.state.term + 1),
      voteGranted: true,
    }),
  );
  driver.sync();
  expect(driver.state.role).toBe('candidate');
  return driver;
}

describe('the election deadline', () => {
  test('is drawn between the shortest and the longest timeout, from the seed alone', () => {
    const deadlines = Array.from(
      { length: 300 },
      (_, seed) => createCore({ seed }).electionDeadlineTick,
    );

    expect(Math.min(...deadlines)).toBe(30);
    expect(Math.max(...deadlines)).toBe(60);
    expect(new Set(deadlines).size).toBe(31);
    for (const [seed, deadline] of deadlines.entries()) {
      expect(deadline).toBe(nextBetween(createPrng(seed), 30, 60));
    }
  });

  test('nothing is asked before it and pre-votes are asked at it', () => {
    const driver = new CoreDriver();

    expect(driver.tick(driver.state.electionDeadlineTick - 1)).toEqual([]);
    expect(sentOf(driver.tick(), 'preVoteRequest')).toHaveLength(2);
  });

  test('moves further away with every failed election, up to a cap', () => {
    const driver = new CoreDriver();
    const spans: number[] = [];
    for (let round = 0; round < 30; round++) {
      driver.tickToDeadline();
      spans.push(driver.state.electionDeadlineTick - driver.now);
    }

    expect(spans[0]).toBeLessThanOrEqual(60);
    expect(Math.min(...spans.slice(10))).toBeGreaterThanOrEqual(100);
    expect(Math.max(...spans)).toBeLessThanOrEqual(200);
    expect(Math.max(...spans)).toBeGreaterThan(120);
  });

  test('comes back to the plain window when a leader is heard', () => {
    const driver = new CoreDriver();
    for (let round = 0; round < 10; round++) driver.tickToDeadline();
    driver.receive(
      wordOf(2, {
        kind: 'heartbeat',
        mayHibernate: false,
        lease: false,
        term: term(1),
        round: 1,
        commit: logIndex(0),
      }),
    );

    expect(driver.state.failedElections).toBe(0);
    expect(driver.state.electionDeadlineTick - driver.now).toBeLessThanOrEqual(60);
  });
});

describe('a candidate', () => {
  test('asks for votes only once its own vote is durable (KER-2)', () => {
    const driver = new CoreDriver();
    driver.tickToDeadline();
    const granted = driver.receive(
      wordOf(2, { kind: 'preVoteResponse', highRtt: false, term: term(1), voteGranted: true }),
    );

    expect(driver.state.role).toBe('candidate');
    expect(effectsOf(granted, 'persistHardState')).toEqual([
      { kind: 'persistHardState', term: 1, votedFor: voteOf(1) },
    ]);
    expect(sentOf(granted, 'voteRequest')).toEqual([]);
    expect(sentOf(driver.sync(), 'voteRequest')).toHaveLength(2);
  });

  test('does not count its own vote before it is durable', () => {
    const driver = new CoreDriver();
    driver.tickToDeadline();
    driver.receive(
      wordOf(2, { kind: 'preVoteResponse', highRtt: false, term: term(1), voteGranted: true }),
    );
    driver.receive(wordOf(2, { kind: 'voteResponse', term: term(1), voteGranted: true }));
    expect(driver.state.role).toBe('candidate');

    driver.sync();
    expect(driver.state.role).toBe('leader');
  });

  test('leads with the votes of a majority and appends an entry of its term at once', () => {
    const driver = candidate();
    const won = driver.receive(
      wordOf(3, { kind: 'voteResponse', term: term(1), voteGranted: true }),
    );

    expect(driver.state.role).toBe('leader');
    expect(effectsOf(won, 'appendToLog')).toMatchObject([
      { source: 'noOp', firstIndex: 1, lastIndex: 1, term: 1 },
    ]);
    expect(sentOf(won, 'heartbeat')).toHaveLength(2);
    expect(effectsOf(won, 'sendAppend')).toHaveLength(2);
  });

  test('counts a vote once, however often it arrives', () => {
    const five = configurationOf([1, 2, 3, 4, 5].map((number) => member(number)));
    const driver = new CoreDriver({ configuration: five });
    driver.tickToDeadline();
    for (const number of [2, 3]) {
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
    for (let times = 0; times < 3; times++) {
      driver.receive(wordOf(2, { kind: 'voteResponse', term: term(1), voteGranted: true }));
    }
    expect(driver.state.role).toBe('candidate');

    driver.receive(wordOf(3, { kind: 'voteResponse', term: term(1), voteGranted: true }));
    expect(driver.state.role).toBe('leader');
  });

  test('counts no vote of another life of a voter', () => {
    const driver = candidate();
    driver.receive(wordOf(2, { kind: 'voteResponse', term: term(1), voteGranted: true }, 1));
    expect(driver.state.role).toBe('candidate');
  });

  test('counts no vote of an older term', () => {
    const driver = candidate(new CoreDriver({ term: 4 }));
    expect(driver.state.term).toBe(5);
    driver.receive(wordOf(2, { kind: 'voteResponse', term: term(4), voteGranted: true }));
    expect(driver.state.role).toBe('candidate');
  });

  test('counts no vote of a learner or of a stranger', () => {
    const configuration = configurationOf([member(1), member(2), member(3), member(4, 'learner')]);
    const driver = candidate(new CoreDriver({ configuration }));
    for (const number of [4, 9]) {
      driver.receive(wordOf(number, { kind: 'voteResponse', term: term(1), voteGranted: true }));
    }
    expect(driver.state.role).toBe('candidate');
  });

  test('becomes a follower again when a majority refuses', () => {
    const driver = candidate();
    driver.receive(wordOf(2, { kind: 'voteResponse', term: term(1), voteGranted: false }));
    driver.receive(wordOf(3, { kind: 'voteResponse', term: term(1), voteGranted: false }));

    expect(driver.state.role).toBe('follower');
    expect(driver.state.term).toBe(1);
    expect(driver.state.votedFor).toEqual(voteOf(1));
  });

  test('follows a leader of its own term', () => {
    const driver = candidate();
    driver.receive(
      wordOf(3, {
        kind: 'heartbeat',
        mayHibernate: false,
        lease: false,
        term: term(1),
        round: 1,
        commit: logIndex(0),
      }),
    );

    expect(driver.state.role).toBe('follower');
    expect(driver.state.leaderContact?.replicaId).toBe(3);
    expect(driver.state.votedFor).toEqual(voteOf(1));
  });
});

describe('a voter', () => {
  const request = (
    number: number,
    asked: { term: number; lastIndex?: number; lastTerm?: number; life?: number },
  ) =>
    wordOf(
      number,
      {
        kind: 'voteRequest',
        term: term(asked.term),
        lastIndex: logIndex(asked.lastIndex ?? 0),
        lastTerm: term(asked.lastTerm ?? 0),
        isTransfer: false,
      },
      asked.life ?? 0,
    );

  test('answers with its vote only once the vote is durable (KER-2)', () => {
    const driver = new CoreDriver();
    expect(sentOf(driver.receive(request(2, { term: 1 })), 'voteResponse')).toEqual([]);
    expect(sentOf(driver.sync(), 'voteResponse')).toMatchObject([{ voteGranted: true, term: 1 }]);
  });

  test('answers with its vote only once the vote is durable, though the term has long been (KER-2)', () => {
    const driver = new CoreDriver({ log: [1], term: 1 });
    const answered = driver.receive(
      wordOf(2, {
        kind: 'voteRequest',
        term: term(1),
        lastIndex: logIndex(1),
        lastTerm: term(1),
        isTransfer: false,
      }),
    );

    expect(effectsOf(answered, 'persistHardState')).toHaveLength(1);
    expect(sentOf(answered, 'voteResponse')).toEqual([]);
    expect(sentOf(driver.sync(), 'voteResponse')).toMatchObject([{ voteGranted: true }]);
  });

  test('votes once in a term, and says so again to the same candidate only', () => {
    const driver = new CoreDriver();
    driver.receive(request(2, { term: 1 }));
    driver.sync();

    expect(sentOf(driver.receive(request(3, { term: 1 })), 'voteResponse')).toMatchObject([
      { voteGranted: false },
    ]);
    expect(sentOf(driver.receive(request(2, { term: 1 })), 'voteResponse')).toMatchObject([
      { voteGranted: true },
    ]);
  });

  test('keeps its vote from the next life of the same candidate', () => {
    const driver = new CoreDriver();
    driver.receive(request(2, { term: 1 }));
    driver.sync();

    const answer = sentOf(driver.receive(request(2, { term: 1, life: 1 })), 'voteResponse');
    expect(answer).toMatchObject([{ voteGranted: false }]);
  });

  test('remembers its vote over a restart', () => {
    const driver = new CoreDriver({ term: 1, votedFor: voteOf(2) });
    expect(sentOf(driver.receive(request(3, { term: 1 })), 'voteResponse')).toMatchObject([
      { voteGranted: false },
    ]);
    expect(sentOf(driver.receive(request(2, { term: 1 })), 'voteResponse')).toMatchObject([
      { voteGranted: true },
    ]);
  });

  test.each([
    { log: [1, 2], lastIndex: 9, lastTerm: 1, granted: false, because: 'its last term is newer' },
    { log: [1, 2], lastIndex: 1, lastTerm: 2, granted: false, because: 'its log is longer' },
    { log: [1, 2], lastIndex: 2, lastTerm: 2, granted: true, because: 'the logs are equal' },
    {
      log: [1, 2],
      lastIndex: 1,
      lastTerm: 3,
      granted: true,
      because: 'the candidate has a newer last term',
    },
  ])('answers $granted when $because (Raft §5.4.1)', ({ log, lastIndex, lastTerm, granted }) => {
    const driver = new CoreDriver({ log });
    const effects = [
      ...driver.receive(request(2, { term: 4, lastIndex, lastTerm })),
      ...driver.sync(),
    ];

    expect(sentOf(effects, 'voteResponse')).toMatchObject([{ voteGranted: granted, term: 4 }]);
    expect(driver.state.votedFor).toEqual(granted ? voteOf(2) : undefined);
  });

  test('refuses a candidate of an older term and tells it the term', () => {
    const driver = new CoreDriver({ term: 7 });
    const answer = sentOf(driver.receive(request(2, { term: 3 })), 'voteResponse');
    expect(answer).toMatchObject([{ voteGranted: false, term: 7 }]);
  });
});

describe('a group of one voter', () => {
  test('elects itself by its own sync and commits by its own sync', () => {
    const driver = new CoreDriver({ configuration: configurationOf([member(1)]) });
    driver.tickToDeadline();
    expect(driver.state.role).toBe('candidate');
    driver.input(driver.takeWaiting());
    expect(driver.state.role).toBe('leader');
    expect(driver.state.commitIndex).toBe(0);

    driver.sync();
    expect(driver.state.commitIndex).toBe(1);
    driver.input({ kind: 'propose', count: 3 });
    expect(driver.state.commitIndex).toBe(1);
    expect(effectsOf(driver.sync(), 'commitAdvanced')).toMatchObject([
      { commitIndex: 4, appliableIndex: 4 },
    ]);
    expect(effectsOf(driver.input({ kind: 'readIndex', readId: 1 }), 'readReady')).toMatchObject([
      { index: 4 },
    ]);
  });

  test('never steps down for want of a quorum', () => {
    const driver = new CoreDriver({ configuration: configurationOf([member(1)]) });
    driver.tickToDeadline();
    driver.sync();
    for (let beats = 0; beats < 100; beats++) driver.tick(10);
    expect(driver.state.role).toBe('leader');
  });
});

test('a learner never campaigns', () => {
  const configuration = configurationOf([member(1, 'learner'), member(2), member(3)]);
  const driver = new CoreDriver({ configuration });
  for (let rounds = 0; rounds < 10; rounds++) expect(driver.tickToDeadline()).toEqual([]);
  expect(driver.state.role).toBe('follower');
});

test('a node without a seat never campaigns', () => {
  const driver = new CoreDriver({ self: 9 });
  expect(driver.tickToDeadline()).toEqual([]);
  expect(driver.state.selfNode).toBe(nodeId(9));
});
