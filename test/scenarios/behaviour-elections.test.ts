/** How elections behave, step by step: campaigns, pre-votes, a node stuck in a higher term, check-quorum. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import type { Effect, PeerMessage } from '../../src/raft/index.ts';
import {
  configurationOf,
  CoreDriver,
  effectsOf,
  member,
  sentOf,
  threeVoters,
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

/** One step of a table: what happens, what leaves, what is so afterwards. */
interface Step {
  readonly step: string;
  readonly act: (driver: CoreDriver) => readonly Effect[];
  /** Kinds of the messages that leave, with their receivers. */
  readonly leaves: readonly string[];
  readonly then: object;
}

/** Messages as `kind>receiver`; appends count as messages. */
function leavingOf(effects: readonly Effect[]): string[] {
  return effects.flatMap((effect) => {
    if (effect.kind === 'sendMessage') return [`${effect.message.kind}>${effect.to.replicaId}`];
    return effect.kind === 'sendAppend' ? [`append>${effect.to.replicaId}`] : [];
  });
}

function follow(driver: CoreDriver, steps: readonly Step[]): void {
  for (const { step, act, leaves, then } of steps) {
    expect(leavingOf(act(driver)), step).toEqual(leaves);
    expect(driver.state, step).toMatchObject(then);
  }
}

/** A calm world of three with a leader and its two followers. */
function settledWorld(seed: number): {
  readonly world: RaftWorld;
  readonly leader: WorldReplica;
  readonly others: readonly WorldReplica[];
} {
  const world = new RaftWorld(seed, threeVoters);
  world.advanceUntil(() => world.leader() !== undefined, 200);
  world.advance(20);
  const leader = present(world.leader(), 'a settled world has a leader');
  return { world, leader, others: world.replicas.filter((replica) => replica !== leader) };
}

describe('a campaign', () => {
  test('follows this table from silence to office', () => {
    follow(new CoreDriver(), [
      {
        step: 'at the deadline pre-votes are asked for, in the old term',
        act: (driver) => driver.tickToDeadline(),
        leaves: ['preVoteRequest>2', 'preVoteRequest>3'],
        then: { role: 'preCandidate', term: 0, votedFor: undefined },
      },
      {
        step: 'a majority of pre-votes begins the term, and nothing leaves before it is durable',
        act: (driver) => driver.receive(preVoteResponse(3, { term: 1, voteGranted: true })),
        leaves: [],
        then: { role: 'candidate', term: 1, votedFor: voteFor(1), durableTerm: 0 },
      },
      {
        step: 'once durable, votes are asked for',
        act: (driver) => driver.sync(),
        leaves: ['voteRequest>2', 'voteRequest>3'],
        then: { role: 'candidate', durableTerm: 1 },
      },
      {
        step: 'one refusal decides nothing',
        act: (driver) => driver.receive(voteResponse(2, { term: 1, voteGranted: false })),
        leaves: [],
        then: { role: 'candidate' },
      },
      {
        step: 'a majority of votes gives the office, a first entry and a first round',
        act: (driver) => driver.receive(voteResponse(3, { term: 1, voteGranted: true })),
        leaves: ['append>2', 'append>3', 'heartbeat>2', 'heartbeat>3'],
        then: { role: 'leader', term: 1, commitIndex: 0 },
      },
      {
        step: 'a late vote changes nothing',
        act: (driver) => driver.receive(voteResponse(2, { term: 1, voteGranted: true })),
        leaves: [],
        then: { role: 'leader', term: 1 },
      },
    ]);
  });

  test('that a majority refuses ends, and the next one is in a newer term', () => {
    follow(new CoreDriver(), [
      {
        step: 'it begins',
        act: (driver) => [
          ...driver.tickToDeadline(),
          ...driver.receive(preVoteResponse(2, { term: 1, voteGranted: true })),
          ...driver.sync(),
        ],
        leaves: ['preVoteRequest>2', 'preVoteRequest>3', 'voteRequest>2', 'voteRequest>3'],
        then: { role: 'candidate', term: 1 },
      },
      {
        step: 'both others refuse',
        act: (driver) => [
          ...driver.receive(voteResponse(2, { term: 1, voteGranted: false })),
          ...driver.receive(voteResponse(3, { term: 1, voteGranted: false })),
        ],
        leaves: [],
        then: { role: 'follower', term: 1, votedFor: voteFor(1), failedElections: 1 },
      },
      {
        step: 'the next deadline asks again',
        act: (driver) => driver.tickToDeadline(),
        leaves: ['preVoteRequest>2', 'preVoteRequest>3'],
        then: { role: 'preCandidate', term: 1 },
      },
      {
        step: 'in the next term',
        act: (driver) => driver.receive(preVoteResponse(2, { term: 2, voteGranted: true })),
        leaves: [],
        then: { role: 'candidate', term: 2 },
      },
    ]);
  });

  test.each([
    { what: 'a learner', configuration: [member(1, 'learner'), member(2), member(3)] },
    { what: 'an observer', configuration: [member(1, 'observer'), member(2), member(3)] },
    { what: 'a replica outside the configuration', configuration: [member(2), member(3)] },
  ])('is not begun by $what', ({ configuration }) => {
    const driver = new CoreDriver({ configuration: configurationOf(configuration) });

    for (let round = 0; round < 5; round++) expect(driver.tickToDeadline()).toEqual([]);

    expect(driver.state.role).toBe('follower');
  });
});

