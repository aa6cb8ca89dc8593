/** Accidents with changes of membership, in cores and in worlds of cores. */
import { describe, expect, test } from 'vitest';

import { logIndex, term } from '../../src/base/ids.ts';
import type { Configuration, Member } from '../../src/base/membership.ts';
import {
  activeConfiguration,
  hasQuorum,
  isJoint,
  membershipBlock,
  type Effect,
} from '../../src/raft/index.ts';
import {
  appendOf,
  configurationOf,
  CoreDriver,
  effectsOf,
  member,
  sentOf,
  threeVoters,
} from '../raft/core-driver.ts';
import { RaftWorld, type WorldReplica } from '../raft/raft-world.ts';
import { heartbeat, leaderOf, preVoteRequest, progressOf, voteRequest } from './scenario-words.ts';

const finalizeEntries = 64;

function changed(members: readonly Member[]): {
  readonly kind: 'changeConfiguration';
  readonly members: readonly Member[];
} {
  return { kind: 'changeConfiguration', members };
}

/** Phases of the configurations that were appended. */
function phasesOf(effects: readonly Effect[]): string[] {
  return effectsOf(effects, 'appendToLog').flatMap((effect) =>
    effect.source === 'configuration' ? [effect.phase] : [],
  );
}

/** Replica 1 leading in term 1 with a committed first entry. */
function settledLeader(): CoreDriver {
  const driver = leaderOf();
  driver.acknowledge(2, 1);
  expect(driver.state).toMatchObject({ role: 'leader', commitIndex: 1 });
  return driver;
}

/** The own disk and those of the given replicas have all of the log; returns all effects. */
function settle(driver: CoreDriver, numbers: readonly number[]): Effect[] {
  const { lastIndex } = driver.state.log;
  return [...driver.sync(), ...numbers.flatMap((number) => driver.acknowledge(number, lastIndex))];
}

/** A world whose leader has committed an entry of its term. */
function worldOf(
  seed: number,
  configuration: Configuration,
  spares: readonly number[] = [],
): { readonly world: RaftWorld; readonly leader: WorldReplica } {
  const world = new RaftWorld(seed, configuration, spares);
  world.advanceUntil(() => world.leader() !== undefined, 400);
  world.advance(20);
  const leader = world.leader()!;
  expect(membershipBlock(leader.state!)).toBeUndefined();
  return { world, leader };
}

/** Waits until a simple configuration of the leader is committed. */
function untilSimple(world: RaftWorld, ticksMax: number): Configuration {
  const isSimple = (): boolean => {
    const state = world.leader()?.state;
    if (state === undefined) return false;
    const active = activeConfiguration(state);
    return !isJoint(active) && active.index <= state.commitIndex;
  };
  world.advanceUntil(isSimple, ticksMax);
  return activeConfiguration(world.leader()!.state!);
}

function numbersOf(configuration: Configuration): number[] {
  return configuration.members.map(({ replicaId }) => Number(replicaId));
}

describe('regression 6: a learner that does not know of its promotion votes when asked', () => {
  const twoAndLearner = configurationOf([member(1), member(2), member(3, 'learner')]);

  test('it answers by its log and its term, whatever it is in its own eyes', () => {
    const learner = new CoreDriver({ self: 3, configuration: twoAndLearner });

    const asked = learner.receive(preVoteRequest(2, { term: 1 }));
    learner.receive(voteRequest(2, { term: 1 }));

    expect(sentOf(asked, 'preVoteResponse')).toMatchObject([{ voteGranted: true }]);
    expect(learner.state.votedFor).toMatchObject({ replicaId: 2 });
    expect(learner.state.held).toMatchObject([{ message: { voteGranted: true } }]);
  });

  test.each([1, 2, 3])('so the cluster survives the loss of the leader (seed %i)', (seed) => {
    const { world, leader } = worldOf(seed, twoAndLearner);
    const heir = world.replicas.find((row) => row !== leader && row.number !== 3)!;
    world.isolate(3);
    world.input(leader, changed([member(1), member(2), member(3)]));
    untilSimple(world, 200);
    world.advance(20);
    world.crash(leader);
    world.heal();
    const own = activeConfiguration(world.core(3)).members.find((row) => row.replicaId === 3);
    expect(own?.role).toBe('learner');

    world.advanceUntil(() => world.leader() === heir, 400);
    world.advance(50);

    expect(numbersOf(activeConfiguration(world.core(3)))).toEqual([1, 2, 3]);
    expect(world.core(3).commitIndex).toBe(heir.state!.commitIndex);
  });
});

