import { describe, expect, test } from 'vitest';

import { nodeId } from '../../src/base/ids.ts';
import type { Configuration } from '../../src/base/membership.ts';
import { nextBelow, nextFloat, pick } from '../../src/base/prng.ts';
import { configurationOf, member } from './core-driver.ts';
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
  if (replica.state?.role !== 'leader') return;
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

function runSchedule(seed: number, configuration: Configuration): RaftWorld {
  const world = new RaftWorld(seed, configuration);
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
  const states = world.replicas.map(({ state }) => state!);
  const commits = states.map((state) => state.commitIndex);
  expect(states.filter(({ role }) => role === 'leader')).toHaveLength(1);
  expect(new Set(commits).size).toBe(1);
  expect(commits[0]).toBeGreaterThan(50);
  expect(world.replicas.map(({ applied }) => applied)).toEqual(commits);
  expect(world.readsReady).toBeGreaterThan(0);
}

describe('random schedules of crashes, cuts, losses, late and doubled messages', () => {
  const firstSeed = Number(process.env['RAFT_SEED'] ?? 1);
  const seedCount = process.env['RAFT_SEED'] === undefined ? 22 : 1;

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

  test('are the same for the same seed', () => {
    const [first, second] = [0, 1].map(() => runSchedule(77, groups['three voters']!));
    expect(first!.committed).toEqual(second!.committed);
    expect([...first!.leaders]).toEqual([...second!.leaders]);
  });
});