describe('check-quorum', () => {
  test('follows this table from office to silence', () => {
    follow(leaderOf(), [
      {
        step: 'just short of the longest timeout it still leads',
        act: (driver) => driver.tick(59),
        leaves: ['heartbeat>2', 'heartbeat>3', 'append>2', 'append>3'],
        then: { role: 'leader' },
      },
      {
        step: 'an echo of one of two followers is a majority with the own voice',
        act: (driver) => driver.echo(2, present(driver.state.leader, 'it leads').round),
        leaves: [],
        then: { role: 'leader' },
      },
      {
        step: 'which carries it as long again',
        act: (driver) => driver.tick(59),
        leaves: ['heartbeat>2', 'heartbeat>3', 'append>2', 'append>3'],
        then: { role: 'leader' },
      },
      {
        step: 'then it steps down in its term and names nobody',
        act: (driver) => driver.tick(1),
        leaves: [],
        then: { role: 'follower', term: 1, votedFor: voteFor(1), leaderContact: undefined },
      },
    ]);
  });

  test('lets a majority behind a cut elect while the old leader is still asleep about it', () => {
    const { world, leader, others } = settledWorld(7);
    world.isolate(leader.number);

    world.advanceUntil(() => others.some(({ state }) => state!.role === 'leader'), 300);
    world.advance(70);

    expect(leader.state!.role).not.toBe('leader');
  });
});

describe('a pre-vote', () => {
  const askers: readonly {
    readonly what: string;
    readonly word: PeerMessage;
    readonly granted: boolean;
  }[] = [
    {
      what: 'an equal log in the next term',
      word: preVoteRequest(2, { term: 4, lastIndex: 3, lastTerm: 3 }),
      granted: true,
    },
    {
      what: 'a longer log',
      word: preVoteRequest(2, { term: 9, lastIndex: 8, lastTerm: 3 }),
      granted: true,
    },
    {
      what: 'a shorter log of a newer last term',
      word: preVoteRequest(2, { term: 9, lastIndex: 1, lastTerm: 4 }),
      granted: true,
    },
    {
      what: 'a shorter log',
      word: preVoteRequest(2, { term: 9, lastIndex: 2, lastTerm: 3 }),
      granted: false,
    },
    {
      what: 'a longer log of an older last term',
      word: preVoteRequest(2, { term: 9, lastIndex: 8, lastTerm: 2 }),
      granted: false,
    },
    {
      what: 'a term that is not newer',
      word: preVoteRequest(2, { term: 3, lastIndex: 8, lastTerm: 3 }),
      granted: false,
    },
  ];

  test.each(askers)('of $what: granted $granted, and nothing is written', ({ word, granted }) => {
    const voter = new CoreDriver({ log: [1, 2, 3], term: 3 });

    const effects = voter.receive(word);

    expect(sentOf(effects, 'preVoteResponse')).toMatchObject([{ voteGranted: granted }]);
    expect(effectsOf(effects, 'persistHardState')).toEqual([]);
    expect(voter.state).toMatchObject({ term: 3, votedFor: undefined });
  });

  test('is refused as long as a leader was heard within the shortest timeout', () => {
    const voter = new CoreDriver({ self: 3, term: 1 });
    voter.receive(heartbeat(1, { term: 1 }));
    const answerAfter = (ticks: number): boolean | undefined => {
      voter.tick(ticks);
      return sentOf(voter.receive(preVoteRequest(2, { term: 2 })), 'preVoteResponse')[0]
        ?.voteGranted;
    };

    expect([answerAfter(0), answerAfter(29), answerAfter(1)]).toEqual([false, false, true]);
  });

  test('is refused by a leader', () => {
    const leader = leaderOf();

    const answer = leader.receive(preVoteRequest(2, { term: 2, lastIndex: 9, lastTerm: 1 }));

    expect(sentOf(answer, 'preVoteResponse')).toMatchObject([{ voteGranted: false }]);
    expect(leader.state).toMatchObject({ role: 'leader', term: 1 });
  });

  test('keeps a replica that was cut off for long from moving anybody when it comes back', () => {
    const { world, leader, others } = settledWorld(8);
    const lonely = others[0]!;
    const { term } = leader.state!;
    world.isolate(lonely.number);
    world.advance(1_000);

    world.heal();
    world.advance(100);

    expect(world.leader()).toBe(leader);
    expect(world.replicas.map(({ state }) => Number(state!.term))).toEqual([term, term, term]);
  });

  // Its own term is higher than the leader's: it refuses the leader's words, the leader refuses its pre-votes.
  test('of a replica stuck in a higher term does not lock it out: the refusal moves the others to its term', () => {
    const stuckTerm = 9;
    follow(new CoreDriver({ self: 2, log: [1], term: 1 }), [
      {
        step: 'a follower of leader 1',
        act: (driver) => driver.receive(heartbeat(1, { term: 1 })),
        leaves: ['heartbeatEcho>1'],
        then: { role: 'follower', term: 1 },
      },
      {
        step: 'does not listen to the stuck one while it hears its leader',
        act: (driver) => driver.receive(voteRequest(3, { term: stuckTerm })),
        leaves: [],
        then: { term: 1 },
      },
    ]);
    const stuck = new CoreDriver({ self: 3, log: [1], term: stuckTerm });
    const echo = sentOf(stuck.receive(heartbeat(1, { term: 1 })), 'heartbeatEcho');
    const leader = leaderOf();

    leader.receive(echo[0]!);

    expect(leader.state).toMatchObject({ role: 'follower', term: stuckTerm });
  });

  test('of a replica stuck in a higher term without a leader anywhere is answered by a newer campaign', () => {
    const { world, leader, others } = settledWorld(9);
    const stuck = others[0]!;
    world.crash(stuck);
    stuck.disk.term = 30;
    world.crash(leader);
    world.boot(stuck);

    world.advanceUntil(() => world.leader() !== undefined, 400);

    expect(Number(world.leader()!.state!.term)).toBeGreaterThan(30);
  });
});
