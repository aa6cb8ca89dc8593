import { describe, expect, test } from 'vitest';

import { nodeId } from '../../src/base/ids.ts';
import { configurationOf, member, threeVoters } from './core-driver.ts';
import { RaftWorld, type WorldReplica } from './raft-world.ts';

/** A world in calm weather with a leader whose no-op everybody has. */
function settled(
  seed = 1,
  configuration = threeVoters,
): { world: RaftWorld; leader: WorldReplica } {
  const world = new RaftWorld(seed, configuration);
  world.advanceUntil(() => world.leader() !== undefined, 200);
  world.advance(20);
  return { world, leader: world.leader()! };
}

const others = (world: RaftWorld, leader: WorldReplica): WorldReplica[] =>
  world.replicas.filter((replica) => replica !== leader);

describe('a group of three', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'elects one leader at once in calm weather (seed %i)',
    (seed) => {
      const { world, leader } = settled(seed);
      expect(world.now).toBeLessThan(100);
      expect(world.leaders.size).toBe(1);
      world.advance(500);
      expect(world.leader()).toBe(leader);
      expect(world.leaders.size).toBe(1);
    },
  );

  test('a replica that was cut off does not unseat the leader when it comes back', () => {
    const { world, leader } = settled();
    const [lonely] = others(world, leader);
    const { term } = leader.state!;
    world.isolate(lonely!.number);
    for (let round = 0; round < 100; round++) {
      world.input(leader, { kind: 'propose', count: 1 });
      world.advance(5);
    }
    expect(lonely!.state).toMatchObject({ role: 'preCandidate', term });

    world.heal();
    world.advance(100);
    expect(world.leader()).toBe(leader);
    expect(leader.state!.term).toBe(term);
    expect(lonely!.applied).toBe(leader.applied);
    expect(leader.applied).toBe(101);
  });

  test('a leader that is cut off steps down, and what it appended alone is replaced', () => {
    const { world, leader } = settled(3);
    const commit = leader.state!.commitIndex;
    world.isolate(leader.number);
    world.input(leader, { kind: 'propose', count: 7 });
    world.advanceUntil(() => leader.state!.role !== 'leader', 70);
    expect(leader.state!.commitIndex).toBe(commit);

    world.advanceUntil(() => world.leader() !== undefined, 200);
    const next = world.leader()!;
    world.input(next, { kind: 'propose', count: 2 });
    world.advance(20);
    world.heal();
    world.advance(100);
    expect(new Set(world.replicas.map(({ applied }) => applied))).toEqual(new Set([commit + 3]));
    world.checkLogMatching();
    expect(leader.disk.terms).toEqual(next.disk.terms);
  });

  test("a leader that hears only its followers' half of the links steps down as well", () => {
    const { world, leader } = settled(4);
    for (const other of others(world, leader)) world.cut(other.number, leader.number);
    world.advanceUntil(() => leader.state!.role !== 'leader', 70);
    world.advanceUntil(() => world.leader() !== undefined && world.leader() !== leader, 300);
  });

  test('answers nothing and changes no term while a majority is away', () => {
    const { world, leader } = settled();
    for (const other of others(world, leader)) world.crash(other);
    world.input(leader, { kind: 'propose', count: 3 });
    const { term, commitIndex } = leader.state!;
    world.advance(1000);
    expect(leader.state).toMatchObject({ role: 'preCandidate', term, commitIndex });
  });

  test('commits what a crashed leader had at a majority, though nobody was told', () => {
    const { world, leader } = settled(5);
    world.input(leader, { kind: 'propose', count: 5 });
    const last = leader.state!.log.lastIndex;
    world.advanceUntil(
      () => others(world, leader).some(({ disk }) => disk.terms.length === last),
      20,
    );
    world.flush(leader, 10);
    world.crash(leader);
    world.advanceUntil(() => world.leader() !== undefined, 300);
    world.advance(20);
    expect(world.leader()!.state!.commitIndex).toBe(last + 1);
  });
});

