import { describe, expect, test } from 'vitest';

import { nodeId, replicaId } from '../../src/base/ids.ts';
import type { Configuration, Member } from '../../src/base/membership.ts';
import { nextBelow, nextFloat, pick } from '../../src/base/prng.ts';
import { activeConfiguration, isJoint, membershipBlock, votersOf } from '../../src/raft/index.ts';
import { configurationOf, lifeOf, member } from './core-driver.ts';
import { RaftWorld, type WorldReplica } from './raft-world.ts';

const stormTicks = 1400;
const calmTicks = 500;

const groups: Readonly<Record<string, Configuration>> = {
  'three voters': configurationOf([member(1), member(2), member(3)]),
  'five voters': configurationOf([1, 2, 3, 4, 5].map((number) => member(number))),
  'two voters and a learner': configurationOf([member(1), member(2), member(3, 'learner')]),
  'a joint configuration': configurationOf(
    [member(1), member(2), member(3)],
    [member(3), member(4), member(5)],
  ),
  'one voter': configurationOf([member(1)]),
};

/** Crashes, cuts and odd inputs of one tick. */
function storm(world: RaftWorld, downUntil: Map<WorldReplica, number>): void {
  const { prng, replicas } = world;
  if (nextFloat(prng) < 0.01) {
    const replica = pick(prng, replicas);
    world.crash(replica);
    downUntil.set(replica, world.now + nextBelow(prng, 100));
  }
  if (nextFloat(prng) < 0.01) {
    world.heal();
    const { number } = pick(prng, replicas);
    for (const other of replicas) {
      if (nextFloat(prng) < 0.7) world.cut(number, other.number);
      if (nextFloat(prng) < 0.7) world.cut(other.number, number);
    }
  }
  if (nextFloat(prng) < 0.02) world.heal();
  if (nextFloat(prng) < 0.02) {
    world.input(pick(prng, replicas), {
      kind: 'nodeUnreachable',
      nodeId: nodeId(pick(prng, replicas).number),
    });
  }
}

/** What owners ask of their cores in one tick. */
function work(world: RaftWorld, replica: WorldReplica): void {
  const { prng } = world;
  if (nextFloat(prng) < 0.003) world.input(replica, { kind: 'stalled' });
  if (replica.state?.role !== 'leader' || replica.state.leader?.transfer !== undefined) return;
  if (nextFloat(prng) < 0.4)
    world.input(replica, { kind: 'propose', count: 1 + nextBelow(prng, 4) });
  if (nextFloat(prng) < 0.1) world.read(replica);
  if (nextFloat(prng) < 0.02) {
    world.input(replica, {
      kind: 'peerConnected',
      nodeId: nodeId(pick(prng, world.replicas).number),
      newBoot: false,
    });
  }
}

/** What operators want of the membership in one tick. */
function operate(world: RaftWorld, replica: WorldReplica): void {
  const { prng } = world;
  const { state } = replica;
  if (state?.role !== 'leader' || nextFloat(prng) > 0.02) return;
  const active = activeConfiguration(state);
  const others = votersOf(active.members).filter((voter) => voter.replicaId !== state.selfReplica);
  if (isJoint(active)) {
    if (nextFloat(prng) < 0.3) world.input(replica, { kind: 'rollBack', reason: 'a whim' });
    return;
  }
  if (nextFloat(prng) < 0.3 && others.length > 0) {
    if (state.leader?.transfer === undefined)
      world.input(replica, {
        kind: 'transferLeadership',
        to: pick(prng, others),
        reason: 'a whim',
      });
    return;
  }
  if (membershipBlock(state) !== undefined) return;
  const members =
    nextFloat(prng) < 0.5 ? withLearner(world, active) : withOtherVoters(world, active);
  if (members !== undefined) world.input(replica, { kind: 'changeConfiguration', members });
}

function withLearner(world: RaftWorld, active: Configuration): readonly Member[] | undefined {
  // A node begins a replica anew only for a configuration that is no older than what the one there knows.
  const outside = world.replicas.filter(
    ({ number, state }) =>
      state !== undefined &&
      activeConfiguration(state).index <= active.index &&
      !active.members.some((row) => row.replicaId === replicaId(number)),
  );
  if (outside.length === 0) return undefined;
  const newcomer = pick(world.prng, outside);
  world.reincarnate(newcomer);
  const learner = {
    ...member(newcomer.number, 'learner'),
    incarnation: lifeOf(newcomer.number, newcomer.life),
  };
  return [...active.members, learner];
}