describe('regression 9: a removed node that campaigns for ever leaves the cluster undisturbed', () => {
  const four = configurationOf([1, 2, 3, 4].map((number) => member(number)));

  /** A node was removed while it was cut off, and is back. */
  function removed(seed: number): ReturnType<typeof worldOf> & { readonly gone: WorldReplica } {
    const { world, leader } = worldOf(seed, four);
    const gone = world.replicas.find((row) => row !== leader)!;
    world.isolate(gone.number);
    const stay = four.members.filter((row) => Number(row.replicaId) !== gone.number);
    world.input(leader, changed(stay));
    untilSimple(world, 200);
    world.advance(20);
    world.heal();
    return { world, leader, gone };
  }

  test.each([1, 2, 3])('leader and term stay, under load and idle (seed %i)', (seed) => {
    const { world, leader, gone } = removed(seed);
    const ruled = leader.state!.term;
    const ownTerm = gone.state!.term;
    let campaigns = 0;
    for (let turn = 0; turn < 100; turn++) {
      if (turn < 50) world.input(leader, { kind: 'propose', count: 1 });
      world.advance(20);
      if (gone.state!.role !== 'follower') campaigns++;
      expect(world.leader()).toBe(leader);
    }

    expect(campaigns).toBeGreaterThan(50);
    expect(leader.state!.term).toBe(ruled);
    expect(gone.state!.term, 'asking first keeps its own term').toBe(ownTerm);
  });

  test('a vote request that it sent long ago unseats nobody', () => {
    const late = voteRequest(4, { term: 9, lastIndex: 9, lastTerm: 8 });
    const driver = settledLeader();
    const follower = new CoreDriver({ self: 2, term: 1 });
    follower.receive(heartbeat(1, { term: 1 }));

    expect(driver.receive(late)).toEqual([]);
    expect(follower.receive(late)).toEqual([]);

    expect(driver.state).toMatchObject({ role: 'leader', term: 1 });
    expect(follower.state).toMatchObject({ term: 1, leaderContact: { replicaId: 1 } });
  });
});

describe('regression 21: any two successive active quorums intersect', () => {
  /** Whether every quorum of one shares a replica with every quorum of the other. */
  function quorumsMeet(left: Configuration, right: Configuration): boolean {
    const numbers = [1, 2, 3, 4, 5, 6];
    for (let subset = 0; subset < 1 << numbers.length; subset++) {
      const isIn = ({ replicaId }: Member): boolean => (subset & (1 << (replicaId - 1))) !== 0;
      if (hasQuorum(left, isIn) && hasQuorum(right, (row) => !isIn(row))) return false;
    }
    return true;
  }

  test.each([
    { what: 'one comes', after: [1, 2, 3, 4] },
    { what: 'two come', after: [1, 2, 3, 4, 5] },
    { what: 'one goes', after: [1, 2] },
    { what: 'all but one are others', after: [1, 4, 5] },
  ])('one after the other in one log: $what', ({ after }) => {
    const driver = settledLeader();
    const seen: Configuration[] = [activeConfiguration(driver.state)];
    driver.input(changed(after.map((number) => member(number))));
    for (let turn = 0; turn < 4; turn++) {
      const active = activeConfiguration(driver.state);
      if (seen.at(-1) !== active) seen.push(active);
      settle(driver, [2, 3, ...after.filter((number) => number > 3)]);
    }
    expect(seen.map(isJoint)).toEqual([false, true, false]);

    for (const [at, next] of seen.slice(1).entries())
      expect(quorumsMeet(seen[at]!, next), `step ${at + 1}`).toBe(true);
  });

  test.each([1, 2, 3])('a change that an earlier leader left behind (seed %i)', (seed) => {
    const four = configurationOf([1, 2, 3, 4].map((number) => member(number)));
    const { world, leader } = worldOf(seed, four, [5]);
    // The first leader's change is at itself and the newcomer alone.
    const others = world.replicas.filter((row) => row !== leader && row.number !== 5);
    for (const other of others) {
      world.cut(leader.number, other.number);
      world.cut(other.number, leader.number);
    }
    world.input(leader, changed([...four.members, member(5)]));
    world.advanceUntil(() => isJoint(activeConfiguration(world.core(5))), 50);

    // The second leader may begin another one only behind an entry of its own term.
    world.advanceUntil(() => world.leader() !== leader && world.leader() !== undefined, 400);
    const second = world.leader()!;
    const atFirst = membershipBlock(second.state!);
    world.advanceUntil(() => membershipBlock(second.state!) === undefined, 50);
    const stay = four.members.filter((row) => Number(row.replicaId) !== leader.number);
    world.input(second, changed(stay));
    untilSimple(world, 200);
    world.input(second, { kind: 'propose', count: 5 });
    world.advance(50);

    // The first one is back with its own change, and a voter that lost nothing is gone.
    world.crash(world.replicas.find((row) => others.includes(row) && row !== second)!);
    world.heal();
    world.advance(600);

    expect(atFirst).toBe('termStartUncommitted');
    world.checkLogMatching();
    const left = activeConfiguration(world.leader()!.state!);
    expect(numbersOf(left)).toEqual(stay.map(({ replicaId }) => Number(replicaId)));
  });
});

