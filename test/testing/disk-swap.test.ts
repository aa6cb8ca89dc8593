/** Nodes that come back on an older copy of their disk: when the simulator does that, and what becomes of them. */
import { describe, expect, test } from 'vitest';

import { present } from '../../src/base/assert.ts';
import { partitionId, type NodeId } from '../../src/base/ids.ts';
import { FaultAtlas, wholeLog } from '../../src/testing/fault-atlas.ts';
import { SimEncryption } from '../../src/testing/sim-encryption.ts';
import { ScenarioCluster, type ScenarioOptions } from '../scenarios/scenario-cluster.ts';

const partition = partitionId('018c0d6c-9c11-7e9d-8000-000000000001');

interface Scene {
  readonly scenario: ScenarioCluster;
  readonly leader: NodeId;
  readonly follower: NodeId;
  readonly other: NodeId;
  readonly write: (count: number) => Promise<void>;
  readonly reused: string[];
}

async function scene(seed: number, options: ScenarioOptions = {}): Promise<Scene> {
  const reused: string[] = [];
  const atlas = new FaultAtlas({ configurations: () => [], doubtTakes: 'entries' });
  const scenario = await ScenarioCluster.start(seed, 3, {
    ...options,
    atlas,
    encryption: new SimEncryption((message) => reused.push(message)),
  });
  const leader = await scenario.untilLeader();
  const [follower, other] = scenario.others(leader);
  const write = async (count: number): Promise<void> => {
    for (let at = 0; at < count; at++)
      await scenario.settle(scenario.write(leader, 'key', `${at}`));
    await scenario.advance(100);
  };
  await write(5);
  const claimed = present(follower, 'a follower');
  atlas.claim(claimed, [wholeLog(partition)]);
  return { scenario, leader, follower: claimed, other: present(other, 'another'), write, reused };
}

/** Stops the follower and starts it on what its disk was before `between` happened. */
async function rollBack(
  { scenario, follower }: Scene,
  between: () => Promise<void>,
): Promise<void> {
  const copy = scenario.world.disk(follower).cloneSynced();
  await between();
  scenario.crash(follower);
  scenario.world.replaceDisk(follower, copy);
  scenario.start(follower);
  await scenario.until('it is up', () => scenario.areAllUp());
}

describe('a node on an older copy of its disk (KER-9)', () => {
  test.each([1, 3, 40])(
    'is recognised by the leader that remembers %i entries more, is in doubt for good, and repeats no nonce',
    async (count) => {
      const stage = await scene(1);
      const { scenario, leader, follower, write, reused } = stage;

      await rollBack(stage, () => write(count));
      await scenario.until('it is told', () => scenario.replica(follower).state.hasLostEvidence);
      await write(10);

      expect(scenario.eventsOf(leader, 'peerInDoubt')).toHaveLength(1);
      scenario.crash(follower);
      scenario.start(follower);
      await scenario.until('it is up again', () => scenario.areAllUp());
      await write(10);
      expect(scenario.replica(follower).state).toMatchObject({ inDoubt: true, role: 'follower' });
      expect(reused).toEqual([]);
    },
  );

  test('that has forgotten nothing it said of the log is a follower like any other', async () => {
    const stage = await scene(2);
    const { scenario, leader, follower, write } = stage;

    await rollBack(stage, () => scenario.advance(10));
    await write(5);

    expect(scenario.eventsOf(leader, 'peerInDoubt')).toEqual([]);
    const { state } = scenario.replica(follower);
    expect(state).toMatchObject({
      inDoubt: false,
      durableIndex: scenario.replica(leader).state.commitIndex,
    });
  });
});

describe('a rollback', () => {
  test('is free of promises once the others have all that the node had, in no older term', async () => {
    const { scenario, follower, write } = await scene(3);
    const mayGoBack = present(scenario.rollback(follower), 'it may be asked');
    await write(3);

    expect(mayGoBack()).toBe(true);
  });

  test('is none while one of the others lacks an entry that the node may have acknowledged', async () => {
    const { scenario, follower, other, write } = await scene(4);
    const mayGoBack = present(scenario.rollback(follower), 'it may be asked');
    scenario.isolate(other);
    await write(3);

    expect(scenario.replica(follower).state.durableIndex).toBeGreaterThan(
      scenario.replica(other).state.durableIndex,
    );
    expect(mayGoBack()).toBe(false);
  });

  test('is none while one of the others is down: it may not know of a term that the node voted in', async () => {
    const { scenario, follower, other } = await scene(5);
    const mayGoBack = present(scenario.rollback(follower), 'it may be asked');
    scenario.crash(other);

    expect(mayGoBack()).toBe(false);
    scenario.start(other);
    await scenario.until('it is up', () => scenario.areAllUp());
    await scenario.advance(1_000);
    expect(mayGoBack()).toBe(true);
  });
});