/** Any members change their role or leave, as long as a voter stays. */
function withOtherVoters(world: RaftWorld, active: Configuration): readonly Member[] | undefined {
  const { prng } = world;
  const members = active.members.flatMap((row): Member[] => {
    const chance = nextFloat(prng);
    if (chance < 0.25) return [];
    return chance < 0.7 ? [{ ...row, role: 'voter' }] : [row];
  });
  return votersOf(members).length > 0 ? members : undefined;
}

function runSchedule(
  seed: number,
  configuration: Configuration,
  spares: readonly number[] = [],
): RaftWorld {
  const world = new RaftWorld(seed, configuration, spares);
  const downUntil = new Map<WorldReplica, number>();
  Object.assign(world.weather, { lossRate: 0.05, duplicateRate: 0.05, lateRate: 0.05 });
  for (let tick = 0; tick < stormTicks + calmTicks; tick++) {
    if (tick === stormTicks) {
      Object.assign(world.weather, { lossRate: 0, duplicateRate: 0, lateRate: 0 });
      world.heal();
    }
    if (tick < stormTicks) storm(world, downUntil);
    for (const replica of world.replicas) {
      if (replica.state === undefined && world.now >= (downUntil.get(replica) ?? 0))
        world.boot(replica);
      work(world, replica);
      if (spares.length > 0 && tick < stormTicks) operate(world, replica);
    }
    world.advance(1, nextBelow(world.prng, 4));
    if (tick % 100 === 0) world.checkLogMatching();
  }
  world.advance(40);
  world.checkLogMatching();
  checkLiveness(world);
  return world;
}

/** After calm weather one replica leads and everybody has caught up with everything. */
function checkLiveness(world: RaftWorld): void {
  const leading = world.leader();
  const active = activeConfiguration(leading!.state!);
  expect(isJoint(active)).toBe(false);
  const members = world.replicas.filter(({ number, life }) =>
    active.members.some((row) => row.incarnation === lifeOf(number, life)),
  );
  expect(members).toHaveLength(active.members.length);
  const states = members.map(({ state }) => state!);
  const commits = states.map((state) => state.commitIndex);
  expect(states.filter(({ role }) => role === 'leader')).toHaveLength(1);
  expect(new Set(commits).size).toBe(1);
  expect(commits[0]).toBeGreaterThan(50);
  expect(members.map(({ applied }) => applied)).toEqual(commits);
  expect(world.readsReady).toBeGreaterThan(0);
}

describe('random schedules of crashes, cuts, losses, late and doubled messages', () => {
  const firstSeed = Number(process.env['RAFT_SEED'] ?? 1);
  const seedCount =
    process.env['RAFT_SEED'] === undefined ? 8 : Number(process.env['RAFT_SEED_COUNT'] ?? 1);

  for (const [name, configuration] of Object.entries(groups)) {
    test(`keep every promise with ${name}`, () => {
      for (let seed = firstSeed; seed < firstSeed + seedCount; seed++) {
        try {
          runSchedule(seed, configuration);
        } catch (error) {
          throw new Error(`RAFT_SEED=${seed}, ${name}: ${String(error)}`, { cause: error });
        }
      }
    });
  }

  test('keep every promise while members come and go and leadership is handed over', () => {
    let changes = 0;
    for (let seed = firstSeed; seed < firstSeed + seedCount; seed++) {
      try {
        changes += runSchedule(seed, groups['three voters']!, [4, 5, 6]).configurations.size;
      } catch (error) {
        throw new Error(`RAFT_SEED=${seed}: ${String(error)}`, { cause: error });
      }
    }
    expect(changes).toBeGreaterThan(seedCount);
  });

  test('are the same for the same seed', () => {
    const [first, second] = [0, 1].map(() => runSchedule(77, groups['three voters']!));
    expect(first!.committed).toEqual(second!.committed);
    expect([...first!.leaders]).toEqual([...second!.leaders]);
  });
});