describe('a leader whose process ended', () => {
  /** Ticks from the end of the leader until another one leads. */
  function failoverTicks(seed: number, told: boolean): number {
    const { world, leader } = settled(seed);
    const before = world.now;
    world.crash(leader);
    // Whatever it had sent is read before its connections end.
    world.advance(2);
    if (told) {
      for (const other of others(world, leader)) {
        world.input(other, { kind: 'nodeUnreachable', nodeId: nodeId(leader.number) });
      }
    }
    world.advanceUntil(() => world.leader() !== undefined, 300);
    return world.now - before;
  }

  test.each([1, 2, 3, 4, 5])(
    'is replaced within 100 ms when its node refuses connections (seed %i)',
    (seed) => {
      expect(failoverTicks(seed, true)).toBeLessThanOrEqual(10);
    },
  );

  test.each([1, 2, 3, 4, 5])(
    'is replaced after an election timeout when it only falls silent (seed %i)',
    (seed) => {
      const ticks = failoverTicks(seed, false);
      expect(ticks).toBeGreaterThan(25);
      expect(ticks).toBeLessThanOrEqual(200);
    },
  );

  test('is not replaced because one follower alone cannot reach it', () => {
    const { world, leader } = settled();
    const [first] = others(world, leader);
    world.input(first!, { kind: 'nodeUnreachable', nodeId: nodeId(leader.number) });
    world.advance(200);
    expect(world.leader()).toBe(leader);
    expect(world.leaders.size).toBe(1);
  });
});

describe('a restart', () => {
  test('applies only what the ledger recorded as committed until a leader says more', () => {
    const { world, leader } = settled(2);
    world.input(leader, { kind: 'propose', count: 9 });
    world.advance(20);
    const [follower] = others(world, leader);
    expect(follower!.applied).toBe(10);
    const recorded = follower!.disk.commitIndex;
    expect(recorded).toBeLessThan(10);

    world.isolate(follower!.number);
    world.crash(follower!);
    world.boot(follower!);
    world.advance(100);
    expect(follower!.state).toMatchObject({ commitIndex: recorded, appliableIndex: recorded });
    expect(follower!.applied).toBe(recorded);

    world.heal();
    world.advance(100);
    expect(follower!.applied).toBe(world.leader()!.applied);
  });

  test('of everybody at once loses nothing that was committed', () => {
    const { world, leader } = settled(6);
    world.input(leader, { kind: 'propose', count: 9 });
    world.advance(20);
    const before = [...world.committed];
    for (const replica of world.replicas) {
      world.crash(replica);
      world.boot(replica);
    }
    world.advanceUntil(() => world.leader() !== undefined, 300);
    world.advance(30);
    expect(world.committed.slice(0, before.length)).toEqual(before);
    expect(new Set(world.replicas.map(({ applied }) => applied))).toEqual(new Set([before.length]));
  });

  test('a candidate that crashed before its vote was durable has not voted', () => {
    const world = new RaftWorld(1, configurationOf([member(1)]));
    const [alone] = world.replicas;
    while (alone!.state!.role === 'follower') world.advance(1, 0);
    expect(alone!.state).toMatchObject({ role: 'candidate', term: 1 });
    world.crash(alone!);
    world.boot(alone!);
    expect(alone!.state).toMatchObject({ role: 'follower', term: 0, votedFor: undefined });
  });
});

describe('an entry of an older term at a majority (Raft figure 8)', () => {
  test('may still be replaced, for it was never committed by counting', () => {
    const world = new RaftWorld(
      1,
      configurationOf([1, 2, 3, 4, 5].map((number) => member(number))),
    );
    const logs = new Map([
      [1, [1, 2]],
      [2, [1, 2]],
      [3, [1, 2]],
      [4, [1]],
      [5, [1, 3]],
    ]);
    for (const replica of world.replicas) {
      world.crash(replica);
      replica.disk.terms.push(...(logs.get(replica.number) ?? []));
      replica.disk.term = 4;
    }
    for (const number of [2, 3, 4, 5]) world.boot(world.replica(number));
    for (const number of [2, 3, 4]) world.core(number).electionDeadlineTick = 500;
    world.advanceUntil(() => world.leader() !== undefined, 100);
    expect(world.leader()).toBe(world.replica(5));
    world.boot(world.replica(1));
    world.advance(50);
    for (const { disk, applied } of world.replicas)
      expect([disk.terms, applied]).toEqual([[1, 3, 5], 3]);
  });
});