describe('regression 24: in the joint phase both majorities decide', () => {
  test.each([
    { what: 'the old voters alone', voices: [2, 3] },
    { what: 'the new voters alone', voices: [4, 5, 6] },
  ])('$what commit nothing', ({ voices }) => {
    const driver = settledLeader();
    driver.input(changed([member(4), member(5), member(6)]));
    settle(driver, voices);
    // The leader is of the old half: one more makes a majority there, the new half needs two of its own.
    const isOldEnough = voices.includes(2);

    expect(driver.state.commitIndex).toBe(1);

    settle(driver, isOldEnough ? [4, 5] : [2]);

    expect(driver.state.commitIndex).toBeGreaterThan(1);
  });

  test('a leader outside of the new voters does not count itself for the final entry', () => {
    const driver = settledLeader();
    driver.input(changed([member(2), member(3)]));
    settle(driver, [2, 3]);
    expect(phasesOf(settle(driver, [2, 3]))).toEqual(['final']);
    driver.sync();
    const { lastIndex } = driver.state.log;

    driver.acknowledge(2, lastIndex);
    expect(driver.state.commitIndex).toBe(lastIndex - 1);

    driver.acknowledge(3, lastIndex);
    expect(driver.state.commitIndex).toBe(lastIndex);
  });
});

describe('regression 25: a joint phase ends whatever becomes of the new voters', () => {
  /** 4 and 5 are learners that have everything, and will take the places of all old voters but one. */
  function withLearners(seed: number): ReturnType<typeof worldOf> & { readonly after: Member[] } {
    const { world, leader } = worldOf(seed, threeVoters, [4, 5]);
    const learners = [member(4, 'learner'), member(5, 'learner')];
    world.input(leader, changed([...threeVoters.members, ...learners]));
    world.advance(50);
    const stays = threeVoters.members.filter((row) => Number(row.replicaId) === leader.number);
    return { world, leader, after: [...stays, member(4), member(5)] };
  }

  test.each([1, 2, 3])('the new half dies: back to the old one (seed %i)', (seed) => {
    const { world, leader, after } = withLearners(seed);
    world.input(leader, changed(after));
    for (const number of [4, 5]) world.crash(world.replica(number));
    expect(isJoint(activeConfiguration(leader.state!))).toBe(true);

    const settled = untilSimple(world, 500);
    const before = leader.state!.commitIndex;
    world.input(world.leader()!, { kind: 'propose', count: 1 });
    world.advance(20);

    expect(numbersOf(settled).slice(0, 3)).toEqual([1, 2, 3]);
    expect(leader.state!.commitIndex).toBeGreaterThan(before);
  });

  test.each([1, 2, 3])('the leader dies with it: on as soon as one returns (seed %i)', (seed) => {
    const { world, leader, after } = withLearners(seed);
    world.input(leader, changed(after));
    world.advance(3);
    for (const number of [leader.number, 4, 5]) world.crash(world.replica(number));
    world.advance(500);
    world.boot(world.replica(4));
    world.boot(leader);

    untilSimple(world, 1_000);
    const current = world.leader()!;
    const before = current.state!.commitIndex;
    world.input(current, { kind: 'propose', count: 1 });
    world.advance(20);

    expect(current.state!.commitIndex).toBeGreaterThan(before);
  });

  test.each([1, 2, 3])('nobody writes: it is left all the same (seed %i)', (seed) => {
    const { world, leader, after } = withLearners(seed);
    world.input(leader, changed(after));

    const settled = untilSimple(world, 100);

    expect(numbersOf(settled)).toEqual(after.map(({ replicaId }) => Number(replicaId)));
  });
});

