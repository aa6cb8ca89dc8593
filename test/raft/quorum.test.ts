import { describe, expect, test } from 'vitest';

import type { Configuration, Member } from '../../src/base/membership.ts';
import { createPrng, nextBelow, type PrngState } from '../../src/base/prng.ts';
import {
  hasQuorum,
  isVoter,
  quorumValue,
  voteOutcome,
  votersOfBoth,
} from '../../src/raft/index.ts';
import { allMembers, memberOf } from '../../src/raft/quorum.ts';
import { configurationOf, lifeOf, member } from './core-driver.ts';

const voters = (...numbers: readonly number[]): Member[] => numbers.map((number) => member(number));
const joint = configurationOf(voters(3, 4, 5), voters(1, 2, 3));
const among =
  (...numbers: readonly number[]) =>
  ({ replicaId }: Member): boolean =>
    numbers.includes(replicaId);

describe('a majority', () => {
  test.each([
    { size: 1, needed: 1 },
    { size: 2, needed: 2 },
    { size: 3, needed: 2 },
    { size: 4, needed: 3 },
    { size: 5, needed: 3 },
    { size: 7, needed: 4 },
  ])('of $size voters is $needed', ({ size, needed }) => {
    const configuration = configurationOf(
      voters(...Array.from({ length: size }, (_, at) => at + 1)),
    );
    expect(hasQuorum(configuration, ({ replicaId }) => replicaId <= needed)).toBe(true);
    expect(hasQuorum(configuration, ({ replicaId }) => replicaId < needed)).toBe(false);
  });

  test('of nobody is never reached', () => {
    expect(hasQuorum(configurationOf([]), () => true)).toBe(false);
    expect(hasQuorum(configurationOf([member(1, 'learner')]), () => true)).toBe(false);
  });

  test('counts neither learners nor observers', () => {
    const configuration = configurationOf([
      ...voters(1, 2, 3),
      member(4, 'learner'),
      member(5, 'observer'),
    ]);
    expect(hasQuorum(configuration, among(1, 4, 5))).toBe(false);
    expect(isVoter(configuration, member(4))).toBe(false);
    expect(isVoter(configuration, member(3))).toBe(true);
  });
});

describe('in a joint configuration', () => {
  test('both halves must agree', () => {
    expect(hasQuorum(joint, among(3, 4, 5))).toBe(false);
    expect(hasQuorum(joint, among(1, 2, 3))).toBe(false);
    expect(hasQuorum(joint, among(2, 3, 4))).toBe(true);
    expect(hasQuorum(joint, among(1, 2, 4, 5))).toBe(true);
  });

  test('a value is reached only when a majority of each half has it', () => {
    const match = new Map([
      [1, 9],
      [2, 9],
      [3, 2],
      [4, 5],
      [5, 7],
    ]);
    expect(quorumValue(joint, ({ replicaId }) => match.get(replicaId) ?? 0)).toBe(5);
  });

  test('a vote is lost as soon as one half is', () => {
    const cast = new Map([
      [1, false],
      [2, false],
      [4, true],
      [5, true],
    ]);
    expect(voteOutcome(joint, ({ replicaId }) => cast.get(replicaId))).toBe('lost');
    cast.delete(1);
    expect(voteOutcome(joint, ({ replicaId }) => cast.get(replicaId))).toBe('pending');
    cast.set(1, true).set(3, true);
    expect(voteOutcome(joint, ({ replicaId }) => cast.get(replicaId))).toBe('won');
  });

  test('voters of both halves vote, and each member is listed once with its newer entry', () => {
    const newer = { ...member(3), addresses: ['127.0.0.1:1'] };
    const configuration = configurationOf([newer, member(4)], voters(1, 2, 3));
    expect([1, 2, 3, 4].every((number) => isVoter(configuration, member(number)))).toBe(true);
    expect(allMembers(configuration).map((row) => row.replicaId)).toEqual([3, 4, 1, 2]);
    expect(memberOf(configuration, member(3))).toBe(newer);
    expect(memberOf(configuration, member(9))).toBeUndefined();
  });

  test('another life of a replica is another voter', () => {
    const reborn = { ...member(3), incarnation: lifeOf(3, 1) };
    const configuration = configurationOf([member(1), member(2), reborn], voters(1, 2, 3));
    expect(isVoter(configuration, member(3))).toBe(true);
    expect(isVoter(configuration, reborn)).toBe(true);
    expect(isVoter(configuration, { ...reborn, incarnation: lifeOf(3, 2) })).toBe(false);
    expect(allMembers(configuration)).toHaveLength(4);
    const isOld = (row: Member): boolean =>
      row.replicaId !== 2 && row.incarnation !== reborn.incarnation;
    expect(hasQuorum(configuration, isOld)).toBe(false);
  });

  test('who votes in the old half alone is still a voter', () => {
    const configuration = configurationOf([member(1), member(2, 'learner')], voters(1, 2));
    expect(votersOfBoth(configuration).map((row) => row.replicaId)).toEqual([1, 2]);
  });
});

test('quorum functions agree with counting heads, for random groups', () => {
  const prng = createPrng(11);
  const half = (): Member[] =>
    voters(...[1, 2, 3, 4, 5, 6, 7].filter(() => nextBelow(prng, 2) === 0));
  for (let round = 0; round < 2000; round++) {
    const configuration = configurationOf(half(), nextBelow(prng, 2) === 0 ? half() : []);
    const value = new Map([1, 2, 3, 4, 5, 6, 7].map((number) => [number, nextBelow(prng, 4)]));
    const reached = quorumValue(configuration, ({ replicaId }) => value.get(replicaId) ?? 0);
    expect(reached).toBe(slowQuorumValue(configuration, value));
    checkVotes(configuration, prng);
  }
});

/** The highest value that more than half of each half's voters have. */
function slowQuorumValue(configuration: Configuration, value: ReadonlyMap<number, number>): number {
  const halves = [configuration.members, configuration.outgoingMembers].filter(
    (half, at) => at === 0 || half.length > 0,
  );
  for (let candidate = 3; candidate > 0; candidate--) {
    const isReached = halves.every(
      (half) =>
        2 * half.filter((row) => (value.get(row.replicaId) ?? 0) >= candidate).length > half.length,
    );
    if (isReached) return candidate;
  }
  return 0;
}

/** What is decided stays decided, whatever the votes that are still out say. */
function checkVotes(configuration: Configuration, prng: PrngState): void {
  const votes = new Map(
    [1, 2, 3, 4, 5, 6, 7].map((number) => [number, [true, false, undefined][nextBelow(prng, 3)]]),
  );
  const outcome = voteOutcome(configuration, ({ replicaId }) => votes.get(replicaId));
  const best = hasQuorum(configuration, ({ replicaId }) => votes.get(replicaId) !== false);
  const worst = hasQuorum(configuration, ({ replicaId }) => votes.get(replicaId) === true);
  expect(outcome).toBe(worst ? 'won' : best ? 'pending' : 'lost');
}