describe('regression 54: behind a final entry that is not committed there is no way back, and no second leader', () => {
  test('a rollback is refused where the final entry is in the log', () => {
    const driver = settledLeader();
    driver.input(changed([member(1), member(4), member(5)]));
    settle(driver, [2, 4]);
    expect(phasesOf(settle(driver, [2, 4]))).toEqual(['final']);

    expect(() => driver.input({ kind: 'rollBack', reason: 'a test' })).toThrow(
      'only a joint phase is left for the old configuration',
    );
    expect(phasesOf(driver.tick(400))).toEqual([]);
  });

  test.each([1, 2, 3, 4, 5])(
    'two halves that are cut off have one leader at most (seed %i)',
    (seed) => {
      const { world, leader } = worldOf(seed, threeVoters, [4, 5]);
      const others = [1, 2, 3].filter((number) => number !== leader.number);
      const learners = [member(4, 'learner'), member(5, 'learner')];
      world.input(leader, changed([...threeVoters.members, ...learners]));
      world.advance(50);
      world.input(leader, changed([member(leader.number), member(4), member(5)]));
      // The old voters get everything but the final entry; what they acknowledge lets the leader append it.
      const isFilled = (number: number): boolean => {
        const { log, configurations } = world.core(number);
        return log.lastIndex >= configurations.at(-1)!.index + finalizeEntries - 1;
      };
      world.advanceUntil(() => others.some(isFilled), 100);
      for (const other of others) world.cut(leader.number, other);
      world.advanceUntil(() => !isJoint(activeConfiguration(leader.state!)), 100);
      for (const other of others)
        expect(isJoint(activeConfiguration(world.core(other)))).toBe(true);
      expect(activeConfiguration(leader.state!).index).toBeGreaterThan(leader.state!.commitIndex);
      world.flush(leader, Number.POSITIVE_INFINITY);
      for (const near of others)
        for (const far of [leader.number, 4, 5]) {
          world.cut(near, far);
          world.cut(far, near);
        }
      // The old half alone: nothing is decided there, for its newest configuration asks the other one as well.
      world.crash(leader);
      const leads = (number: number): boolean => world.replica(number).state?.role === 'leader';
      const oldReigns = new Set<number>();
      for (let tick = 0; tick < 500; tick++) {
        world.advance(1);
        for (const number of others) if (leads(number)) oldReigns.add(number);
      }
      world.boot(leader);
      world.advanceUntil(() => [leader.number, 4, 5].some(leads), 500);
      const oldCommit = Math.max(...others.map((number) => world.core(number).commitIndex));
      world.input(world.leader()!, { kind: 'propose', count: 3 });
      world.advance(200);
      const settled = untilSimple(world, 200);
      world.heal();
      world.advance(200);

      expect([...oldReigns]).toEqual([]);
      expect(world.committed.length - 1).toBeGreaterThan(oldCommit);
      expect(numbersOf(settled)).toEqual([leader.number, 4, 5]);
      world.checkLogMatching();
    },
  );
});

describe('regression 61: entries from before the joint entry leave nothing', () => {
  test('an own-term entry before it that commits under it counts for no exit', () => {
    const driver = settledLeader();
    driver.input({ kind: 'propose', count: 100 });
    driver.sync();
    driver.input(changed([member(1), member(2), member(4)]));
    expect(isJoint(activeConfiguration(driver.state))).toBe(true);
    driver.sync();

    const effects = driver.acknowledge(2, 101);

    expect(driver.state.commitIndex).toBe(101);
    expect(effectsOf(effects, 'appendToLog')).toEqual([]);
    expect(phasesOf(settle(driver, [2]))).toEqual([]);
    expect(phasesOf(settle(driver, [2]))).toEqual(['final']);
    expect(driver.state.commitIndex).toBe(101 + finalizeEntries);
    expect(progressOf(driver, 2).matchIndex).toBe(101 + finalizeEntries);
  });

  const joint: Configuration = {
    ...configurationOf([member(1), member(4), member(5)], threeVoters.members),
    term: term(1),
    index: logIndex(2),
  };

  test('a final entry is undone alone: the joint one before it is committed', () => {
    const final: Configuration = { ...joint, outgoingMembers: [], index: logIndex(4) };
    const driver = new CoreDriver({
      self: 2,
      log: [1, 1, 1, 1],
      recordedCommitIndex: 3,
      configurations: [threeVoters, joint, final],
    });

    driver.receive(appendOf(3, { term: 2, prevIndex: 3, prevTerm: 1, terms: [2], commit: 3 }));

    expect(activeConfiguration(driver.state)).toEqual(joint);
  });

  test('a joint entry that is undone with its rollback leaves the list that both stand on', () => {
    const rollback: Configuration = {
      ...threeVoters,
      term: term(1),
      index: logIndex(3),
    };
    const driver = new CoreDriver({
      self: 2,
      log: [1, 1, 1],
      recordedCommitIndex: 1,
      configurations: [threeVoters, joint, rollback],
    });

    driver.receive(appendOf(3, { term: 2, prevIndex: 1, prevTerm: 1, terms: [2], commit: 1 }));

    expect(driver.state.configurations).toEqual([threeVoters]);
  });
});
